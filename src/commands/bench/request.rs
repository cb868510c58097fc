//! Inference requests as bytes on the wire.

use serde_json::json;

use crate::tensor::{Data, Tensor};

/// A request with these inputs as binary tensors, answered in binary; without `outputs`, with all
/// that the model has.
pub fn binary(model: &str, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Vec<u8> {
    let mut listed = Vec::with_capacity(inputs.len());
    let mut payload = Vec::new();
    for (name, tensor) in inputs {
        let begin = payload.len();
        append(&mut payload, tensor);
        listed.push(json!({
            "name": name,
            "shape": tensor.shape(),
            "datatype": tensor.data_type().protocol_name(),
            "parameters": { "binary_data_size": payload.len() - begin },
        }));
    }
    let asked = |name: &&str| json!({ "name": name, "parameters": { "binary_data": true } });
    let outputs: Vec<_> = outputs.iter().map(asked).collect();
    let header = if outputs.is_empty() {
        json!({ "inputs": listed, "parameters": { "binary_data_output": true } })
    } else {
        json!({ "inputs": listed, "outputs": outputs })
    };
    let header = header.to_string();
    let mut request = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: onnxd\r\n\
         Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n\
         Content-Length: {}\r\n\r\n{header}",
        header.len(),
        header.len() + payload.len()
    )
    .into_bytes();
    request.extend_from_slice(&payload);
    request
}

/// The tensor as the protocol has it in binary: strings with their lengths before them.
fn append(payload: &mut Vec<u8>, tensor: &Tensor) {
    match tensor.data() {
        Data::Numbers(bytes) => payload.extend_from_slice(bytes),
        Data::Strings(strings) => {
            for string in strings {
                let length = u32::try_from(string.len()).expect("a made-up string is short");
                payload.extend_from_slice(&length.to_le_bytes());
                payload.extend_from_slice(string);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ANY_ROOM, Limits, Terms, decode_infer};
    use crate::tensor::{Shape, TensorSpec};

    #[test]
    fn what_is_sent_is_what_was_meant() {
        let floats = Tensor::from_f32(&[1, 2], &[1.5, -2.0]).expect("two values fit");
        let strings = vec!["a".into(), "".into()];
        let strings = Tensor::strings(Shape::from_slice(&[2]), strings).expect("two fit");
        let inputs = [("x", &floats), ("a \"name\"", &strings)].map(|(name, tensor)| TensorSpec {
            name: name.to_owned(),
            data_type: tensor.data_type(),
            shape: None,
            optional: false,
        });
        for outputs in [&["y"][..], &[]] {
            let request = binary("m", &[("x", &floats), ("a \"name\"", &strings)], outputs);
            let head = request.windows(4).position(|it| it == b"\r\n\r\n").expect("a head") + 4;
            let text = std::str::from_utf8(&request[..head]).expect("a head is text");
            let length = |name: &str| -> usize {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.expect("the header is there").parse().expect("a number")
            };
            let body = request[head..].to_vec();
            assert_eq!(body.len(), length("Content-Length: "));
            let header = length("Inference-Header-Content-Length: ");
            let limits = Limits { max_json_depth: 8 };
            let terms = Terms { inputs: &inputs, limits: &limits, room: ANY_ROOM };
            let decoded = decode_infer(body.into(), Some(header), &terms).expect("sound");
            assert_eq!(decoded.inputs[0].tensor, floats);
            assert_eq!(decoded.inputs[1].tensor, strings);
            assert_eq!(&*decoded.inputs[1].name, "a \"name\"");
            assert_eq!(decoded.outputs.len(), outputs.len());
            assert!(decoded.binary_output(0));
        }
    }
}
