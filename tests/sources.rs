//! Where models come from: files, folders, repositories, the configuration, all in one daemon.

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::{ONE_THREAD, Repository};
use crate::support::request::{fp32, infer_json, output};

fn assert_served(daemon: &Daemon, model: &str, version: &str) {
    let answer = infer_json(daemon, model, &[fp32("x", &[1, 4], &[0.5; 4])]);
    assert_eq!(output(&answer, "y"), json!([2.0, 2.0, 2.0, 2.0]), "{model}");
    assert_eq!(answer.json()["model_version"], version, "{model}");
}

#[test]
fn models_come_from_everywhere_at_once_and_the_command_line_goes_before_the_file() {
    let elsewhere = Repository::new();
    let file = elsewhere.version("kept", 1, &graphs::affine());
    let plain = elsewhere.path().join("plain.onnx");
    std::fs::rename(file, plain).expect("the folder is writable");
    elsewhere.version("folder", 4, &graphs::affine());
    elsewhere.version("folder", 5, &graphs::affine());
    let repository = Repository::new();
    repository.model("collected", &graphs::affine(), "");
    // Relative paths are against the file's folder.
    let text = format!(
        "repositories = [{:?}]\n[[models]]\nname = \"renamed\"\npath = \"folder\"\n\
         [[models]]\npath = \"plain.onnx\"\n[model_defaults]\nmax_batch_size = 6\n",
        repository.text(),
    );
    let file = elsewhere.write("onnxd.toml", text);
    let configured = ["--config", file.to_str().expect("a UTF-8 path"), "--engine", "tract"];
    let daemon = Daemon::start(&configured);
    for (model, version) in [("plain", "1"), ("renamed", "5"), ("collected", "1")] {
        assert_served(&daemon, model, version);
        // What is said for all models holds where a model says nothing itself.
        let config = daemon.get(&format!("/v2/models/{model}/config")).json();
        assert_eq!(config["max_batch_size"], 6, "{model}");
    }
    let other = format!("other={}", elsewhere.path().join("plain.onnx").display());
    let daemon = Daemon::start(&[&configured[..], &["--model", &other]].concat());
    assert_served(&daemon, "other", "1");
    assert_served(&daemon, "collected", "1");
    assert_eq!(infer_json(&daemon, "renamed", &[]).status, 404);
}

#[test]
fn a_models_own_file_wins_over_tritons_and_that_is_said() {
    let repository = Repository::new();
    repository.model("both", &graphs::affine(), "max_batch_size = 3\n");
    repository.write("both/config.pbtxt", "max_batch_size: 7\n");
    let daemon = repository.serve("tract", &[]);
    let config = daemon.get("/v2/models/both/config").json();
    assert_eq!(config["max_batch_size"], 3);
    let log = daemon.log();
    let said = log.lines().any(|line| line.contains("WARN") && line.contains("config.pbtxt"));
    assert!(said, "{log}");
    assert_served(&daemon, "both", "1");
}

#[test]
fn a_name_that_two_models_have_is_refused_with_both_places() {
    let repository = Repository::new();
    for folder in ["one", "two"] {
        repository.version(folder, 1, &graphs::affine());
        repository.write(&format!("{folder}/model.toml"), ONE_THREAD);
    }
    let named = |folder: &str| format!("same={}", repository.path().join(folder).display());
    let output = Daemon::command(&["--engine", "tract", "--model", &named("one")])
        .args(["--model", &named("two")])
        .output()
        .expect("the binary was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("\"same\""), "{said}");
}
