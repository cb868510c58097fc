//! What goes out.

use bytes::Bytes;
use smallvec::smallvec;

use crate::protocol::{Body, InferResponse, OutputTensor, ProtocolError, encode_infer};
use crate::tensor::{DataType, Shape, Tensor};

fn encode(outputs: Vec<OutputTensor<'_>>) -> Result<Body, ProtocolError> {
    encode_infer(InferResponse {
        model_name: "m",
        model_version: 3,
        id: Some("4\"2"),
        outputs: outputs.into(),
    })
}

fn output(name: &str, tensor: Tensor, binary: bool) -> OutputTensor<'_> {
    OutputTensor { name, tensor, binary }
}

fn text(body: &Body) -> String {
    let bytes: Vec<u8> = body.parts.iter().flat_map(|part| part.to_vec()).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn json_comes_alone() {
    let tensor = Tensor::from_f32(&[2, 1], &[0.1, 0.9]).unwrap();
    let body = encode(vec![output("y", tensor, false)]).unwrap();
    assert_eq!(
        text(&body),
        "{\"model_name\":\"m\",\"model_version\":\"3\",\"id\":\"4\\\"2\",\"outputs\":[{\"name\":\"y\",\
         \"datatype\":\"FP32\",\"shape\":[2,1],\"data\":[0.1,0.9]}]}"
    );
    assert_eq!((body.header_length, body.content_type()), (None, "application/json"));
}

#[test]
fn without_an_id_none_is_echoed() {
    let response =
        InferResponse { model_name: "m", model_version: 1, id: None, outputs: smallvec![] };
    let body = encode_infer(response).unwrap();
    assert_eq!(text(&body), "{\"model_name\":\"m\",\"model_version\":\"1\",\"outputs\":[]}");
}

#[test]
fn small_tensors_share_one_part_and_large_ones_keep_their_memory() {
    let small =
        Tensor::numbers(DataType::Uint8, Shape::from_slice(&[2]), Bytes::from_static(b"ab"));
    let large = Tensor::zeros(DataType::Float32, Shape::from_slice(&[2048])).unwrap();
    let memory = large.bytes().unwrap().as_ptr();
    let last = Tensor::strings(Shape::from_slice(&[1]), vec![Bytes::from_static(b"xyz")]);
    let body = encode(vec![
        output("a", small.unwrap(), true),
        output("b", large, true),
        output("c", last.unwrap(), true),
    ])
    .unwrap();
    let header = body.header_length.expect("binary");
    assert_eq!(body.content_type(), "application/octet-stream");
    assert_eq!(body.parts.len(), 3);
    assert_eq!(&body.parts[0][header..], b"ab");
    assert_eq!(body.parts[1].as_ptr(), memory);
    assert_eq!(&body.parts[2][..], b"\x03\x00\x00\x00xyz");
    let json = std::str::from_utf8(&body.parts[0][..header]).unwrap();
    for size in ["\"binary_data_size\":2}", "\"binary_data_size\":8192}", "\"binary_data_size\":7}"]
    {
        assert!(json.contains(size), "{json}");
    }
    assert_eq!(body.byte_size(), header + 2 + 8192 + 7);
}

#[test]
fn what_has_no_json_form_is_refused_with_the_way_out() {
    let way_out = "has no JSON form: ask for the output in binary (\"parameters\": {\"binary_data\": \
        true}) or for all of them (\"binary_data_output\": true on the request)";
    let half = Tensor::zeros(DataType::Float16, Shape::from_slice(&[1])).unwrap();
    let error = encode(vec![output("y", half.clone(), false)]).unwrap_err().to_string();
    assert_eq!(error, format!("outputs[0] \"y\": FP16 {way_out}"));
    assert!(encode(vec![output("y", half, true)]).is_ok());
    let strings = vec![Bytes::from_static(b"ok"), Bytes::from_static(b"\xff")];
    let broken = Tensor::strings(Shape::from_slice(&[2]), strings).unwrap();
    let error = encode(vec![output("y", broken, false)]).unwrap_err().to_string();
    assert_eq!(error, format!("outputs[0] \"y\": string 1, which is no UTF-8, {way_out}"));
}
