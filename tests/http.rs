//! Routes, statuses, forms and encodings of HTTP, over a real socket.

use onnxd::batching::LayoutChoice;
use serde_json::json;

use crate::support::client::Client;
use crate::support::models::{Behaviour, Model, binary_request, floats, request};
use crate::support::server::TestServer;

const INFER: &str = "/v2/models/double/infer";

fn double() -> TestServer {
    TestServer::start(vec![Model::new("double", Behaviour::Double)], |_| {})
}

#[test]
fn json_goes_in_and_comes_out() {
    let server = double();
    let body = r#"{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[2,2],
        "data":[[1,2],[3,4.5]]}]}"#;
    let response = server.post(INFER, body);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let expected = json!({
        "model_name": "double", "model_version": "1", "id": "7",
        "outputs": [{
            "name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2.0, 4.0, 6.0, 9.0],
        }],
    });
    assert_eq!(response.json(), expected);
}

#[test]
fn binary_tensors_go_in_and_come_out() {
    let server = double();
    let (length, body) = binary_request(&[1.0, -0.5]);
    let headers = [("inference-header-content-length", length.as_str())];
    let mut client = server.client();
    for _ in 0..3 {
        let response = client.post(INFER, &headers, &body);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/octet-stream"));
        let header = response.header("inference-header-content-length").expect("binary outputs");
        let (header, tensors) = response.body.split_at(header.parse().expect("a number"));
        let header: serde_json::Value = serde_json::from_slice(header).expect("JSON");
        assert_eq!(header["id"], "42");
        assert_eq!(header["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert_eq!(floats(tensors), [2.0, -1.0]);
    }
}

#[test]
fn a_bare_tensor_is_a_request_of_its_own() {
    let server = double();
    let bytes: Vec<u8> = [3.0f32, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let headers = [("Inference-Header-Content-Length", "0"), ("content-type", "image/png")];
    let response = server.client().post(INFER, &headers, &bytes);
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(floats(&response.body[response.body.len() - 8..]), [6.0, 8.0]);
}

#[test]
fn classes_come_with_their_labels() {
    let mut model = Model::new("double", Behaviour::Double);
    model.labels = vec!["cat".to_owned(), "dog".to_owned()];
    let server = TestServer::start(vec![model], |_| {});
    let body = json!({
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2] }],
        "outputs": [{ "name": "y", "parameters": { "classification": 1 } }],
    });
    let response = server.post(INFER, &body.to_string()).json();
    assert_eq!(response["outputs"][0]["data"], json!(["4.0:1:dog"]), "{response}");
}

#[test]
fn a_named_version_answers_and_the_highest_otherwise() {
    let mut second = Model::new("double", Behaviour::Double);
    second.version = 2;
    let models = vec![Model::new("double", Behaviour::Double), second];
    let server = TestServer::start(models, |_| {});
    let answered =
        |path: &str| server.post(path, &request(&[1.0, 2.0])).json()["model_version"].clone();
    assert_eq!(answered(INFER), "2");
    assert_eq!(answered("/v2/models/double/versions/1/infer"), "1");
    let unknown = server.post("/v2/models/double/versions/9/infer", &request(&[1.0, 2.0]));
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.error(), r#"model "double" has no version "9""#);
}

#[test]
fn an_inline_model_answers_too() {
    let mut model = Model::new("double", Behaviour::Double);
    model.layout = LayoutChoice::Inline;
    let server = TestServer::start(vec![model], |settings| settings.network_threads = 2);
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for round in 0..20u8 {
        for client in &mut clients {
            let body = request(&[f32::from(round), 1.0]);
            client.send_request("POST", INFER, &[], body.as_bytes());
        }
        for client in &mut clients {
            let response = client.receive().json();
            let doubled = f64::from(round) * 2.0;
            assert_eq!(response["outputs"][0]["data"], json!([doubled, 2.0]));
        }
    }
}

