//! Before a model is there: the daemon answers, says of the model that it comes, and of a request
//! when to come again; and a stop does not wait for it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json, output};
use crate::support::slow::{self, WIDTH};

/// A model whose warm-up takes as many runs, each far longer than nothing, and one beside it.
fn slow_to_load(runs: usize) -> Repository {
    let repository = Repository::new();
    repository.model("late", &slow::heavy(), &format!("[[warm_up]]\ncount = {runs}\n"));
    repository.model("early", &graphs::affine(), "");
    repository
}

/// Starts and waits only until it listens.
fn spawn(repository: &Repository) -> Daemon {
    Daemon::spawn(&["--repository", repository.text(), "--engine", "tract"])
}

fn state(daemon: &Daemon, model: &str) -> Value {
    let index = daemon.post_json("/v2/repository/index", &json!({})).json();
    let entries = index.as_array().expect("a list").clone();
    let entry = entries.into_iter().find(|entry| entry["name"] == model);
    entry.unwrap_or_else(|| panic!("{model} is not in {index}"))["state"].clone()
}

#[test]
fn a_model_that_is_loading_is_503_with_retry_after_and_the_others_serve() {
    let repository = slow_to_load(1500);
    let daemon = spawn(&repository);
    let begin = Instant::now();
    let asked = fp32("x", &[1, 4], &[0.0; 4]);
    while infer_json(&daemon, "early", std::slice::from_ref(&asked)).status != 200 {
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
    }
    assert_eq!(state(&daemon, "late"), "LOADING", "the warm-up was too short for this test");
    let refused = infer_json(&daemon, "late", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let error = refused.json()["error"].as_str().expect("an error").to_owned();
    assert!(error.contains("\"late\"") && error.contains("being loaded"), "{error}");
    assert_eq!(daemon.get("/v2/models/late/ready").status, 503);
    assert_eq!(daemon.get("/v2/models/late").status, 503);
    assert_eq!(daemon.get("/v2/health/live").status, 200);
    let unready = daemon.get("/v2/health/ready");
    assert_eq!((unready.status, unready.header("retry-after")), (503, Some("1")));
    assert_eq!(daemon.metric("onnxd_ready", &[]), 0.0);
    let v1 = daemon.get("/v1/models/late").json();
    assert_eq!(v1["model_version_status"][0]["state"], "LOADING", "{v1}");

    daemon.await_ready();
    assert_eq!(state(&daemon, "late"), "READY");
    assert_eq!(daemon.metric("onnxd_ready", &[]), 1.0);
    let answer = infer_json(&daemon, "late", &[fp32("x", &[1, WIDTH], &[0.0; WIDTH])]);
    assert_eq!(output(&answer, "y"), json!(vec![0.0; WIDTH]));
}

#[test]
fn a_stop_while_models_load_does_not_wait_for_them() {
    let repository = slow_to_load(10_000);
    let daemon = spawn(&repository);
    assert_eq!(daemon.get("/v2/models/late/ready").status, 503);
    let begin = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(begin.elapsed().as_secs() < 20, "it waited for the load: {:?}", begin.elapsed());
}

#[test]
fn models_that_are_loaded_on_request_are_not_loaded_before() {
    let repository = Repository::new();
    repository.model("early", &graphs::affine(), "");
    let file = repository.write("onnxd.toml", format!(
        "repositories = [{:?}]\n[loading]\nat_start = false\n[server]\nallow_repository_control = true\n\
         retry_after = \"7s\"\n",
        repository.text()
    ));
    let file = file.to_str().expect("a UTF-8 path");
    let daemon = Daemon::start(&["--config", file, "--engine", "tract"]);
    assert_eq!(state(&daemon, "early"), "UNAVAILABLE");
    let asked = fp32("x", &[1, 4], &[0.0; 4]);
    let refused = infer_json(&daemon, "early", std::slice::from_ref(&asked));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("7")));
    let loaded = daemon.post_json("/v2/repository/models/early/load", &json!({}));
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(output(&infer_json(&daemon, "early", &[asked]), "y"), json!([1.0, 1.0, 1.0, 1.0]));
}
