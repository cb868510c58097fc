//! Numbers out of tensors and into them.

use crate::tensor::{AlignedBuffer, DataType, Shape, Tensor};

/// A tensor's floats; empty for other types.
pub(super) fn floats(tensor: &Tensor) -> Vec<f64> {
    let Some(bytes) = tensor.bytes() else { return Vec::new() };
    match tensor.data_type() {
        DataType::Float32 => {
            bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk).into()).collect()
        }
        DataType::Float64 => {
            bytes.as_chunks().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
        }
        _ => Vec::new(),
    }
}

/// A tensor's 64-bit integers; empty for other types.
pub(super) fn integers(tensor: &Tensor) -> Vec<i64> {
    let bytes = tensor.bytes().filter(|_| tensor.data_type() == DataType::Int64);
    let Some(bytes) = bytes else { return Vec::new() };
    bytes.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()
}

/// One number of that type.
pub(super) fn scalar(data_type: DataType, value: f64) -> Tensor {
    let bytes: &[u8] = match data_type {
        DataType::Int64 => &(value as i64).to_le_bytes(),
        DataType::Float64 => &value.to_le_bytes(),
        _ => &(value as f32).to_le_bytes(),
    };
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    Tensor::numbers(data_type, Shape::new(), buffer.into_bytes()).expect("one number")
}
