//! Bodies that are received or in work, over all connections, within one limit.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use onnxd::tensor::DataType;
use serde_json::json;

use crate::support::client::{PATIENCE, Response};
use crate::support::daemon::{Answer, Daemon};
use crate::support::graphs;
use crate::support::models::{Behaviour, Gate, Model, request};
use crate::support::repository::Repository;
use crate::support::server::TestServer;

const INFER: &str = "/v2/models/double/infer";
const MAX_BODY: usize = 10_000;
const MAX_INFLIGHT: usize = 2 * MAX_BODY;

/// A server with room for two of the largest bodies, and what holds its model back.
fn server() -> (TestServer, Gate) {
    let model = Model::new("double", Behaviour::Double);
    let gate = model.gate.clone();
    let server = TestServer::start(vec![model], |settings| {
        settings.max_body_bytes = MAX_BODY;
        settings.max_inflight_bytes = MAX_INFLIGHT;
        settings.retry_after = Duration::from_secs(3);
    });
    (server, gate)
}

/// A request whose body has so many bytes.
fn body(length: usize) -> Vec<u8> {
    let mut body = request(&[1.0, 2.0]).into_bytes();
    body.resize(length, b' ');
    body
}

fn assert_full(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.header("retry-after"), Some("3"));
    let error = response.error();
    assert!(error.contains("20000 allowed together (max_inflight"), "{error}");
}

/// Asks until there is room again; nothing tells when a body has been given up.
fn eventually_answers(server: &TestServer, length: usize) {
    let begin = Instant::now();
    while server.client().post(INFER, &[], &body(length)).status != 200 {
        assert!(begin.elapsed() < PATIENCE, "there is no room for {length} bytes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_body_beyond_what_is_in_work_is_refused_before_it_is_sent_and_taken_later() {
    let (server, gate) = server();
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send_request("POST", INFER, &[], &body(9_000));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    let mut third = server.client();
    let head = "POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n";
    third.send(format!("{head}content-length: 2001\r\n\r\n").as_bytes());
    assert_full(&third.receive());
    // There is room for a small one, and health never needs any.
    let mut small = server.client();
    small.send_request("POST", INFER, &[], &body(1_900));
    server.wait_for_queue("double", 2);
    assert_eq!(server.get("/v2/health/live").status, 200);
    gate.open();
    for client in clients.iter_mut().chain([&mut small]) {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(server.client().post(INFER, &[], &body(MAX_BODY)).status, 200);
}

#[test]
fn what_is_announced_counts_until_its_client_goes_away() {
    let (server, _) = server();
    let announce = || {
        let mut client = server.client();
        let head = "POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n";
        client.send(format!("{head}content-length: {MAX_BODY}\r\n\r\n ").as_bytes());
        client
    };
    let silent = [announce(), announce()];
    // Nothing tells when the server has read a head.
    let begin = Instant::now();
    let refused = loop {
        let response = server.client().post(INFER, &[], &body(MAX_BODY));
        if response.status != 200 {
            break response;
        }
        assert!(begin.elapsed() < PATIENCE, "what is announced does not count");
    };
    assert_full(&refused);
    for client in &silent {
        client.stream().shutdown(Shutdown::Both).expect("it is connected");
    }
    drop(silent);
    eventually_answers(&server, MAX_BODY);
}

#[test]
fn a_body_of_unknown_length_counts_as_it_comes() {
    let (server, gate) = server();
    gate.close();
    let mut others = [server.client(), server.client()];
    for (client, length) in others.iter_mut().zip([MAX_BODY, 5_000]) {
        client.send_request("POST", INFER, &[], &body(length));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    let chunks = |lengths: &[usize]| {
        let mut client = server.client();
        client.send(
            b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n\
              transfer-encoding: chunked\r\n\r\n",
        );
        for &length in lengths {
            client.send(format!("{length:x}\r\n{}\r\n", " ".repeat(length)).as_bytes());
        }
        client
    };
    assert_full(&chunks(&[4_000, 4_000]).receive());
    let mut small = chunks(&[4_000]);
    let rest = request(&[1.0, 2.0]);
    small.send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()).as_bytes());
    server.wait_for_queue("double", 2);
    gate.open();
    for client in others.iter_mut().chain([&mut small]) {
        assert_eq!(client.receive().status, 200);
    }
}

#[test]
fn a_compressed_body_counts_as_it_is_meant() {
    let (server, gate) = server();
    let compressed = |length: usize| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body(length)).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let headers = [("content-encoding", "gzip")];
    assert!(compressed(9_900).len() < 300);
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send_request("POST", INFER, &headers, &compressed(9_400));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    assert_full(&server.client().post(INFER, &headers, &compressed(1_000)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(server.client().post(INFER, &headers, &compressed(MAX_BODY)).status, 200);
}

#[test]
fn a_request_that_is_run_on_another_thread_than_it_came_to_counts_as_well() {
    let (server, gate) = server();
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        // It begins with administration, so it stays with that thread.
        assert_eq!(client.get("/v2/health/live").status, 200);
        client.send_request("POST", INFER, &[], &body(MAX_BODY));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    assert_full(&server.client().post(INFER, &[], &body(300)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    eventually_answers(&server, MAX_BODY);
}

/// So many empty strings, in every form that there is.
fn empty_strings(daemon: &Daemon, model: &str, count: usize) -> [Answer; 4] {
    let tensor = json!({ "name": "x", "datatype": "BYTES", "shape": [count] });
    let strings = vec![""; count];
    let mut inline = tensor.clone();
    inline["data"] = json!(strings);
    let mut behind = tensor;
    behind["parameters"] = json!({ "binary_data_size": 4 * count });
    let header = json!({ "inputs": [behind] }).to_string();
    let length = header.len().to_string();
    let body = [header.into_bytes(), vec![0; 4 * count]].concat();
    let infer = format!("/v2/models/{model}/infer");
    let predict = format!("/v1/models/{model}:predict");
    [
        daemon.post_json(&infer, &json!({ "inputs": [inline] })),
        daemon.send("POST", &infer, &[("inference-header-content-length", &length)], &body),
        daemon.post_json(&predict, &json!({ "instances": strings })),
        daemon.post_json(&predict, &json!({ "inputs": { "x": strings } })),
    ]
}

#[test]
fn empty_strings_count_for_what_they_take() {
    let repository = Repository::new();
    repository.model("strings", &graphs::identity(DataType::String, "batch"), "");
    repository.model("floats", &graphs::identity(DataType::Float32, "batch"), "");
    let config = "[server]\nmax_body = '64KiB'\nmax_inflight = '128KiB'\n";
    let config = repository.write("onnxd.toml", config);
    let daemon = repository.serve("tract", &["--config", config.to_str().expect("UTF-8")]);
    // Of 15000, up to 60 kB come and 480 kB would be taken.
    for answer in empty_strings(&daemon, "strings", 15_000) {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        let error = answer.text();
        assert!(error.contains("131072 allowed together (max_inflight"), "{error}");
    }
    daemon.await_metric("onnxd_inflight_bytes", &[], 0.0);
    for answer in empty_strings(&daemon, "strings", 2_000) {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Where none belong, none are read.
    let answers = empty_strings(&daemon, "floats", 15_000);
    for (answer, why) in answers.iter().zip(["got BYTES", "got BYTES", "FP32", "FP32"]) {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    daemon.await_metric("onnxd_inflight_bytes", &[], 0.0);
}
