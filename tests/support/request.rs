//! Inference over the wire: binary requests made from tensors, and the tensors that come back.

use bytes::Bytes;
use onnxd::tensor::{Data, DataType, Tensor};
use serde_json::{Value, json};

use super::daemon::{Answer, Daemon};

/// A numeric tensor from its values' little-endian bytes.
pub fn numbers(data_type: DataType, shape: &[usize], bytes: Vec<u8>) -> Tensor {
    Tensor::numbers(data_type, shape.iter().copied().collect(), bytes.into())
        .expect("the test made as many values as the shape takes")
}

pub fn int32(shape: &[usize], values: &[i32]) -> Tensor {
    numbers(DataType::Int32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

pub fn int64(shape: &[usize], values: &[i64]) -> Tensor {
    numbers(DataType::Int64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Reproducible values in -1..1.
pub fn floats(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_f32(shape, &values).expect("the count follows from the shape")
}

/// An input as JSON.
pub fn fp32(name: &str, shape: &[usize], data: &[f32]) -> Value {
    json!({"name": name, "datatype": "FP32", "shape": shape, "data": data})
}

/// Asks the model for all its outputs, everything in JSON.
pub fn infer_json(daemon: &Daemon, model: &str, inputs: &[Value]) -> Answer {
    daemon.post_json(&format!("/v2/models/{model}/infer"), &json!({"inputs": inputs}))
}

/// The data of an output of an answer in JSON.
///
/// # Panics
/// The daemon refused, or there is no such output.
pub fn output(answer: &Answer, name: &str) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let outputs = answer.json()["outputs"].as_array().expect("a list of outputs").clone();
    let found = outputs.into_iter().find(|output| output["name"] == name);
    found.unwrap_or_else(|| panic!("no output {name} in {}", answer.text()))["data"].clone()
}

/// Does something as often as said, all at the same time; the results in order.
pub fn at_once<T: Send>(times: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(times);
    std::thread::scope(|scope| {
        let (start, act) = (&start, &act);
        let threads: Vec<_> = (0..times)
            .map(|index| {
                scope.spawn(move || {
                    start.wait();
                    act(index)
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.expect("no client panics")).collect()
    })
}

/// Asks the model for these outputs, everything in binary.
///
/// # Panics
/// The daemon refused, or its answer does not have the outputs in that order.
pub fn infer(
    daemon: &Daemon,
    model: &str,
    inputs: &[(&str, &Tensor)],
    outputs: &[String],
) -> Vec<Tensor> {
    let answer = send(daemon, model, inputs, outputs);
    assert_eq!(answer.status, 200, "{}", answer.text());
    decode(&answer, outputs)
}

/// The same, whatever the answer is.
pub fn send(
    daemon: &Daemon,
    model: &str,
    inputs: &[(&str, &Tensor)],
    outputs: &[String],
) -> Answer {
    let mut payload = Vec::new();
    let listed: Vec<Value> = inputs
        .iter()
        .map(|(name, tensor)| {
            let start = payload.len();
            append(tensor, &mut payload);
            json!({
                "name": name,
                "shape": tensor.shape(),
                "datatype": tensor.data_type().protocol_name(),
                "parameters": {"binary_data_size": payload.len() - start},
            })
        })
        .collect();
    let wanted: Vec<Value> = outputs
        .iter()
        .map(|name| json!({"name": name, "parameters": {"binary_data": true}}))
        .collect();
    let header = json!({"inputs": listed, "outputs": wanted}).to_string();
    let mut body = header.clone().into_bytes();
    body.extend_from_slice(&payload);
    daemon.send(
        "POST",
        &format!("/v2/models/{model}/infer"),
        &[
            ("Content-Type", "application/octet-stream"),
            ("Inference-Header-Content-Length", &header.len().to_string()),
        ],
        &body,
    )
}

fn append(tensor: &Tensor, payload: &mut Vec<u8>) {
    match tensor.data() {
        Data::Numbers(bytes) => payload.extend_from_slice(bytes),
        Data::Strings(strings) => {
            for string in strings {
                payload.extend_from_slice(&(string.len() as u32).to_le_bytes());
                payload.extend_from_slice(string);
            }
        }
    }
}

fn decode(answer: &Answer, outputs: &[String]) -> Vec<Tensor> {
    let length: usize = answer
        .header("inference-header-content-length")
        .expect("the outputs were asked for in binary")
        .parse()
        .expect("a length");
    let header: Value = serde_json::from_slice(&answer.body[..length]).expect("the header is JSON");
    let mut rest = &answer.body[length..];
    let decoded = outputs
        .iter()
        .zip(header["outputs"].as_array().expect("a list of outputs"))
        .map(|(name, output)| {
            assert_eq!(output["name"], *name);
            let shape: Vec<usize> =
                serde_json::from_value(output["shape"].clone()).expect("a shape");
            let data_type =
                DataType::from_protocol_name(output["datatype"].as_str().expect("a datatype"))
                    .expect("a datatype of the protocol");
            let size = output["parameters"]["binary_data_size"].as_u64().expect("a size") as usize;
            let (bytes, after) = rest.split_at(size);
            rest = after;
            match data_type {
                DataType::String => strings(&shape, bytes),
                _ => numbers(data_type, &shape, bytes.to_vec()),
            }
        })
        .collect();
    assert!(rest.is_empty(), "{} bytes too many in the answer", rest.len());
    decoded
}

fn strings(shape: &[usize], mut bytes: &[u8]) -> Tensor {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (string, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        strings.push(Bytes::copy_from_slice(string));
        bytes = rest;
    }
    Tensor::strings(shape.iter().copied().collect(), strings).expect("as many strings as said")
}

/// Equal, or for 32-bit floats within `tolerance` of the expected tensor's largest magnitude.
///
/// # Panics
/// They differ; the message names the tensor and the difference.
pub fn assert_close(name: &str, expected: &Tensor, actual: &Tensor, tolerance: f32) {
    assert_eq!(expected.data_type(), actual.data_type(), "type of {name}");
    assert_eq!(expected.shape(), actual.shape(), "shape of {name}");
    let (Some(left), Some(right)) = (expected.to_f32(), actual.to_f32()) else {
        assert_eq!(expected.data(), actual.data(), "values of {name}");
        return;
    };
    let scale = left.iter().fold(0f32, |scale, value| scale.max(value.abs()));
    for (index, (left, right)) in left.iter().zip(&right).enumerate() {
        let same = left == right || (left.is_nan() && right.is_nan());
        assert!(
            same || (left - right).abs() <= tolerance * scale,
            "{name}[{index}]: expected {left}, got {right}"
        );
    }
}
