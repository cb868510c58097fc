//! A session's inputs and outputs, as ONNX Runtime describes them.

use std::ffi::CStr;
use std::path::Path;
use std::ptr::{self, NonNull};

use ort::AsPointer;
use ort::session::Session;
use ort::sys::{ONNXType, OrtApi, OrtSession, OrtStatusPtr, OrtTypeInfo};

use super::errors::open_error;
use super::value::{check, data_type_of};
use crate::engine::{EngineError, Signature};
use crate::tensor::{Dimension, TensorSpec};

/// How the C API hands out the type of input, output or overridable initializer N.
type TypeGetter =
    unsafe extern "system" fn(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> OrtStatusPtr;

/// Reads the signature: required inputs, then inputs with a default, then outputs.
pub(super) fn signature_of(path: &Path, session: &Session) -> Result<Signature, EngineError> {
    let api = ort::api();
    let reader = Reader { api, path, session: session.ptr() };
    let defaults = session.overridable_initializers();
    let mut inputs = Vec::with_capacity(session.inputs().len() + defaults.len());
    for (index, input) in session.inputs().iter().enumerate() {
        inputs.push(reader.read(api.SessionGetInputTypeInfo, index, input.name())?);
    }
    for (index, default) in defaults.iter().enumerate() {
        let getter = api.SessionGetOverridableInitializerTypeInfo;
        let spec = reader.read(getter, index, default.name())?;
        inputs.push(TensorSpec { optional: true, ..spec });
    }
    let mut outputs = Vec::with_capacity(session.outputs().len());
    for (index, output) in session.outputs().iter().enumerate() {
        outputs.push(reader.read(api.SessionGetOutputTypeInfo, index, output.name())?);
    }
    Ok(Signature { inputs, outputs })
}

struct Reader<'a> {
    api: &'static OrtApi,
    path: &'a Path,
    session: *const OrtSession,
}

/// Frees the C API's description when it has been read.
struct TypeInfo {
    api: &'static OrtApi,
    pointer: NonNull<OrtTypeInfo>,
}

impl Drop for TypeInfo {
    fn drop(&mut self) {
        // SAFETY: owned, released once.
        unsafe { (self.api.ReleaseTypeInfo)(self.pointer.as_ptr()) }
    }
}

impl Reader<'_> {
    fn read(
        &self,
        getter: TypeGetter,
        index: usize,
        name: &str,
    ) -> Result<TensorSpec, EngineError> {
        let failed = |error: ort::Error| open_error(self.path, &error);
        let unsupported = |kind: String| EngineError::TypeUnsupported {
            path: self.path.to_owned(),
            name: name.to_owned(),
            kind,
        };
        let mut pointer = ptr::null_mut();
        // SAFETY: the session lives, the index is below the count that ONNX Runtime gave.
        check(unsafe { getter(self.session, index, &mut pointer) }).map_err(failed)?;
        let pointer = NonNull::new(pointer).expect("a success hands over a type");
        let info = TypeInfo { api: self.api, pointer };
        let mut kind = 0i32;
        // SAFETY: the enum has the size of an i32, which admits values newer than the bindings.
        check(unsafe {
            (self.api.GetOnnxTypeFromTypeInfo)(info.pointer.as_ptr(), (&raw mut kind).cast())
        })
        .map_err(failed)?;
        if kind != ONNXType::ONNX_TYPE_TENSOR as i32 {
            return Err(unsupported(kind_name(kind).to_owned()));
        }
        let (element, shape) = self.tensor(&info).map_err(failed)?;
        let data_type = data_type_of(element).ok_or_else(|| {
            unsupported(format!("a tensor of ONNX Runtime's element type {element}"))
        })?;
        Ok(TensorSpec { name: name.to_owned(), data_type, shape, optional: false })
    }

    fn tensor(&self, info: &TypeInfo) -> Result<(i32, Option<Vec<Dimension>>), ort::Error> {
        let api = self.api;
        let mut tensor = ptr::null();
        let mut element = 0i32;
        let mut rank = 0;
        // SAFETY: `tensor` borrows from `info`, which outlives every use here; all out-pointers
        // are valid and the arrays have the rank that ONNX Runtime gave.
        unsafe {
            check((api.CastTypeInfoToTensorInfo)(info.pointer.as_ptr(), &mut tensor))?;
            check((api.GetTensorElementType)(tensor, (&raw mut element).cast()))?;
            if !(api.TensorTypeAndShape_HasShape)(tensor) {
                return Ok((element, None));
            }
            check((api.GetDimensionsCount)(tensor, &mut rank))?;
            let mut sizes = vec![0i64; rank];
            let mut names = vec![ptr::null(); rank];
            check((api.GetDimensions)(tensor, sizes.as_mut_ptr(), rank))?;
            check((api.GetSymbolicDimensions)(tensor, names.as_mut_ptr(), rank))?;
            let dimensions = sizes.iter().zip(&names).map(|(&size, &name)| {
                let name = if name.is_null() {
                    String::new()
                } else {
                    CStr::from_ptr(name).to_string_lossy().into_owned()
                };
                match usize::try_from(size) {
                    Ok(size) => Dimension::Fixed(size),
                    Err(_) if name.is_empty() => Dimension::Unknown,
                    Err(_) => Dimension::Named(name),
                }
            });
            Ok((element, Some(dimensions.collect())))
        }
    }
}

fn kind_name(kind: i32) -> &'static str {
    let is = |candidate: ONNXType| candidate as i32 == kind;
    match kind {
        _ if is(ONNXType::ONNX_TYPE_SEQUENCE) => "a sequence",
        _ if is(ONNXType::ONNX_TYPE_MAP) => "a map",
        _ if is(ONNXType::ONNX_TYPE_OPTIONAL) => "an optional value",
        _ if is(ONNXType::ONNX_TYPE_SPARSETENSOR) => "a sparse tensor",
        _ => "an opaque value",
    }
}
