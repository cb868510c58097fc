//! The OpenAPI document of the real daemon: valid by the standard's own validator, true of what
//! the daemon really takes and answers, and about the models that are loaded now.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::python::{self, root};
use crate::support::repository::Repository;
use onnxd::tensor::DataType;

#[test]
fn the_standards_validator_takes_the_document_and_the_document_takes_what_was_answered() {
    let repository = Repository::new();
    let shipped = std::fs::read(root().join("models/digits/1/model.onnx")).expect("it ships");
    repository.write("digits/1/model.onnx", shipped);
    // Names that need care in paths and identifiers, and every type and kind of shape.
    repository.model("odd name~1{x}", &graphs::affine(), "");
    repository.model("scalar", &graphs::counter(), "");
    for data_type in DataType::ALL {
        let name = format!("same_{data_type}").to_lowercase();
        repository.model(&name, &graphs::identity(data_type, "batch, 3, ?"), "");
    }
    repository.fixture("unknown_rank");
    repository.model("with_default", &graphs::with_default(), "");
    let daemon = repository.serve("onnxruntime", &[]);

    let sample = root().join("models/digits/1/golden/inputs.json");
    let request = std::fs::read_to_string(sample).expect("it ships");
    let sent: Value = serde_json::from_str(&request).expect("it is JSON");
    let answer = daemon.post_json("/v2/models/digits/infer", &sent);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let files = Repository::new();
    files.write("openapi.json", daemon.get("/openapi.json").body);
    files.write("request.json", request);
    files.write("response.json", answer.body);
    let said = python::run("openapi_check.py", &[files.text()]);
    assert_eq!(said, "all passed\n");
}

#[test]
fn every_path_without_a_model_in_it_is_answered_as_the_document_says() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let daemon = repository.serve("tract", &[]);
    let document = daemon.get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            if method == "post" && !path.ends_with("index") {
                continue;
            }
            let path = path.replace("{model}", "affine").replace("{version}", "1");
            let answer = if method == "get" {
                daemon.get(&path)
            } else {
                daemon.post_json(&path, &json!({}))
            };
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
            let content = operation["responses"]["200"]["content"].as_object();
            let expected = content.and_then(|content| content.keys().next());
            match (expected, answer.header("content-type")) {
                (Some(expected), Some(actual)) => {
                    assert!(actual.starts_with(expected.as_str()), "{path}: {actual}");
                }
                (Some(expected), None) => panic!("{path}: no {expected}"),
                (None, _) => assert!(path.ends_with("ready") || answer.body.is_empty(), "{path}"),
            }
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked} paths");
}

fn models_in(daemon: &Daemon) -> Vec<String> {
    let document = daemon.get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths").clone();
    let name = |path: &String| {
        let rest = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        (!rest.contains('{')).then(|| rest.to_owned())
    };
    paths.keys().filter_map(name).collect()
}

#[test]
fn a_model_that_is_loaded_or_unloaded_comes_and_goes() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    repository.write("broken/1/model.onnx", "no model");
    let daemon = repository.serve("tract", &["--allow-repository-control"]);
    assert_eq!(models_in(&daemon), ["affine"]);
    repository.model("twice", &graphs::twice(17), "");
    let load = |model: &str, verb: &str| {
        let path = format!("/v2/repository/models/{model}/{verb}");
        let answer = daemon.post_json(&path, &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    load("twice", "load");
    assert_eq!(models_in(&daemon), ["affine", "twice"]);
    load("affine", "unload");
    let begin = std::time::Instant::now();
    while models_in(&daemon) != ["twice"] {
        assert!(begin.elapsed() < crate::support::daemon::PATIENCE, "affine stays");
        std::thread::yield_now();
    }
}
