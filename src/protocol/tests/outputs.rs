//! Outputs read back from a response.

use bytes::Bytes;

use super::LIMITS;
use crate::protocol::{InferResponse, OutputTensor, decode_outputs, encode_infer};
use crate::tensor::Tensor;

fn outputs(json: &str) -> Result<Vec<(String, Tensor)>, String> {
    let body = Bytes::copy_from_slice(json.as_bytes());
    let outputs = decode_outputs(&body, &LIMITS).map_err(|error| error.to_string())?;
    Ok(outputs.into_iter().map(|output| (output.name.to_string(), output.tensor)).collect())
}

#[test]
fn what_is_written_is_read_back() {
    let tensor = Tensor::from_f32(&[1, 3], &[0.1, -2.0, 1e-20]).expect("three values fit");
    let output = OutputTensor { name: "y", tensor: tensor.clone(), binary: false };
    let response = InferResponse {
        model_name: "m",
        model_version: 1,
        id: Some("7"),
        outputs: [output].into_iter().collect(),
    };
    let body = encode_infer(response).expect("floats have a JSON form").parts.concat();
    let text = std::str::from_utf8(&body).expect("JSON is text");
    assert_eq!(outputs(text), Ok(vec![("y".to_owned(), tensor)]));
}

#[test]
fn what_is_wrong_is_named() {
    let tensor = r#""datatype":"FP32","shape":[1]"#;
    let table = [
        ("{}".to_owned(), "outputs: expected an array of tensors, got nothing"),
        ("[]".to_owned(), "the request is not valid JSON"),
        (
            format!(r#"{{"outputs":[{{"name":"y",{tensor}}}]}}"#),
            r#"outputs[0] "y": expected either data or parameters.binary_data_size, got neither"#,
        ),
        (
            format!(r#"{{"outputs":[{{"name":"y",{tensor},"data":[1,2]}}]}}"#),
            r#"outputs[0] "y" data"#,
        ),
        (
            format!(
                r#"{{"outputs":[{{"name":"y",{tensor},"parameters":{{"binary_data_size":4}}}}]}}"#
            ),
            r#"output "y": expected its data in the JSON, got binary data"#,
        ),
        (
            format!(
                r#"{{"outputs":[{{"name":"y",{tensor},"data":[1]}},
                {{"name":"y",{tensor},"data":[1]}}]}}"#
            ),
            r#"outputs[1] "y": expected a name of its own"#,
        ),
    ];
    for (json, expected) in table {
        let error = outputs(&json).expect_err(&json);
        assert!(error.contains(expected), "{json}: {error}");
    }
}
