//! Golden samples of the model that ships, on the real binary: a version that answers them wrong
//! does not serve, and what serves goes on.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::python::root;

/// A copy of the shipped version with its sample, without its digests.
fn copy(folder: &Path) {
    let shipped = root().join("models/digits/1");
    std::fs::create_dir_all(folder.join("golden")).expect("a writable folder");
    for file in ["model.onnx", "golden/inputs.json", "golden/outputs.json"] {
        std::fs::copy(shipped.join(file), folder.join(file)).expect("a writable folder");
    }
    let manifest = "[[golden]]\ninputs = \"golden/inputs.json\"\n\
                    outputs = \"golden/outputs.json\"\nrelative_tolerance = 1e-4\n";
    std::fs::write(folder.join("manifest.toml"), manifest).expect("a writable folder");
}

/// Makes the sample's second row expect another digit.
fn spoil(folder: &Path) {
    let path = folder.join("golden/outputs.json");
    let text = std::fs::read_to_string(&path).expect("it was copied");
    let mut answer: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(answer["outputs"][1]["name"], "digit");
    answer["outputs"][1]["data"][1] = json!(99);
    std::fs::write(&path, answer.to_string()).expect("a writable folder");
}

#[test]
fn a_version_that_answers_its_golden_sample_wrong_does_not_replace_the_one_that_serves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("digits");
    copy(&model.join("1"));
    let repository = folder.path().to_str().expect("a UTF-8 path");
    let daemon = Daemon::start(&[
        "--repository",
        repository,
        "--engine",
        "tract",
        "--allow-repository-control",
    ]);
    copy(&model.join("2"));
    spoil(&model.join("2"));
    let load = |daemon: &Daemon| {
        let answer = daemon.post_json("/v2/repository/models/digits/load", &json!({}));
        (answer.status, answer.text())
    };
    let (status, said) = load(&daemon);
    assert_eq!(status, 400, "{said}");
    let expected = "output \\\"digit\\\" at [1]: expected 99, got ";
    assert!(said.contains(expected) && said.contains("2/golden/inputs.json"), "{said}");
    let versions = |daemon: &Daemon| daemon.get("/v2/models/digits").json()["versions"].clone();
    assert_eq!(versions(&daemon), json!(["1"]));
    copy(&model.join("2"));
    assert_eq!(load(&daemon).0, 200);
    assert_eq!(versions(&daemon), json!(["2"]));
}

#[test]
fn a_named_model_that_answers_wrong_is_a_refusal_to_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("digits");
    copy(&model.join("1"));
    spoil(&model.join("1"));
    let output = Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(["serve", "--engine", "tract", "--listen", "127.0.0.1:0", "--model"])
        .arg(&model)
        .output()
        .expect("the binary was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("golden sample") && said.contains("expected 99"), "{said}");
}
