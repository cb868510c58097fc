//! The daemon as a user meets it: start, right answers, clear refusals, a clean stop.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::python::root;
use crate::support::{digits_model, onnxd};

/// Rows of the data that ships with the model: pixels and the digit they show.
fn digits() -> Vec<(Vec<f32>, i64)> {
    let path: PathBuf = root().join("models/digits/data/digits.csv");
    let text = std::fs::read_to_string(&path).expect("the data ships with the model");
    let row = |line: &str| {
        let mut values: Vec<f32> =
            line.split(',').map(|value| value.parse().expect("a number")).collect();
        let digit = values.pop().expect("the last column is the digit");
        (values, digit as i64)
    };
    text.lines().skip(1).map(row).collect()
}

fn infer_digits(daemon: &Daemon, rows: &[(Vec<f32>, i64)]) -> Vec<i64> {
    let pixels: Vec<&[f32]> = rows.iter().map(|(pixels, _)| pixels.as_slice()).collect();
    let answer = daemon.post_json(
        "/v2/models/digits/infer",
        &json!({"inputs": [{
            "name": "pixels", "shape": [rows.len(), 64], "datatype": "FP32", "data": pixels,
        }], "outputs": [{"name": "digit"}]}),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let data = answer.json()["outputs"][0]["data"].clone();
    serde_json::from_value(data).expect("a list of digits")
}

#[test]
fn digits_are_recognised_on_the_embedded_engine() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    let rows = digits();
    let mut right = 0;
    for chunk in rows.chunks(64) {
        let answered = infer_digits(&daemon, chunk);
        assert_eq!(answered.len(), chunk.len());
        right += answered.iter().zip(chunk).filter(|(answer, row)| **answer == row.1).count();
    }
    assert!(right * 100 >= rows.len() * 97, "{right} of {} are right", rows.len());
}

#[test]
fn what_really_runs_is_in_the_metadata_and_a_metric() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    let metadata = daemon.get("/v2/models/digits").json();
    assert_eq!(metadata["name"], "digits");
    assert_eq!(metadata["versions"], json!(["1"]));
    assert_eq!(
        metadata["inputs"][0],
        json!({"name": "pixels", "datatype": "FP32", "shape": [-1, 64]})
    );
    assert_eq!(metadata["parameters"]["engine"], "tract");
    assert_eq!(metadata["parameters"]["device"], "cpu");
    let metrics = daemon.get("/metrics").text();
    let info = metrics
        .lines()
        .find(|line| line.starts_with("onnxd_engine_info{"))
        .unwrap_or_else(|| panic!("no onnxd_engine_info in:\n{metrics}"));
    assert!(info.contains("engine=\"tract\"") && info.contains("device=\"cpu\""), "{info}");
}

#[test]
fn sigterm_ends_with_exit_code_zero_after_work_in_flight() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    infer_digits(&daemon, &digits()[..3]);
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_a_clear_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(["serve", "--model", digits_model(), "--engine", "tract", "--listen", &address])
        .output()
        .expect("the binary was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn a_file_in_a_sockets_place_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("onnxd.sock");
    std::fs::write(&path, "notes").expect("a writable folder");
    let listen = format!("unix:{}", path.display());
    let output = onnxd(&["serve", "--model", digits_model(), "--listen", &listen]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a file that is no socket is in its place"), "{said}");
    assert!(path.exists(), "it is somebody's");
}

#[test]
fn a_repository_without_models_is_served_with_a_warning() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = folder.path().to_str().expect("a UTF-8 path");
    let daemon = Daemon::start(&["--repository", repository, "--engine", "tract"]);
    assert!(daemon.log().contains("no model is loaded"), "{}", daemon.log());
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_model_and_a_repository_are_not_taken_for_each_other() {
    let output = onnxd(&["serve", "--repository", digits_model()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not a repository of models"), "{said}");
    let models = root().join("models");
    let output = onnxd(&["inspect", models.to_str().expect("a UTF-8 path")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("such as ") && said.contains("models/digits"), "{said}");
}

#[test]
fn what_cannot_be_said_changes_no_exit_code() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onnxd"));
        command.args(arguments).stderr(full()).stdout(full());
        command.status().expect("the binary was built for this test").code()
    };
    assert_eq!(code(&["serve"]), Some(2));
    assert_eq!(code(&["inspect", "/no/such/model.onnx"]), Some(2));
    assert_eq!(code(&["inspect", "Cargo.toml"]), Some(1));
    for command in [&["runtime", "show"][..], &["models", "--repository", "models"]] {
        assert_eq!(code(command), Some(1), "{command:?}: its result could not be written");
    }
}

#[test]
fn a_wrong_command_line_ends_with_exit_code_two() {
    let output = Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(["serve", "--model", "/no/such/model.onnx"])
        .output()
        .expect("the binary was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/no/such/model.onnx"), "{said}");
}

#[test]
fn a_broken_model_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = |name: &str, bytes: &[u8]| {
        let version = folder.path().join(name).join("1");
        std::fs::create_dir_all(&version).expect("a writable folder");
        std::fs::write(version.join("model.onnx"), bytes).expect("a writable folder");
    };
    let good = std::fs::read(root().join("models/digits/1/model.onnx")).expect("it ships");
    copy("digits", &good);
    copy("truncated", &good[..good.len() / 2]);
    copy("text", b"this is not a model");
    let repository = folder.path().to_str().expect("a UTF-8 path");
    let daemon = Daemon::spawn(&["--repository", repository, "--engine", "tract"]);
    let ready = |model: &str| daemon.get(&format!("/v2/models/{model}/ready")).status;
    let begin = std::time::Instant::now();
    while ready("digits") != 200 && begin.elapsed() < crate::support::daemon::PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(infer_digits(&daemon, &digits()[..1]), vec![digits()[0].1]);
    let index: Value = daemon.post_json("/v2/repository/index", &json!({})).json();
    for name in ["truncated", "text"] {
        let entry = index
            .as_array()
            .and_then(|entries| entries.iter().find(|entry| entry["name"] == name))
            .unwrap_or_else(|| panic!("{name} is not in {index}"));
        assert_eq!(entry["state"], "UNAVAILABLE");
        let reason = entry["reason"].as_str().expect("a reason");
        assert!(reason.contains("model.onnx"), "{reason}");
        let refused = daemon.post_json(&format!("/v2/models/{name}/infer"), &json!({"inputs": []}));
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
    }
}
