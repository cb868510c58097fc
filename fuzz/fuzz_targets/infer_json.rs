//! JSON requests of both protocols: never a panic, nothing taken that is no JSON, and what was
//! taken comes back the same from its own encoding.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use onnxd::protocol::v1::{decode_predict, encode_predictions};
use onnxd::protocol::{
    ANY_ROOM, InferInput, InferResponse, Limits, OutputTensor, Terms, decode_infer, encode_infer,
    resolve_inputs,
};
use onnxd::tensor::{DataType, Dimension, TensorSpec};

const LIMITS: Limits = Limits { max_json_depth: 64 };

fn specs() -> Vec<TensorSpec> {
    let spec = |name: &str, data_type, shape: &[Dimension]| TensorSpec {
        name: name.to_owned(),
        data_type,
        shape: Some(shape.to_vec()),
        optional: name == "c",
    };
    vec![
        spec("a", DataType::Float32, &[Dimension::Unknown, Dimension::Fixed(2)]),
        spec("b", DataType::String, &[Dimension::Unknown]),
        spec("c", DataType::Int64, &[]),
    ]
}

fn terms(inputs: &[TensorSpec]) -> Terms<'_> {
    Terms { inputs, limits: &LIMITS, room: ANY_ROOM }
}

fn reencode(input: &InferInput) {
    let tensor = input.tensor.clone();
    let output = OutputTensor { name: &input.name, tensor, binary: false };
    let response = InferResponse {
        model_name: "m",
        model_version: 1,
        id: None,
        outputs: std::iter::once(output).collect(),
    };
    let body = encode_infer(response).expect("JSON came in, so JSON can go out");
    let json = std::str::from_utf8(&body.parts[0]).expect("JSON is UTF-8");
    // The outputs' member is the first of that name: names come after it.
    let json = json.replacen("\"outputs\"", "\"inputs\"", 1);
    let spec = TensorSpec {
        name: input.name.to_string(),
        data_type: input.tensor.data_type(),
        shape: None,
        optional: false,
    };
    let again = decode_infer(json.into(), None, &terms(&[spec])).expect("the encoder writes JSON");
    assert_eq!(&again.inputs[0], input);
}

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let specs = specs();
    if let Ok(request) = decode_infer(body.clone(), None, &terms(&specs)) {
        serde_json::from_slice::<serde::de::IgnoredAny>(data).expect("what was taken is JSON");
        request.inputs.iter().for_each(reencode);
        let _ = resolve_inputs(request.inputs, &specs);
    }
    for specs in [&specs[..], &specs[..1], &specs[1..2]] {
        if let Ok(request) = decode_predict(body.clone(), &terms(specs)) {
            let outputs: Vec<_> =
                request.inputs.iter().map(|input| (&*input.name, input.tensor.clone())).collect();
            let _ = encode_predictions(request.format, &outputs);
        }
    }
});
