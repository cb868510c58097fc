//! Tensors behind the JSON, the raw form, and the memory of the last header.

use bytes::Bytes;

use super::{decode_binary, input, spec, strings, terms};
use crate::protocol::{
    ANY_ROOM, InferRequest, ProtocolError, RequestHeader, decode_infer, parse_header_length,
};
use crate::tensor::{Data, DataType, TensorSpec};

fn binary(datatype: &str, shape: &str, size: usize) -> String {
    input(&format!(
        "\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":{shape},\
         \"parameters\":{{\"binary_data_size\":{size}}}"
    ))
}

#[test]
fn binary_tensors_are_slices_of_the_body() {
    let json = "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"INT16\",\"shape\":[2],\"parameters\":\
        {\"binary_data_size\":4}},{\"name\":\"b\",\"datatype\":\"UINT8\",\"shape\":[1],\"data\":[9]},\
        {\"name\":\"c\",\"datatype\":\"BYTES\",\"shape\":[2],\"parameters\":{\"binary_data_size\":11}}]}";
    let tail = b"\x01\x00\x02\x00\x03\x00\x00\x00abc\x00\x00\x00\x00";
    let body = Bytes::from([json.as_bytes(), tail].concat());
    let request = decode_infer(body.clone(), Some(json.len()), &terms(&strings())).unwrap();
    let bytes = request.inputs[0].tensor.bytes().unwrap();
    assert_eq!(&bytes[..], b"\x01\x00\x02\x00");
    assert_eq!(bytes.as_ptr(), body[json.len()..].as_ptr());
    let Data::Strings(strings) = request.inputs[2].tensor.data() else { panic!("strings") };
    assert_eq!(strings, &["abc", ""]);
    assert_eq!(strings[0].as_ptr(), body[json.len() + 8..].as_ptr());
}

#[test]
fn missing_and_surplus_bytes_are_counted() {
    let table: [(String, &[u8], &str); 9] = [
        (
            binary("FP32", "[2]", 8),
            &[0; 5],
            "inputs[0] \"x\": expected 8 bytes of binary data behind the JSON, got 5 (3 additional bytes are missing)",
        ),
        (
            binary("FP32", "[1]", 4),
            &[0; 6],
            "the body: expected no bytes behind the last tensor, got 2 additional bytes",
        ),
        (
            binary("FP32", "[2]", 4),
            &[0; 4],
            "inputs[0] \"x\": expected 8 bytes (FP32 of shape [2]), got 4 bytes",
        ),
        (
            binary("BOOL", "[3]", 3),
            &[0, 1, 2],
            "inputs[0] \"x\" byte 2: expected 0 or 1 (BOOL), got 2",
        ),
        (
            binary("BYTES", "[1]", 3),
            &[0; 3],
            "inputs[0] \"x\" string 0: expected a length of 4 bytes, got 3 bytes",
        ),
        (
            binary("BYTES", "[1]", 6),
            &[9, 0, 0, 0, 1, 2],
            "inputs[0] \"x\" string 0: expected 9 bytes, as its length says, got 2 bytes",
        ),
        (
            binary("BYTES", "[2]", 4),
            &[0; 4],
            "inputs[0] \"x\": expected 2 strings (its shape), got 1",
        ),
        (
            binary("BYTES", "[1]", 8),
            &[0; 8],
            "inputs[0] \"x\": expected 1 strings (its shape), got 4 more bytes",
        ),
        (
            binary("BYTES", "[0]", 0),
            &[1],
            "the body: expected no bytes behind the last tensor, got 1 additional bytes",
        ),
    ];
    for (json, tail, expected) in table {
        let error = decode_binary(&json, tail).expect_err(&json).to_string();
        assert_eq!(error, expected, "{json}");
    }
}

#[test]
fn the_length_of_the_json_must_fit() {
    let body = Bytes::from_static(b"{\"inputs\":[]}");
    let error = decode_infer(body, Some(14), &terms(&[])).unwrap_err().to_string();
    assert_eq!(
        error,
        "Inference-Header-Content-Length: expected at most the body's length, 13, got 14"
    );
    assert_eq!(parse_header_length("17"), Ok(17));
    for wrong in ["", "-1", "+1", "1x", "99999999999999999999"] {
        assert!(parse_header_length(wrong).is_err(), "{wrong}");
    }
}

