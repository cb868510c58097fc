//! The model repository extension on the real binary: models are loaded with what lies on disk,
//! with another configuration, with files that come along, and unloaded; what cannot be is told.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::daemon::{Answer, Daemon, PATIENCE};
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json, output};

fn serve(repository: &Repository) -> Daemon {
    repository.serve("tract", &["--allow-repository-control"])
}

fn affine() -> Repository {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    repository
}

fn load(daemon: &Daemon, model: &str, parameters: &Value) -> Answer {
    let path = format!("/v2/repository/models/{model}/load");
    daemon.post_json(&path, &json!({"parameters": parameters}))
}

fn assert_loaded(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
}

/// Refused with 400, for a reason in which all these words are.
fn assert_refused(answer: &Answer, words: &[&str]) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let error = answer.json()["error"].as_str().expect("an error").to_owned();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

fn ask(daemon: &Daemon, model: &str) -> Answer {
    infer_json(daemon, model, &[fp32("x", &[1, 4], &[0.0, 1.0, 2.0, 3.0])])
}

fn assert_affine(daemon: &Daemon) {
    assert_eq!(output(&ask(daemon, "affine"), "y"), json!([1.0, 3.0, 5.0, 7.0]));
}

/// Waits until a version is freed: the unload is answered when nobody can reach it any more.
fn await_unloaded(daemon: &Daemon, version: &str) {
    let begin = Instant::now();
    loop {
        let all = daemon.post_json("/v2/repository/index", &json!({})).json();
        let mut entries = all.as_array().expect("a list").iter();
        let entry = entries.find(|entry| entry["version"] == version).expect("it is listed");
        if entry["state"] == "UNAVAILABLE" {
            assert_eq!(entry["reason"], "unloaded", "{all}");
            return;
        }
        assert_eq!(entry["state"], "UNLOADING", "{all}");
        assert!(begin.elapsed() < PATIENCE, "{all}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A model file as a load request carries it.
fn file(model: &onnxd::onnx::proto::ModelProto) -> String {
    let repository = Repository::new();
    let path = repository.version("model", 1, model);
    STANDARD.encode(std::fs::read(path).expect("it was written"))
}

#[test]
fn a_load_takes_up_what_lies_on_disk_now_and_an_unload_ends_it() {
    let repository = affine();
    let daemon = serve(&repository);
    assert_affine(&daemon);
    repository.version("affine", 2, &graphs::minus_batch_mean());
    assert_loaded(&load(&daemon, "affine", &json!({})));
    let answer = ask(&daemon, "affine");
    assert_eq!(answer.json()["model_version"], "2");
    assert_eq!(output(&answer, "y"), json!([0.0, 0.0, 0.0, 0.0]));

    let path = "/v2/repository/models/affine/unload";
    assert_loaded(&daemon.post_json(path, &json!({})));
    assert_eq!(ask(&daemon, "affine").status, 503);
    let ready = daemon.post_json("/v2/repository/index", &json!({"ready": true})).json();
    assert_eq!(ready, json!([]));
    await_unloaded(&daemon, "2");
    assert_loaded(&load(&daemon, "affine", &json!({})));
    assert_eq!(ask(&daemon, "affine").status, 200);
}

#[test]
fn a_configuration_that_comes_along_holds_until_the_next_load() {
    let repository = affine();
    let daemon = serve(&repository);
    let rows = || daemon.get("/v2/models/affine/config").json()["max_batch_size"].clone();
    let instances = json!([{"count": 1, "kind": "KIND_CPU"}]);
    let config = json!({"max_batch_size": 6, "dynamic_batching": {}, "instance_group": instances});
    let config = config.to_string();
    assert_loaded(&load(&daemon, "affine", &json!({"config": config})));
    assert_eq!(rows(), 6);
    assert_affine(&daemon);
    assert_loaded(&load(&daemon, "affine", &json!({})));
    assert_ne!(rows(), 6);

    let wrong = json!({"max_batch_size": "many"}).to_string();
    let refused = load(&daemon, "affine", &json!({"config": wrong}));
    assert_refused(&refused, &["max_batch_size", "a whole number", "many"]);
    assert_refused(&load(&daemon, "affine", &json!({"config": "{"})), &["config"]);
    assert_affine(&daemon);
}

#[test]
fn what_the_daemon_says_of_a_models_configuration_it_takes_back() {
    let repository = affine();
    let fixed = "max_batch_size = 6\npreferred_batch_sizes = [4]\nmax_queue_delay_ms = 1\n";
    repository.model("fixed", &graphs::affine(), fixed);
    // Some axes are not the batch's, and some models are served unbatched.
    repository.model("stateful", &graphs::stateful(), "");
    repository.model("whole", &graphs::minus_batch_mean(), "");
    repository.model("default", &graphs::with_default(), "");
    let daemon = serve(&repository);
    for model in ["affine", "fixed", "stateful", "whole", "default"] {
        let config = || daemon.get(&format!("/v2/models/{model}/config")).json();
        let before = config();
        assert_eq!(before["platform"], "onnxruntime_onnx");
        assert_eq!(before["backend"], "onnxruntime");
        assert_loaded(&load(&daemon, model, &json!({"config": before.to_string()})));
        assert_eq!(config(), before);
    }
    assert_affine(&daemon);
}

#[test]
fn files_that_come_along_are_served_and_nothing_is_written_to_the_repository() {
    let repository = affine();
    let daemon = serve(&repository);
    let parameters =
        json!({"config": "{}", "file:7/model.onnx": file(&graphs::minus_batch_mean())});
    assert_loaded(&load(&daemon, "affine", &parameters));
    let answer = ask(&daemon, "affine");
    assert_eq!(answer.json()["model_version"], "7", "{}", answer.text());
    assert_eq!(output(&answer, "y"), json!([0.0, 0.0, 0.0, 0.0]));
    assert!(!repository.path().join("affine/7").exists());
    // A model that lies nowhere can be brought whole.
    let parameters = json!({"config": "{}", "file:1/model.onnx": file(&graphs::affine())});
    assert_loaded(&load(&daemon, "brought", &parameters));
    assert_eq!(output(&ask(&daemon, "brought"), "y"), json!([1.0, 3.0, 5.0, 7.0]));
    assert_loaded(&load(&daemon, "affine", &json!({})));
    assert_affine(&daemon);
}

#[test]
fn a_load_that_fails_is_told_and_what_served_serves_on() {
    let repository = affine();
    let daemon = serve(&repository);
    repository.version("affine", 2, &graphs::unknown_operator());
    let refused = load(&daemon, "affine", &json!({}));
    assert_refused(&refused, &["\"affine\"", "affine/2/model.onnx", "\"twist\"", "Twist"]);
    assert_affine(&daemon);
    for (parameters, words) in [
        (json!({"config": 5}), &["parameters.\"config\"", "a string", "5"][..]),
        (json!({"colour": "red"}), &["parameters.\"colour\"", "unknown"]),
        (json!({"file:1/model.onnx": "AQI="}), &["parameters.\"config\"", "got nothing"]),
        (json!({"config": "{}", "file:1/model.onnx": "no base64!"}), &["base64"]),
        (json!({"config": "{}", "file:../../model.onnx": "AQI="}), &["../../model.onnx"]),
        (json!({"config": "{}", "file:1/../../model.onnx": "AQI="}), &["1/../../model.onnx"]),
        (json!({"config": "{}", "file:1/model.onnx": "AQI="}), &["not a usable ONNX model"]),
    ] {
        assert_refused(&load(&daemon, "affine", &parameters), words);
        assert_affine(&daemon);
    }
    for model in ["nobody", "..%2Faffine", "%2Fetc"] {
        let refused = load(&daemon, model, &json!({}));
        assert_eq!(refused.status, 404, "{model}: {}", refused.text());
    }
    let body = daemon.send("POST", "/v2/repository/models/affine/load", &[], b"[1]");
    assert_refused(&body, &["the body", "an object", "an array"]);
}

#[test]
fn control_is_refused_where_it_is_not_allowed_and_then_not_advertised() {
    let repository = affine();
    let daemon = repository.serve("tract", &[]);
    let refused = load(&daemon, "affine", &json!({}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("allow_repository_control"), "{}", refused.text());
    assert_affine(&daemon);
    let extensions = |daemon: &Daemon| daemon.get("/v2").json()["extensions"].clone();
    let lists = |extensions: Value| {
        extensions.as_array().expect("a list").contains(&json!("model_repository"))
    };
    assert!(!lists(extensions(&daemon)));
    assert!(lists(extensions(&serve(&repository))));
}
