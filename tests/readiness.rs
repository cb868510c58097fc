//! The server is ready while every model that should serve does; told otherwise, once its start is
//! over.

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json, output};

const READY: &str = "/v2/health/ready";

/// Serves a repository on tract with these settings of the server.
fn serve(repository: &Repository, section: &str) -> Daemon {
    let text = format!(
        "repositories = [{:?}]\n[loading]\nretries = 0\n[server]\n\
         allow_repository_control = true\n{section}",
        repository.text()
    );
    let file = repository.write("onnxd.toml", text);
    Daemon::start(&["--config", file.to_str().expect("a UTF-8 path"), "--engine", "tract"])
}

fn control(daemon: &Daemon, model: &str, action: &str) -> u16 {
    let path = format!("/v2/repository/models/{model}/{action}");
    daemon.post_json(&path, &json!({})).status
}

fn assert_ready(daemon: &Daemon) {
    assert_eq!(daemon.get(READY).status, 200, "{}", daemon.get(READY).text());
    assert_eq!(daemon.metric("onnxd_ready", &[]), 1.0);
}

/// Not ready, because of this model.
fn assert_not_ready(daemon: &Daemon, model: &str) {
    let answer = daemon.get(READY);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let error = answer.json()["error"].as_str().expect("an error says why").to_owned();
    assert!(error.starts_with(&format!("model {model:?} is not ready: ")), "{error}");
    assert_eq!(daemon.metric("onnxd_ready", &[]), 0.0);
    assert_eq!(daemon.get("/v2/health/live").status, 200);
}

fn assert_affine_serves(daemon: &Daemon) {
    let answer = infer_json(daemon, "affine", &[fp32("x", &[1, 4], &[1.0; 4])]);
    assert_eq!(output(&answer, "y"), json!([3.0, 3.0, 3.0, 3.0]));
}

#[test]
fn a_repository_of_which_every_model_fails_is_live_and_not_ready_until_they_do_not() {
    let repository = Repository::new();
    repository.file("affine", "no model", "");
    repository.file("other", "no model", "");
    let daemon = serve(&repository, "");
    assert_not_ready(&daemon, "affine");
    repository.version("affine", 1, &graphs::affine());
    assert_eq!(control(&daemon, "affine", "load"), 200);
    assert_affine_serves(&daemon);
    assert_not_ready(&daemon, "other");
    repository.version("other", 1, &graphs::affine());
    assert_eq!(control(&daemon, "other", "load"), 200);
    assert_ready(&daemon);
}

#[test]
fn what_is_unloaded_or_holds_nothing_does_not_count() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    repository.file("broken", "no model", "");
    repository.write("notes/read.me", "no model either");
    let daemon = serve(&repository, "");
    assert_affine_serves(&daemon);
    assert_not_ready(&daemon, "broken");
    assert_eq!(control(&daemon, "broken", "unload"), 200);
    assert_ready(&daemon);
    assert_eq!(control(&daemon, "affine", "unload"), 200);
    assert_ready(&daemon);
    // Asked for again, it counts again.
    assert_eq!(control(&daemon, "broken", "load"), 400);
    assert_not_ready(&daemon, "broken");
}

#[test]
fn settings_that_are_wrong_make_a_model_that_should_serve_and_does_not() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    repository.model("wrong", &graphs::affine(), "max_batch_sise = 3\n");
    let daemon = serve(&repository, "");
    assert_affine_serves(&daemon);
    assert_not_ready(&daemon, "wrong");
}

#[test]
fn a_new_version_that_fails_leaves_the_server_ready_with_the_old_one() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let daemon = serve(&repository, "");
    assert_ready(&daemon);
    repository.write("affine/2/model.onnx", "no model");
    assert_eq!(control(&daemon, "affine", "load"), 400);
    assert_affine_serves(&daemon);
    assert_ready(&daemon);
}

#[test]
fn readiness_that_is_not_strict_does_not_ask_the_models() {
    let repository = Repository::new();
    repository.file("broken", "no model", "");
    let daemon = serve(&repository, "strict_readiness = false\n");
    assert_ready(&daemon);
    assert_eq!(daemon.get("/v2/models/broken/ready").status, 503);
    assert_eq!(control(&daemon, "broken", "load"), 400);
    assert_ready(&daemon);
}
