//! Tensors to tract's and back.

use bytes::Bytes;
use tract_onnx::prelude::{DatumType, IntoTensor, TValue, Tensor as TractTensor, tract_ndarray};

use crate::tensor::{Data, DataType, Shape, Tensor};

/// tract's type, or `None` where tract has none.
pub(super) fn datum_type_of(data_type: DataType) -> Option<DatumType> {
    Some(match data_type {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Float16 => DatumType::F16,
        DataType::Float32 => DatumType::F32,
        DataType::Float64 => DatumType::F64,
        DataType::String => DatumType::String,
        DataType::BFloat16 => return None,
    })
}

/// Copies a tensor into tract's aligned memory.
///
/// # Errors
/// A string is not UTF-8, or tract has no such type.
pub(super) fn to_tract(tensor: &Tensor) -> Result<TractTensor, String> {
    let shape = tensor.shape();
    match tensor.data() {
        Data::Strings(strings) => {
            let texts: Result<Vec<String>, _> =
                strings.iter().map(|string| String::from_utf8(string.to_vec())).collect();
            let texts = texts.map_err(|_| "tract takes strings in UTF-8 only".to_owned())?;
            tract_ndarray::ArrayD::from_shape_vec(shape, texts)
                .map(TractTensor::from)
                .map_err(|error| error.to_string())
        }
        Data::Numbers(bytes) => {
            let datum_type = datum_type_of(tensor.data_type())
                .ok_or_else(|| format!("tract has no type {}", tensor.data_type()))?;
            let mut copy = TractTensor::zero_dt(datum_type, shape).map_err(|e| e.to_string())?;
            if tensor.data_type() == DataType::Bool {
                // Any other bit pattern is undefined behaviour behind tract's `bool`.
                let pairs = copy.as_bytes_mut().iter_mut().zip(bytes.iter());
                pairs.for_each(|(to, from)| *to = u8::from(*from != 0));
            } else {
                copy.as_bytes_mut().copy_from_slice(bytes);
            }
            Ok(copy)
        }
    }
}

/// tract's memory behind our bytes.
struct Memory(TractTensor);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A copy of a value of numbers; it must have that type.
///
/// # Errors
/// It has another one.
pub(super) fn copy_of(value: &TValue, declared: DataType) -> Result<Tensor, String> {
    // A deep copy: the bytes are to be nobody else's.
    from_tract(TractTensor::clone(value).into(), declared)
}

/// Takes over an output; it must have the type that the model declares.
///
/// # Errors
/// tract computed another type.
pub(super) fn from_tract(value: TValue, declared: DataType) -> Result<Tensor, String> {
    let mut tensor = value.into_tensor();
    // Shapes that flow through the graph as values have a symbolic type of tract's own.
    if tensor.datum_type() == DatumType::TDim {
        let cast = tensor.cast_to_dt(DatumType::I64).map_err(|error| error.to_string())?;
        tensor = cast.into_owned();
    }
    let computed = tensor.datum_type().unquantized();
    if Some(computed) != datum_type_of(declared) {
        return Err(format!("the model declares {declared}, tract computed {computed:?}"));
    }
    let shape = Shape::from_slice(tensor.shape());
    let result = match declared {
        DataType::String => {
            let texts = tensor.to_plain_array_view::<String>().map_err(|e| e.to_string())?;
            let strings = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes()));
            Tensor::strings(shape, strings.collect())
        }
        _ if tensor.len() == 0 => Tensor::numbers(declared, shape, Bytes::new()),
        _ => Tensor::numbers(declared, shape, Bytes::from_owner(Memory(tensor))),
    };
    result.map_err(|error| error.to_string())
}
