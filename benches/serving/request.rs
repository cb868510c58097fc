//! What only this benchmark sends: a request in JSON, and the tensors of its models.

use onnxd::tensor::{DataType, Tensor};

/// A request in JSON, answered in JSON; 32-bit floats only.
pub fn json(model: &str, name: &str, tensor: &Tensor) -> Vec<u8> {
    let values = tensor.to_f32().expect("the benchmark's JSON model takes floats");
    let body = format!(
        r#"{{"inputs":[{{"name":"{name}","shape":{:?},"datatype":"FP32","data":{values:?}}}]}}"#,
        tensor.shape()
    );
    format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: onnxd\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reproducible values in -1..1.
pub fn floats(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_f32(shape, &values).expect("the count follows from the shape")
}

/// Token identifiers below `vocabulary`, as 64-bit integers.
pub fn tokens(shape: &[usize], vocabulary: i64, seed: u64) -> Tensor {
    let floats = floats(shape, seed).to_f32().expect("they are floats");
    integers(shape, floats.iter().map(|value| (value.abs() * 1e6) as i64 % vocabulary))
}

pub fn ones(shape: &[usize]) -> Tensor {
    integers(shape, std::iter::repeat_n(1, shape.iter().product()))
}

fn integers(shape: &[usize], values: impl Iterator<Item = i64>) -> Tensor {
    let bytes: Vec<u8> = values.flat_map(i64::to_le_bytes).collect();
    Tensor::numbers(DataType::Int64, shape.iter().copied().collect(), bytes.into())
        .expect("the count follows from the shape")
}
