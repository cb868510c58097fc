//! What NVIDIA's client sends is understood, and what it was seen to understand is sent. The
//! vectors come from `scripts/tritonclient_vectors.py`.

use bytes::Bytes;
use serde::Deserialize;

use super::{spec, terms};
use crate::protocol::{
    InferRequest, InferResponse, OutputTensor, ParameterValue, ProtocolError, decode_infer,
    encode_infer,
};
use crate::tensor::{DataType, Shape, Tensor};

const REQUESTS: &str = include_str!("../../../tests/data/tritonclient/requests.json");
const RESPONSES: &str = include_str!("../../../tests/data/tritonclient/responses.json");

#[derive(Deserialize)]
struct Case {
    case: String,
    body: String,
    header_length: Option<usize>,
    #[serde(default)]
    inputs: Vec<Vector>,
    #[serde(default)]
    outputs: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    bytes: Option<String>,
    strings: Option<Vec<String>>,
    #[serde(default)]
    binary: bool,
}

fn hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

impl Vector {
    fn tensor(&self) -> Tensor {
        let shape = Shape::from_slice(&self.shape);
        match (&self.strings, &self.bytes) {
            (Some(strings), _) => {
                Tensor::strings(shape, strings.iter().map(|string| hex(string)).collect()).unwrap()
            }
            (None, bytes) => {
                let data_type = DataType::from_protocol_name(&self.datatype).unwrap();
                Tensor::numbers(data_type, shape, hex(bytes.as_ref().unwrap())).unwrap()
            }
        }
    }
}

fn cases(text: &str) -> Vec<Case> {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn decode(case: &Case) -> Result<InferRequest, ProtocolError> {
    let data_type = |vector: &Vector| DataType::from_protocol_name(&vector.datatype).unwrap();
    let inputs: Vec<_> =
        case.inputs.iter().map(|vector| spec(&vector.name, data_type(vector), &[])).collect();
    decode_infer(hex(&case.body), case.header_length, &terms(&inputs))
}

/// What is refused, and the words that say why.
const REFUSED: [(&str, &str); 3] = [
    ("FP16 json", "send the tensor in binary"),
    ("NaN json", "send the tensor in binary"),
    ("sequence", "sequences are not supported"),
];

#[test]
fn every_request_gives_the_tensors_that_went_in() {
    let cases = cases(REQUESTS);
    assert!(cases.len() > 50);
    for case in &cases {
        if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == case.case) {
            let error = decode(case).expect_err(&case.case).to_string();
            assert!(error.contains(why), "{}: {error}", case.case);
            continue;
        }
        let request = decode(case).unwrap_or_else(|error| panic!("{}: {error}", case.case));
        assert_eq!(request.inputs.len(), case.inputs.len(), "{}", case.case);
        for (input, vector) in request.inputs.iter().zip(&case.inputs) {
            assert_eq!(*input.name, *vector.name, "{}", case.case);
            assert_eq!(input.tensor, vector.tensor(), "{}", case.case);
        }
    }
}

#[test]
fn every_datatype_is_among_the_requests() {
    let cases = cases(REQUESTS);
    for data_type in DataType::ALL {
        let name = format!("{data_type} binary");
        assert!(cases.iter().any(|case| case.case == name), "{name}");
    }
}

#[test]
fn the_clients_options_arrive() {
    let cases = cases(REQUESTS);
    let case = cases.iter().find(|case| case.case == "everything").unwrap();
    let request = decode(case).unwrap();
    assert_eq!(request.id.as_deref(), Some("é42"));
    assert_eq!((request.priority, request.timeout_us), (2, Some(5000)));
    assert_eq!((request.binary_output(0), request.binary_output(1)), (false, true));
    assert_eq!((request.classification(0), request.classification(1)), (0, 3));
    let own = ("own".to_owned(), ParameterValue::String("value".to_owned()));
    assert!(request.parameters.contains(&own));
    // A client that names no outputs wants all of them in binary.
    let plain = cases.iter().find(|case| case.case == "FP32 json").unwrap();
    assert!(decode(plain).unwrap().binary_data_output);
}

#[test]
fn answers_are_what_the_client_was_seen_to_read() {
    for case in cases(RESPONSES) {
        let output = |vector: &'_ Vector| (vector.tensor(), vector.binary);
        let tensors: Vec<(Tensor, bool)> = case.outputs.iter().map(output).collect();
        let outputs = case
            .outputs
            .iter()
            .zip(tensors)
            .map(|(vector, (tensor, binary))| OutputTensor { name: &vector.name, tensor, binary });
        let body = encode_infer(InferResponse {
            model_name: "m",
            model_version: 3,
            id: Some("42"),
            outputs: outputs.collect(),
        })
        .unwrap_or_else(|error| panic!("{}: {error}", case.case));
        let bytes: Vec<u8> = body.parts.iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!(body.header_length, case.header_length, "{}", case.case);
        assert_eq!(bytes, hex(&case.body), "{}: {}", case.case, String::from_utf8_lossy(&bytes));
    }
}
