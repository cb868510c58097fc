//! Tensors to ONNX Runtime's values and back, without copying numbers either way.
//!
//! Inputs are lent: ONNX Runtime reads the tensor's own bytes during the run. Outputs are handed
//! over: the bytes stay in ONNX Runtime's memory until the last slice of them is dropped.

use std::ffi::{c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use ort::session::SharedSessionInner;
use ort::sys::{
    ONNXTensorElementDataType as ElementType, OrtAllocator, OrtApi, OrtStatusPtr, OrtValue,
};
use smallvec::SmallVec;

use crate::tensor::{AlignedBuffer, Data, DataType, Shape, Tensor, TensorError};

/// ONNX Runtime's element types and ours.
const TYPES: [(ElementType, DataType); 14] = [
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, DataType::Bool),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, DataType::Uint8),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, DataType::Uint16),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, DataType::Uint32),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, DataType::Uint64),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, DataType::Int8),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, DataType::Int16),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, DataType::Int32),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, DataType::Int64),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, DataType::Float16),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, DataType::BFloat16),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, DataType::Float32),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, DataType::Float64),
    (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, DataType::String),
];

/// Our type of an element type as the C API numbers it, or `None` where the protocol has none.
/// A number, not the enum: a library newer than the bindings may have types they do not list.
pub(super) fn data_type_of(element: i32) -> Option<DataType> {
    TYPES.iter().find(|(theirs, _)| *theirs as i32 == element).map(|&(_, ours)| ours)
}

fn element_type_of(data_type: DataType) -> ElementType {
    let (theirs, _) = TYPES
        .into_iter()
        .find(|&(_, ours)| ours == data_type)
        .expect("the table has all of our types");
    theirs
}

/// Turns a status of the C API into a result and frees it.
pub(super) fn check(status: OrtStatusPtr) -> Result<(), ort::Error> {
    // SAFETY: every status comes straight from a call of the C API and is given away here once.
    unsafe { ort::Error::result_from_status(status) }
}

/// Says that memory is the CPU's; the C API wants it with every lent tensor.
pub(super) struct CpuMemory {
    api: &'static OrtApi,
    pointer: NonNull<ort::sys::OrtMemoryInfo>,
}

impl CpuMemory {
    pub fn new(api: &'static OrtApi) -> Result<CpuMemory, ort::Error> {
        let mut pointer = ptr::null_mut();
        // SAFETY: the out-pointer is valid; the result is owned by `CpuMemory`.
        check(unsafe {
            (api.CreateCpuMemoryInfo)(
                ort::sys::OrtAllocatorType::OrtDeviceAllocator,
                ort::sys::OrtMemType::OrtMemTypeDefault,
                &mut pointer,
            )
        })?;
        let pointer = NonNull::new(pointer).expect("a success hands over a pointer");
        Ok(CpuMemory { api, pointer })
    }
}

impl Drop for CpuMemory {
    fn drop(&mut self) {
        // SAFETY: created in `new`, released once.
        unsafe { (self.api.ReleaseMemoryInfo)(self.pointer.as_ptr()) }
    }
}

/// A value that this part owns.
pub(super) struct Value {
    api: &'static OrtApi,
    pointer: NonNull<OrtValue>,
}

impl Value {
    /// A new tensor in an allocator's memory.
    ///
    /// # Safety
    /// The allocator is valid and outlives the value.
    pub unsafe fn new_in(
        api: &'static OrtApi,
        allocator: *mut OrtAllocator,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<Value, ort::Error> {
        let dimensions: SmallVec<[i64; 8]> = shape.iter().map(|&size| size as i64).collect();
        let mut pointer = ptr::null_mut();
        // SAFETY: pointers and lengths belong to `dimensions`; the caller answers for the rest.
        check(unsafe {
            (api.CreateTensorAsOrtValue)(
                allocator,
                dimensions.as_ptr(),
                dimensions.len(),
                element_type_of(data_type),
                &mut pointer,
            )
        })?;
        let pointer = NonNull::new(pointer).expect("a success hands over a value");
        Ok(Value { api, pointer })
    }

    pub fn as_ptr(&self) -> *mut OrtValue {
        self.pointer.as_ptr()
    }

    /// Where the tensor's numbers are, in whatever memory that is.
    pub fn data(&self) -> Result<*mut c_void, ort::Error> {
        let mut start = ptr::null_mut();
        // SAFETY: the value is a tensor of numbers; the pointer stays valid as long as it does.
        check(unsafe { (self.api.GetTensorMutableData)(self.as_ptr(), &mut start) })?;
        Ok(start)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned and released once. ONNX Runtime's allocators lock, so any
        // thread may do it.
        unsafe { (self.api.ReleaseValue)(self.pointer.as_ptr()) }
    }
}

/// An input for one run: the value and the memory that it borrows.
pub(super) struct LentTensor {
    value: Value,
    bytes: Bytes,
}

impl LentTensor {
    /// Lends `tensor` to ONNX Runtime. Numbers are copied only where their start is not aligned
    /// for the type, or a boolean is neither 0 nor 1; strings are always copied.
    pub fn new(
        api: &'static OrtApi,
        memory: &CpuMemory,
        tensor: &Tensor,
    ) -> Result<LentTensor, ort::Error> {
        match tensor.data() {
            Data::Numbers(bytes) => {
                let dimensions: SmallVec<[i64; 8]> =
                    tensor.shape().iter().map(|&size| size as i64).collect();
                let bytes = usable_bytes(tensor.data_type(), bytes);
                let value = lend(api, memory, tensor.data_type(), &dimensions, &bytes)?;
                Ok(LentTensor { value, bytes })
            }
            Data::Strings(strings) => {
                let value = string_value(api, tensor.shape(), strings)?;
                Ok(LentTensor { value, bytes: Bytes::new() })
            }
        }
    }

