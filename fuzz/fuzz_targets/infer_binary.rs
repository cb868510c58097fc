//! Requests with binary tensors: two bytes of header length, then the body. Never a panic, the
//! header that was read serves twice, and what was taken comes back the same in binary.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use onnxd::protocol::{
    ANY_ROOM, InferResponse, Limits, OutputTensor, RequestHeader, Terms, classify, decode_infer,
    encode_infer,
};
use onnxd::tensor::{DataType, Dimension, Tensor, TensorSpec};

const LIMITS: Limits = Limits { max_json_depth: 64 };

fn terms(inputs: &[TensorSpec]) -> Terms<'_> {
    Terms { inputs, limits: &LIMITS, room: ANY_ROOM }
}

fn spec(data_type: DataType, shape: &[Dimension]) -> [TensorSpec; 1] {
    let shape = Some(shape.to_vec());
    [TensorSpec { name: "x".to_owned(), data_type, shape, optional: false }]
}

fn reencode(tensor: &Tensor) {
    let outputs = std::iter::once(OutputTensor { name: "x", tensor: tensor.clone(), binary: true });
    let response =
        InferResponse { model_name: "m", model_version: 1, id: None, outputs: outputs.collect() };
    let body = encode_infer(response).expect("every tensor has a binary form");
    let bytes: Vec<u8> = body.parts.iter().flat_map(|part| part.to_vec()).collect();
    let (json, tail) = bytes.split_at(body.header_length.expect("the output is binary"));
    let json = std::str::from_utf8(json).expect("JSON is UTF-8");
    let json = json.replacen("\"outputs\"", "\"inputs\"", 1);
    let body = Bytes::from([json.as_bytes(), tail].concat());
    let inputs = spec(tensor.data_type(), &[]);
    let again = decode_infer(body, Some(json.len()), &terms(&inputs)).expect("it was encoded here");
    assert_eq!(&again.inputs[0].tensor, tensor);
    let _ = classify(tensor, 3, None);
}

fuzz_target!(|data: &[u8]| {
    let Some((length, body)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let body = Bytes::copy_from_slice(body);
    let open = [Dimension::Unknown, Dimension::Fixed(2)];
    for inputs in [
        spec(DataType::Int16, &open),
        spec(DataType::Bool, &[]),
        spec(DataType::String, &open[..1]),
    ] {
        let decoded = decode_infer(body.clone(), Some(length), &terms(&inputs));
        if length > 0
            && let Ok(header) = RequestHeader::read(&body, length, &terms(&inputs))
        {
            for _ in 0..2 {
                assert_eq!(header.clone().into_request(body.clone(), length, ANY_ROOM), decoded);
            }
        }
        if let Ok(request) = decoded {
            request.inputs.iter().for_each(|input| reencode(&input.tensor));
        }
    }
});
