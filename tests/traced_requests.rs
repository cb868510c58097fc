//! Requests that are traced, at a collector of the tests' own; logs for people beside them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};

use onnxd::telemetry::traces::{TraceSettings, Tracer};
use serde_json::Value;

use crate::support::client::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::digits_model;
use crate::support::exposition;
use crate::support::models::{Behaviour, Model};
use crate::support::server::TestServer;

const BODY: &[u8] = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;

/// Takes one export a connection and gives its body on.
fn collector() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("a bound port"));
    let (sender, receiver) = sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a head");
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.get_mut().write_all(answer).expect("the exporter reads");
            if sender.send(serde_json::from_slice(&body).expect("JSON")).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

#[test]
fn a_callers_trace_goes_on_through_its_stages() {
    let (endpoint, exports) = collector();
    let service_name = "onnxd".to_owned();
    let settings = TraceSettings { endpoint, sample_ratio: 0.0, service_name };
    let tracer = Tracer::start(&settings).expect("the endpoint is well-formed");
    let server = TestServer::traced(Model::new("double", Behaviour::Double), tracer);
    let mut client = server.client();
    // Nobody asked for this one to be traced.
    assert_eq!(client.post("/v2/models/double/infer", &[], BODY).status, 200);
    let headers = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-request-id", "mine"),
    ];
    assert_eq!(client.post("/v2/models/double/infer", &headers, BODY).status, 200);
    let export = exports.recv_timeout(PATIENCE).expect("spans are exported");
    let spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names, ["infer", "queue", "batch", "inference", "split", "write"]);
    assert!(spans.iter().all(|span| span["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(spans[0]["parentSpanId"], "00f067aa0ba902b7");
    assert!(spans[0].to_string().contains("mine"), "{}", spans[0]);
}

#[test]
fn a_request_whose_client_goes_away_is_traced_as_499_without_stages() {
    let (endpoint, exports) = collector();
    let service_name = "onnxd".to_owned();
    let settings = TraceSettings { endpoint, sample_ratio: 0.0, service_name };
    let tracer = Tracer::start(&settings).expect("the endpoint is well-formed");
    let model = Model::new("left", Behaviour::Double);
    let gate = model.gate.clone();
    let server = TestServer::traced(model, tracer);
    gate.close();
    let mut running = server.client();
    running.send_request("POST", "/v2/models/left/infer", &[], BODY);
    gate.wait_for_run();
    let headers = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-request-id", "gone"),
    ];
    let mut gone = server.client();
    gone.send_request("POST", "/v2/models/left/infer", &headers, BODY);
    server.wait_for_queue("left", 1);
    drop(gone);
    // The run that is held back still goes on.
    server.wait_for_queue("left", 0);
    let export = exports.recv_timeout(PATIENCE).expect("spans are exported");
    let spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names, ["infer"], "it never came to a run");
    let attribute = |key: &str| {
        let attributes = spans[0]["attributes"].as_array().expect("attributes");
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.unwrap_or_else(|| panic!("no {key} in {}", spans[0]))["value"].clone()
    };
    assert_eq!(attribute("http.response.status_code")["intValue"], "499");
    assert_eq!(attribute("onnxd.outcome")["stringValue"], "cancelled");
    assert!(spans[0].to_string().contains("\"gone\""), "{}", spans[0]);
    // It was the client's doing: nothing failed here.
    assert!(spans[0].get("status").is_none(), "{}", spans[0]);
    let cancelled = [("model", "left"), ("outcome", "cancelled")];
    assert_eq!(exposition::of_this_process("onnxd_requests_total", &cancelled), 1.0);
    gate.open();
    assert_eq!(running.receive().status, 200);
}

#[test]
fn the_daemon_traces_where_it_is_given_a_collector() {
    let (endpoint, exports) = collector();
    let arguments =
        ["--model", digits_model(), "--engine", "tract", "--trace-endpoint", endpoint.as_str()];
    let daemon = Daemon::start(&arguments);
    let pixels = serde_json::json!({"name": "pixels", "datatype": "FP32", "shape": [1, 64],
        "data": vec![0.0; 64]});
    let body = serde_json::json!({"inputs": [pixels]}).to_string();
    let headers = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let answer = daemon.send("POST", "/v2/models/digits/infer", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let export = exports.recv_timeout(PATIENCE).expect("spans are exported");
    let spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    assert_eq!(spans[0]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(spans[0].to_string().contains("digits"), "{}", spans[0]);
    daemon.await_metric("onnxd_trace_spans_total", &[("outcome", "exported")], spans.len() as f64);
    // What is left is sent before the end, and a collector that is gone holds nothing up.
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_log_for_people_has_no_braces() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(["serve", "--model", digits_model(), "--engine", "tract", "--log-format", "text"])
        .args(["--listen", "127.0.0.1:0"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let log = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    let ready = lines.find(|line| line.contains("model ready")).expect("it becomes ready");
    assert!(ready.contains("INFO") && ready.contains("model=\"digits\""), "{ready}");
    assert!(!ready.contains('{') && !ready.contains('\u{1b}'), "no colours in a file: {ready}");
    child.kill().expect("it runs");
    child.wait().expect("it was ours");
}