    pub fn as_ptr(&self) -> *const OrtValue {
        self.value.pointer.as_ptr()
    }

    fn contains(&self, address: *const u8) -> bool {
        self.bytes.as_ptr_range().contains(&address)
    }
}

/// Memory for empty tensors: C code may refuse a dangling pointer even where nothing is read.
static EMPTY: u64 = 0;

/// The same bytes where they are usable as they are, else a copy that is.
pub(super) fn usable_bytes(data_type: DataType, bytes: &Bytes) -> Bytes {
    let size = data_type.size().expect("numbers have a size");
    let aligned = (bytes.as_ptr() as usize).is_multiple_of(size);
    let strange_boolean = data_type == DataType::Bool && bytes.iter().any(|&byte| byte > 1);
    if aligned && !strange_boolean {
        return bytes.clone();
    }
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    if strange_boolean {
        // Any other bit pattern is undefined behaviour in C++.
        buffer.as_mut_slice().iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    buffer.into_bytes()
}

fn lend(
    api: &'static OrtApi,
    memory: &CpuMemory,
    data_type: DataType,
    dimensions: &[i64],
    bytes: &Bytes,
) -> Result<Value, ort::Error> {
    let start = if bytes.is_empty() { (&raw const EMPTY).cast() } else { bytes.as_ptr() };
    let mut pointer = ptr::null_mut();
    // SAFETY: the bytes live in the `LentTensor` beside the value, longer than the run; ONNX
    // Runtime never writes to a run's inputs, whatever the signature's `*mut` says.
    check(unsafe {
        (api.CreateTensorWithDataAsOrtValue)(
            memory.pointer.as_ptr(),
            start.cast_mut().cast::<c_void>(),
            bytes.len(),
            dimensions.as_ptr(),
            dimensions.len(),
            element_type_of(data_type),
            &mut pointer,
        )
    })?;
    let pointer = NonNull::new(pointer).expect("a success hands over a value");
    Ok(Value { api, pointer })
}

fn string_value(
    api: &'static OrtApi,
    shape: &[usize],
    strings: &[Bytes],
) -> Result<Value, ort::Error> {
    let mut allocator = ptr::null_mut();
    // SAFETY: the out-pointer is valid.
    check(unsafe { (api.GetAllocatorWithDefaultOptions)(&mut allocator) })?;
    // SAFETY: the default allocator is ONNX Runtime's own and lives as long as the library.
    let value = unsafe { Value::new_in(api, allocator, DataType::String, shape)? };
    for (index, string) in strings.iter().enumerate() {
        let mut element: *mut c_char = ptr::null_mut();
        // SAFETY: the value is a string tensor of `strings.len()` elements (its shape says so).
        // The plain fill functions stop at a zero byte, so the element's buffer is filled here.
        check(unsafe {
            (api.GetResizedStringTensorElementBuffer)(
                value.pointer.as_ptr(),
                index,
                string.len(),
                &mut element,
            )
        })?;
        if !string.is_empty() {
            // SAFETY: the buffer was just sized to `string.len()` bytes and does not overlap.
            unsafe { ptr::copy_nonoverlapping(string.as_ptr(), element.cast(), string.len()) }
        }
    }
    Ok(value)
}

/// Why an output could not be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error(transparent)]
    Runtime(#[from] ort::Error),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("it is absent")]
    Absent,
    #[error("it has an element type that the protocol lacks")]
    Type,
}

/// An output's memory, in ONNX Runtime's hands until this is dropped.
struct OutputMemory {
    start: NonNull<u8>,
    length: usize,
    /// Dropped before the session.
    value: Option<Value>,
    /// An output may be the session's own memory (a constant that is an output as it is).
    session: Option<Arc<SharedSessionInner>>,
}

// SAFETY: the memory is only read, and `Value` and the session may be freed on any thread.
unsafe impl Send for OutputMemory {}
// SAFETY: as above; shared readers read bytes that nobody writes.
unsafe impl Sync for OutputMemory {}

impl AsRef<[u8]> for OutputMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: start and length describe the tensor's memory, which the value keeps alive.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for OutputMemory {
    fn drop(&mut self) {
        drop(self.value.take());
        // Freeing a model takes long: never on the thread that happens to send the last output.
        if let Some(session) = self.session.take().and_then(Arc::into_inner) {
            let freeing = std::thread::Builder::new().name("session-free".to_owned());
            // Without a thread to spare it is freed here: the failed spawn drops the closure.
            let _ = freeing.spawn(move || drop(session));
        }
    }
}

/// Takes over what a run put out.
pub(super) fn take_output(
    api: &'static OrtApi,
    pointer: *mut OrtValue,
    inputs: &[LentTensor],
    session: &Arc<SharedSessionInner>,
) -> Result<Tensor, OutputError> {
    let value = Value { api, pointer: NonNull::new(pointer).ok_or(OutputError::Absent)? };
    let mut element = 0i32;
    let (mut dimensions, mut rank) = (ptr::null(), 0);
    // SAFETY: the value is a tensor (the signature admits nothing else); the shape that comes
    // back is borrowed from it and copied at once.
    check(unsafe {
        (api.GetTensorElementTypeAndShapeDataReference)(
            value.pointer.as_ptr(),
            (&raw mut element).cast(),
            &mut dimensions,
            &mut rank,
        )
    })?;
    let shape: Shape = if rank == 0 {
        Shape::new()
    } else {
        // SAFETY: ONNX Runtime says that `rank` sizes lie there.
        let dimensions = unsafe { slice::from_raw_parts(dimensions, rank) };
        dimensions.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
    };
    let data_type = data_type_of(element).ok_or(OutputError::Type)?;
    let Some(element_size) = data_type.size() else {
        return strings_of(&value, shape);
    };
    let length = crate::tensor::element_count(&shape)
        .and_then(|count| count.checked_mul(element_size))
        .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
    if length == 0 {
        return Ok(Tensor::numbers(data_type, shape, Bytes::new())?);
    }
    let mut start: *mut c_void = ptr::null_mut();
    // SAFETY: the value is a tensor of numbers; the pointer stays valid as long as the value.
    check(unsafe { (api.GetTensorMutableData)(value.pointer.as_ptr(), &mut start) })?;
    let start = NonNull::new(start.cast::<u8>()).ok_or(OutputError::Absent)?;
    let memory =
        OutputMemory { start, length, value: Some(value), session: Some(Arc::clone(session)) };
    // A graph may put an input out as it is: that memory is the caller's, not ONNX Runtime's.
    let lent = inputs.iter().any(|input| input.contains(start.as_ptr()));
    let bytes = if lent { aligned_copy(memory.as_ref()) } else { Bytes::from_owner(memory) };
    Ok(Tensor::numbers(data_type, shape, bytes)?)
}

fn aligned_copy(bytes: &[u8]) -> Bytes {
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    buffer.into_bytes()
}

fn strings_of(value: &Value, shape: Shape) -> Result<Tensor, OutputError> {
    let api = value.api;
    let count = crate::tensor::element_count(&shape)
        .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
    if count == 0 {
        return Ok(Tensor::strings(shape, Vec::new())?);
    }
    let mut length = 0;
    // SAFETY: the value is a string tensor.
    check(unsafe { (api.GetStringTensorDataLength)(value.pointer.as_ptr(), &mut length) })?;
    let mut content = vec![0u8; length];
    let mut offsets = vec![0usize; count];
    // SAFETY: both buffers have the sizes that are passed; all strings' bytes go into the first.
    check(unsafe {
        (api.GetStringTensorContent)(
            value.pointer.as_ptr(),
            content.as_mut_ptr().cast(),
            content.len(),
            offsets.as_mut_ptr(),
            offsets.len(),
        )
    })?;
    let content = Bytes::from(content);
    let ends = offsets.iter().skip(1).copied().chain([length]);
    let strings = offsets.iter().zip(ends).map(|(&start, end)| content.slice(start..end)).collect();
    Ok(Tensor::strings(shape, strings)?)
}
