//! What was sent is what is counted: statistics, metrics, Triton's names, the log; with the model
//! that ships, over both protocols.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::digits_model;
use crate::support::graphs;
use crate::support::python::root;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json};

/// Images of the data that ships, and the digits they show.
fn images(count: usize) -> (Vec<Vec<f32>>, Vec<i64>) {
    let path = root().join("models/digits/data/digits.csv");
    let text = std::fs::read_to_string(path).expect("the data ships with the model");
    let row = |line: &str| {
        let mut values: Vec<f32> =
            line.split(',').map(|value| value.parse().expect("a number")).collect();
        let digit = values.pop().expect("the last column is the digit");
        (values, digit as i64)
    };
    text.lines().skip(1).take(count).map(row).unzip()
}

fn predict(daemon: &Daemon, body: &Value) -> Value {
    let answer = daemon.post_json("/v1/models/digits:predict", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn predictions_come_in_rows_and_columns_and_are_right() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    let (pixels, digits) = images(12);
    // Two outputs: each row is an object, and so is the column form.
    let rows = predict(&daemon, &json!({"instances": pixels}));
    let rows = rows["predictions"].as_array().expect("a row per image").clone();
    let columns = predict(&daemon, &json!({"inputs": {"pixels": pixels}}));
    let columns = &columns["outputs"];
    let bare = predict(&daemon, &json!({"inputs": pixels, "signature_name": "serving_default"}));
    assert_eq!(bare["outputs"], *columns, "one input needs no name");
    assert_eq!(rows.len(), digits.len());
    let right = rows.iter().zip(&digits).filter(|(row, digit)| row["digit"] == json!(digit));
    assert!(right.count() >= 11, "of 12 the model knows nearly all");
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["digit"], columns["digit"][index]);
        assert_eq!(row["probabilities"], columns["probabilities"][index]);
        let probabilities: Vec<f64> =
            serde_json::from_value(row["probabilities"].clone()).expect("ten numbers");
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    }
    let objects: Vec<Value> = pixels.iter().map(|image| json!({"pixels": image})).collect();
    assert_eq!(predict(&daemon, &json!({"instances": objects}))["predictions"], json!(rows));
    let versioned = daemon
        .post_json("/v1/models/digits/versions/1:predict", &json!({"instances": pixels[..1]}));
    assert_eq!(versioned.json()["predictions"], json!(rows[..1]));
    let status = daemon.get("/v1/models/digits").json();
    let expected = json!({"version": "1", "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""}});
    assert_eq!(status["model_version_status"], json!([expected]));
    let metadata = daemon.get("/v1/models/digits/metadata").json();
    assert_eq!(metadata["model_spec"]["name"], "digits");
    let text = metadata.to_string();
    assert!(text.contains("pixels") && text.contains("probabilities"), "{text}");
}

#[test]
fn the_older_protocols_odd_numbers_are_taken_and_given() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let daemon = repository.serve("tract", &[]);
    let body = b"{\"instances\": [[NaN, Infinity, -Infinity, 1.5]]}";
    let answer = daemon.send("POST", "/v1/models/affine:predict", &[], body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text: String = answer.text().split_whitespace().collect();
    assert_eq!(text, "{\"predictions\":[[NaN,Infinity,-Infinity,4.0]]}");
}

/// Rows of each request that is sent, in order: five over v2, two over v1.
const ROWS: [usize; 7] = [1, 2, 3, 4, 5, 2, 3];

/// Sends good and bad requests, one after the other, so that each makes a run of its own.
fn send_some(daemon: &Daemon) {
    let pixels = |rows: usize| vec![vec![0.5f32; 64]; rows];
    for rows in &ROWS[..5] {
        let x = json!({"name": "pixels", "datatype": "FP32", "shape": [rows, 64],
            "data": pixels(*rows)});
        assert_eq!(infer_json(daemon, "digits", &[x]).status, 200);
    }
    predict(daemon, &json!({"instances": pixels(ROWS[5])}));
    predict(daemon, &json!({"inputs": pixels(ROWS[6])}));
    for _ in 0..2 {
        assert_eq!(infer_json(daemon, "digits", &[fp32("pixels", &[1], &[0.0])]).status, 400);
    }
    for _ in 0..3 {
        assert_eq!(infer_json(daemon, "nobody", &[]).status, 404);
    }
}

fn rows_sent() -> f64 {
    ROWS.iter().sum::<usize>() as f64
}

#[test]
fn statistics_and_metrics_agree_with_what_was_sent() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    send_some(&daemon);
    let model = [("model", "digits"), ("version", "1")];
    let outcome = |outcome| [model[0], model[1], ("outcome", outcome)];
    // A response is counted when it has left, which its reader may see a moment earlier.
    daemon.await_metric("onnxd_requests_total", &outcome("invalid"), 2.0);
    daemon.await_metric("onnxd_requests_total", &outcome("ok"), 7.0);
    daemon.await_metric("onnxd_requests_total", &[], 9.0);
    let expected = [
        ("onnxd_request_seconds_count", 9.0),
        ("onnxd_write_seconds_count", 9.0),
        ("onnxd_queue_seconds_count", 7.0),
        ("onnxd_batch_seconds_count", 7.0),
        ("onnxd_inference_seconds_count", 7.0),
        ("onnxd_batch_size_count", 7.0),
        ("onnxd_batch_size_sum", rows_sent()),
        ("onnxd_batch_failures_total", 0.0),
        ("onnxd_queue_depth", 0.0),
        ("onnxd_model_ready", 1.0),
        ("onnxd_engine_info", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(daemon.metric(name, &model), value, "{name}");
    }
    // One request of one row, two of two, two of three, and so on.
    for (most, count) in [("1", 1.0), ("2", 3.0), ("4", 6.0), ("8", 7.0), ("+Inf", 7.0)] {
        let labels = [model[0], ("le", most)];
        assert_eq!(daemon.metric("onnxd_batch_size_bucket", &labels), count, "le {most}");
    }
    let refused = daemon.metric("onnxd_http_refused_total", &[("status", "404")]);
    assert_eq!(refused, 3.0, "no model, so no model's figures");
    let stages = ["request", "queue", "batch", "inference", "write"];
    for stage in stages {
        let sum = daemon.metric(&format!("onnxd_{stage}_seconds_sum"), &model);
        assert!(sum > 0.0 && sum < 60.0, "{stage}: {sum}");
    }

    let all = daemon.get("/v2/models/stats").json();
    let statistics = &all["model_stats"][0];
    assert_eq!(*statistics, daemon.get("/v2/models/digits/stats").json()["model_stats"][0]);
    assert_eq!(statistics["inference_count"].as_f64(), Some(rows_sent()));
    assert_eq!(statistics["execution_count"], 7);
    let memory = daemon.metric("onnxd_model_memory_bytes", &model);
    assert!(memory > 0.0, "the loader measures it");
    let usage = json!([{"type": "CPU", "id": 0, "byte_size": memory as u64}]);
    assert_eq!(statistics["memory_usage"], usage);
    let counts = [
        ("success", 7),
        ("fail", 2),
        ("queue", 7),
        ("compute_input", 7),
        ("compute_infer", 7),
        ("compute_output", 7),
        ("cache_hit", 0),
    ];
    for (stage, count) in counts {
        assert_eq!(statistics["inference_stats"][stage]["count"], count, "{stage}");
    }
    let batches = statistics["batch_stats"].as_array().expect("a list").clone();
    let by_size: Vec<(u64, u64)> = batches
        .iter()
        .map(|batch| {
            let count = batch["compute_infer"]["count"].as_u64().expect("a number");
            (batch["batch_size"].as_u64().expect("a number"), count)
        })
        .collect();
    assert_eq!(by_size, [(1, 1), (2, 2), (3, 2), (4, 1), (5, 1)]);
}

#[test]
fn tritons_names_are_there_where_the_switch_asks_for_them() {
    let plain = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    send_some(&plain);
    assert!(!plain.get("/metrics").text().contains("nv_"));
    let daemon =
        Daemon::start(&["--model", digits_model(), "--engine", "tract", "--triton-metrics"]);
    send_some(&daemon);
    let model = [("model", "digits"), ("version", "1")];
    daemon.await_metric("nv_inference_request_success", &model, 7.0);
    assert_eq!(daemon.metric("nv_inference_count", &model), rows_sent());
    assert_eq!(daemon.metric("nv_inference_exec_count", &model), 7.0);
    daemon.await_metric("nv_inference_request_failure", &[("reason", "OTHER")], 2.0);
    assert_eq!(daemon.metric("nv_inference_request_failure", &[("reason", "REJECTED")],), 0.0);
    assert!(daemon.metric("nv_inference_compute_infer_duration_us", &model) > 0.0);
    assert_eq!(daemon.metric("nv_inference_pending_request_count", &model), 0.0);
}

/// Waits for as many lines about refused requests. A request is counted before it is logged, and
/// the log is read by a thread of the test's.
fn await_refusals(daemon: &Daemon, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let events = daemon.events("request refused");
        if events.len() >= count {
            return events;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_log_tells_requests_apart_by_their_identity() {
    let daemon =
        Daemon::start(&["--model", digits_model(), "--engine", "tract", "--log-level", "debug"]);
    let headers = [("X-Request-Id", "order-66")];
    let refused = daemon.send("POST", "/v2/models/digits/infer", &headers, b"{}");
    assert_eq!((refused.status, refused.header("x-request-id")), (400, Some("order-66")));
    let unnamed = daemon.send("POST", "/v2/models/digits/infer", &[], b"{}");
    let made = unnamed.header("x-request-id").expect("one is made where none was given").to_owned();
    let events = await_refusals(&daemon, 2);
    let identities: Vec<&Value> = events.iter().map(|event| &event["request_id"]).collect();
    assert_eq!(identities, [&json!("order-66"), &json!(made)]);
    assert!(events.iter().all(|event| event["status"] == 400), "{events:?}");
    assert!(events.iter().all(|event| event["error"].as_str().is_some_and(|it| !it.is_empty())));
}

#[test]
fn a_client_that_goes_away_is_499_in_the_log_with_its_identity() {
    let daemon =
        Daemon::start(&["--model", digits_model(), "--engine", "tract", "--log-level", "debug"]);
    let mut gone = TcpStream::connect(daemon.address).expect("the daemon listens");
    let half = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: onnxd\r\nX-Request-Id: gone\r\n\
                Content-Length: 100\r\n\r\n{";
    gone.write_all(half.as_bytes()).expect("the daemon reads");
    drop(gone);
    let event = await_refusals(&daemon, 1).remove(0);
    assert_eq!((&event["request_id"], &event["outcome"]), (&json!("gone"), &json!("cancelled")));
    assert_eq!(event["status"], 499);
    let cancelled = [("model", "digits"), ("outcome", "cancelled")];
    assert_eq!(daemon.metric("onnxd_requests_total", &cancelled), 1.0);
    assert_eq!(daemon.metric("onnxd_requests_total", &[]), 1.0);
}