fn raw(body: &'static [u8], inputs: &[TensorSpec]) -> Result<InferRequest, String> {
    decode_infer(Bytes::from_static(body), Some(0), &terms(inputs))
        .map_err(|error: ProtocolError| error.to_string())
}

#[test]
fn a_raw_body_is_the_one_input() {
    let table: [(TensorSpec, &'static [u8], &[usize]); 6] = [
        (spec("x", DataType::Uint8, &[2, 2]), &[1, 2, 3, 4], &[2, 2]),
        (spec("x", DataType::Int16, &[-1, 2]), &[0; 12], &[3, 2]),
        (spec("x", DataType::Int16, &[-1, -1]), &[0; 12], &[1, 6]),
        (spec("x", DataType::Uint8, &[-1, 0]), &[], &[0, 0]),
        (spec("x", DataType::String, &[1]), b"jpeg", &[1]),
        (spec("x", DataType::String, &[-1, 1]), b"jpeg", &[1, 1]),
    ];
    for (spec, body, shape) in table {
        let request = raw(body, std::slice::from_ref(&spec)).expect("a raw body");
        let tensor = &request.inputs[0].tensor;
        assert_eq!(tensor.shape(), shape, "{spec:?}");
        assert!(request.binary_output(0));
    }
}

#[test]
fn a_raw_body_that_tells_too_little_is_refused() {
    let x = |data_type, shape: &[i64]| vec![spec("x", data_type, shape)];
    let no_rank = TensorSpec { shape: None, ..spec("x", DataType::Uint8, &[]) };
    let table: [(Vec<TensorSpec>, &'static [u8], &str); 7] = [
        (
            vec![],
            &[],
            "the body: a raw request (Inference-Header-Content-Length: 0) needs a model with \
            exactly one input, this one has 0",
        ),
        (
            x(DataType::Int16, &[2]),
            &[0; 3],
            "input \"x\": expected 4 bytes (INT16 of shape [2]), got 3 bytes",
        ),
        (
            x(DataType::Int16, &[-1, 2]),
            &[0; 6],
            "input \"x\": expected a multiple of 4 bytes (shape [?, 2]), got 6",
        ),
        (
            x(DataType::Int16, &[-1, 0]),
            &[0; 6],
            "input \"x\": expected a multiple of 0 bytes (shape [?, 0]), got 6",
        ),
        (
            x(DataType::Int16, &[2, -1, -1]),
            &[0; 6],
            "input \"x\": a raw request can leave one axis to be told from \
            its size, here several are open; its shape is [2, ?, ?]",
        ),
        (
            x(DataType::String, &[2]),
            &[0; 6],
            "input \"x\": a raw request carries one string, and this input takes \
            more; its shape is [2]",
        ),
        (
            vec![no_rank],
            &[0],
            "input \"x\": a raw request cannot tell the shape of an input whose rank is open; \
            its shape is [...]",
        ),
    ];
    for (inputs, body, expected) in table {
        assert_eq!(raw(body, &inputs).unwrap_err(), expected);
    }
}

#[test]
fn a_header_serves_again_for_other_tensors() {
    let json = binary("UINT8", "[2]", 2);
    let body = |tail: &[u8]| Bytes::from([json.as_bytes(), tail].concat());
    let header = RequestHeader::read(&body(&[]), json.len(), &terms(&[])).expect("it is sound");
    assert!(header.is_template());
    for tail in [&[1, 2][..], &[3, 4], &[1], &[1, 2, 3]] {
        let expected = decode_infer(body(tail), Some(json.len()), &terms(&[]));
        assert_eq!(
            header.clone().into_request(body(tail), json.len(), ANY_ROOM),
            expected,
            "{tail:?}"
        );
        let mut tensors = Vec::new();
        let taken =
            header.tensors(body(tail), json.len(), ANY_ROOM, |_, tensor| tensors.push(tensor));
        assert_eq!(taken.err(), expected.as_ref().err().cloned());
        if let Ok(request) = expected {
            assert!(tensors.iter().eq(request.inputs.iter().map(|input| &input.tensor)));
        }
    }
    let inline = input("\"name\":\"x\",\"datatype\":\"UINT8\",\"shape\":[1],\"data\":[5]");
    let header = RequestHeader::read(&inline.clone().into(), inline.len(), &terms(&[]));
    assert!(!header.expect("it is sound").is_template());
}
