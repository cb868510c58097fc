//! Floats in and out of tensors, and repeatable random ones.

use onnxd::tensor::{AlignedBuffer, DataType, Shape, Tensor};

/// A tensor of floats of that type.
pub fn floats(data_type: DataType, shape: &[usize], values: &[f64]) -> Tensor {
    let bytes: Vec<u8> = match data_type {
        DataType::Float64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DataType::Float32 => {
            values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
        }
        other => panic!("no floats of {other}"),
    };
    from_bytes(data_type, shape, &bytes)
}

pub fn ints(shape: &[usize], values: &[i64]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    from_bytes(DataType::Int64, shape, &bytes)
}

/// 32-bit integers.
pub fn short_ints(shape: &[usize], values: &[i32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    from_bytes(DataType::Int32, shape, &bytes)
}

pub fn bools(shape: &[usize], values: &[bool]) -> Tensor {
    let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
    from_bytes(DataType::Bool, shape, &bytes)
}

fn from_bytes(data_type: DataType, shape: &[usize], bytes: &[u8]) -> Tensor {
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    Tensor::numbers(data_type, Shape::from_slice(shape), buffer.into_bytes()).expect("values fit")
}

/// The numbers of a tensor of any of these types.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let bytes = tensor.bytes().expect("numbers");
    match tensor.data_type() {
        DataType::Float64 => bytes
            .chunks_exact(8)
            .map(|chunk| f64::from_le_bytes(chunk.try_into().expect("eight bytes")))
            .collect(),
        DataType::Float32 => tensor.to_f32().expect("32-bit").into_iter().map(f64::from).collect(),
        DataType::Bool => bytes.iter().map(|&byte| f64::from(byte)).collect(),
        DataType::Int64 => bytes
            .chunks_exact(8)
            .map(|chunk| i64::from_le_bytes(chunk.try_into().expect("eight bytes")) as f64)
            .collect(),
        other => panic!("no numbers of {other}"),
    }
}

/// The same numbers for the same seed, spread evenly over a range.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self, low: f64, high: f64) -> f64 {
        // SplitMix64: any seed will do, and it is five lines.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        low + (high - low) * (word >> 11) as f64 / (1u64 << 53) as f64
    }
}