#[test]
fn unknown_names_and_wrong_methods_are_told_apart() {
    let server = double();
    let mut client = server.client();
    for path in ["/nowhere", "/v2/models/other/infer", "/v2/models/double/other"] {
        let response = client.post(path, &[], b"{}");
        assert_eq!(response.status, 404, "{path}");
        assert!(!response.error().is_empty());
    }
    let response = client.get(INFER);
    assert_eq!(response.status, 405);
    assert_eq!(response.header("allow"), Some("POST"));
    let response = client.post("/v2/health/live", &[], b"");
    assert_eq!(response.status, 405);
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

#[test]
fn health_says_only_whether() {
    let server = double();
    let mut client = server.client();
    for path in ["/v2/health/live", "/v2/health/ready"] {
        let response = client.get(path);
        assert_eq!((response.status, response.body.len()), (200, 0), "{path}");
    }
    server.ready.store(false, std::sync::atomic::Ordering::Relaxed);
    let response = client.get("/v2/health/ready");
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(client.get("/v2/health/live").status, 200);
}

#[test]
fn a_head_is_answered_without_a_body() {
    let server = double();
    let mut client = server.client();
    client.send_request("HEAD", "/metrics", &[], b"");
    let response = client.receive_with_body(false);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length"), Some("23"));
    // Had a body come, this would not be a response.
    let response = client.get("/metrics");
    assert_eq!(response.text(), "onnxd_requests_total 7\n");
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn requests_may_be_sent_ahead() {
    let server = double();
    let mut client = server.client();
    for value in [1.0, 2.0, 3.0] {
        client.send_request("POST", INFER, &[], request(&[value, 0.0]).as_bytes());
    }
    client.send_request("GET", "/v2/health/live", &[], b"");
    for value in [2.0, 4.0, 6.0] {
        let data = client.receive().json()["outputs"][0]["data"].clone();
        assert_eq!(data, json!([value, 0.0]));
    }
    assert_eq!(client.receive().status, 200);
}

#[test]
fn a_request_id_comes_back() {
    let server = double();
    let headers = [("x-request-id", "abc-1")];
    let response = server.client().post(INFER, &headers, request(&[1.0, 2.0]).as_bytes());
    assert_eq!(response.header("x-request-id"), Some("abc-1"));
    let response = server.client().post(INFER, &headers, b"nonsense");
    assert_eq!((response.status, response.header("x-request-id")), (400, Some("abc-1")));
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let server = double();
    let mut client = server.client();
    let tensor = |field: &str, value: serde_json::Value| {
        let mut input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] });
        input[field] = value;
        json!({ "inputs": [input] }).to_string()
    };
    let rows = [
        (String::new(), "JSON"),
        ("{".to_owned(), "JSON"),
        (r#"{"inputs":[]}"#.to_owned(), "x"),
        (tensor("name", json!("z")), "z"),
        (tensor("datatype", json!("INT64")), "INT64"),
        (tensor("shape", json!([1, 3])), "shape"),
        (tensor("data", json!([1])), "data"),
        (tensor("data", json!("text")), "data"),
        ("[".repeat(10_000), "JSON"),
    ];
    for (body, named) in rows {
        let response = client.post(INFER, &[], body.as_bytes());
        assert_eq!(response.status, 400, "{body:.60}");
        assert!(response.error().contains(named), "{body:.60}: {}", response.error());
    }
    for length in ["-1", "abc", "99999", ""] {
        let headers = [("inference-header-content-length", length)];
        let response = client.post(INFER, &headers, request(&[1.0, 2.0]).as_bytes());
        assert_eq!(response.status, 400, "{length:?}");
        assert!(response.error().contains("Inference-Header-Content-Length"), "{length:?}");
    }
    assert_eq!(client.post(INFER, &[], request(&[1.0, 2.0]).as_bytes()).status, 200);
}

#[test]
fn the_models_own_refusals_and_failures_have_their_statuses() {
    let models =
        vec![Model::new("refuses", Behaviour::Refuse), Model::new("fails", Behaviour::Fail)];
    let server = TestServer::start(models, |_| {});
    let bad = request(&[13.0, 0.0]);
    let refused = server.post("/v2/models/refuses/infer", &bad);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.error(), "the model refused its inputs: thirteen");
    let failed = server.post("/v2/models/fails/infer", &bad);
    assert_eq!(failed.status, 500);
    assert_eq!(failed.error(), "the model failed while it ran: thirteen");
    assert_eq!(server.post("/v2/models/fails/infer", &request(&[1.0, 2.0])).status, 200);
}

#[test]
fn types_and_encodings_that_are_not_known_are_refused() {
    let server = double();
    let body = request(&[1.0, 2.0]);
    for (name, value) in [("content-type", "multipart/form-data"), ("content-encoding", "br")] {
        let response = server.client().post(INFER, &[(name, value)], body.as_bytes());
        assert_eq!(response.status, 415, "{name}");
        assert!(response.error().contains(value), "{name}");
    }
    for known in ["application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
        let response = server.client().post(INFER, &[("content-type", known)], body.as_bytes());
        assert_eq!(response.status, 200, "{known}");
    }
}

#[test]
fn a_request_says_once_which_host_it_is_for() {
    let server = double();
    let mut client = server.client();
    for (version, hosts, status) in [
        ("1.1", "", 400),
        ("1.1", "host: a\r\nhost: b\r\n", 400),
        ("1.1", "host: a\r\n", 200),
        ("1.0", "host: a\r\nhost: a\r\nconnection: keep-alive\r\n", 400),
        ("1.0", "connection: keep-alive\r\n", 200),
    ] {
        let body = request(&[1.0, 2.0]);
        let length = body.len();
        let head = format!("POST {INFER} HTTP/{version}\r\n{hosts}content-length: {length}");
        client.send(format!("{head}\r\n\r\n{body}").as_bytes());
        let response = client.receive();
        assert_eq!(response.status, status, "HTTP/{version} {hosts:?}: {}", response.text());
        if status == 400 {
            let error = response.error();
            assert!(error.starts_with("expected one Host header, got "), "{error}");
            // A refused body is not read, so the connection ends with its answer.
            client = server.client();
        }
    }
}

#[test]
fn what_is_no_http_is_refused() {
    let server = double();
    let mut client = server.client();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n");
    assert_eq!(client.receive().status, 400);
    client.expect_end();
    let mut client = server.client();
    let _ = client.try_send(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).as_bytes());
    let status = client.receive().status;
    assert!(matches!(status, 414 | 431), "{status}");
}
