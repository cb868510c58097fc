//! Model files that cannot be served, beside one that can, on the real binary and both engines:
//! the error names file, node and operator, and the other goes on serving.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::python::root;
use crate::support::repository::{ENGINES, ONE_THREAD, Repository};
use crate::support::request::{fp32, infer_json, output};

fn assert_others_serve(daemon: &Daemon) {
    let answer = infer_json(daemon, "good", &[fp32("x", &[1, 3], &[1.0, 2.0, 3.0])]);
    assert_eq!(output(&answer, "y"), json!([2.0, 4.0, 6.0]));
}

fn good() -> Repository {
    let repository = Repository::new();
    repository.model("good", &graphs::twice(17), "");
    repository
}

/// The entry of a model in the repository's index.
fn entry(daemon: &Daemon, model: &str) -> Value {
    let index = daemon.post_json("/v2/repository/index", &json!({})).json();
    let entries = index.as_array().expect("a list").clone();
    let found = entries.into_iter().find(|entry| entry["name"] == model);
    found.unwrap_or_else(|| panic!("{model} is not in {index}"))
}

/// The model is not served: the index, the answer to a request and the log all say these words.
fn assert_not_served(daemon: &Daemon, model: &str, words: &[&str]) {
    let entry = entry(daemon, model);
    assert_eq!(entry["state"], "UNAVAILABLE", "{entry}");
    let reason = entry["reason"].as_str().expect("a reason").to_owned();
    let refused = infer_json(daemon, model, &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let error = refused.json()["error"].as_str().expect("an error").to_owned();
    let events = daemon.events("model could not be loaded");
    let logged = events.iter().find(|event| event["model"] == model);
    let logged = logged.unwrap_or_else(|| panic!("{model} is not in {}", daemon.log()));
    let logged = logged["error"].as_str().expect("an error").to_owned();
    for word in words {
        for text in [&reason, &error, &logged] {
            assert!(text.contains(word), "{model}: {word:?} is not in {text:?}");
        }
    }
    assert_eq!(daemon.get(&format!("/v2/models/{model}/ready")).status, 503);
}

#[test]
fn files_that_are_no_models_are_named() {
    let whole = std::fs::read(root().join("models/digits/1/model.onnx")).expect("it ships");
    let repository = good();
    let broken: [(&str, &[u8]); 4] = [
        ("truncated", &whole[..whole.len() * 2 / 3]),
        ("text", b"this is no model, whatever its name says"),
        ("empty", b""),
        ("zeros", &[0; 512]),
    ];
    for (name, bytes) in broken {
        repository.write(&format!("{name}/1/model.onnx"), bytes);
    }
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        for (name, _) in broken {
            let file = format!("{name}/1/model.onnx");
            assert_not_served(&daemon, name, &[&file, "not a usable ONNX model"]);
        }
        assert_others_serve(&daemon);
        let failed = daemon.metric("onnxd_swaps_total", &[("outcome", "failed")]);
        assert_eq!(failed, 4.0, "{engine}");
    }
}

#[test]
fn unknown_operators_are_named_with_file_and_node() {
    let repository = good();
    repository.model("made", &graphs::unknown_operator(), "");
    for fixture in ["unknown_domain", "nested_unknown", "upper_case"] {
        repository.fixture(fixture);
    }
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let cannot = format!("which {engine} cannot run");
        let rows = [
            ("made", "node \"twist\" has operator Twist"),
            ("unknown_domain", "node \"ours\" has operator com.example:Relu"),
            ("nested_unknown", "node \"then_op\" has operator Twist"),
        ];
        for (name, node) in rows {
            let file = format!("{name}/1/model.onnx");
            assert_not_served(&daemon, name, &[&file, node, &cannot]);
        }
        if engine == "tract" {
            // Of the standard, and still not everybody's.
            let node = "node \"upper\" has operator StringNormalizer";
            assert_not_served(&daemon, "upper_case", &[node, &cannot]);
        }
        assert_others_serve(&daemon);
    }
}

#[test]
fn values_that_are_no_tensors_are_named() {
    let repository = good();
    let fixtures = ["sequence", "map", "optional"];
    for fixture in fixtures {
        repository.fixture(fixture);
    }
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        for name in fixtures {
            assert_not_served(&daemon, name, &[&format!("{name}/1/model.onnx")]);
        }
        assert_others_serve(&daemon);
    }
}

#[test]
fn external_data_that_is_missing_short_or_elsewhere_is_told() {
    let repository = good();
    let fixture = |name: &str| {
        std::fs::read(root().join("tests/data/engine").join(name)).expect("the fixture is there")
    };
    let (model, data) = (fixture("external.onnx"), fixture("external.bin"));
    for name in ["whole", "missing", "short", "outside"] {
        repository.write(&format!("{name}/1/model.onnx"), &model);
        repository.write(&format!("{name}/model.toml"), ONE_THREAD);
    }
    repository.write("whole/1/external.bin", &data);
    repository.write("short/1/external.bin", &data[..data.len() - 1]);
    let secret = repository.write("secret.bin", &data);
    let link = repository.path().join("outside/1/external.bin");
    std::os::unix::fs::symlink(secret, link).expect("the folder is writable");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let input = fp32("x", &[1, 4], &[1.0, 0.0, 0.0, 0.0]);
        let answer = infer_json(&daemon, "whole", &[input]);
        let first_row: Vec<f32> = data[..12]
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        let row: Vec<f32> = serde_json::from_value(output(&answer, "y")).expect("three numbers");
        assert_eq!(row, first_row, "{engine}");
        for name in ["missing", "short", "outside"] {
            // "external" or "External": the engine's own words.
            assert_not_served(&daemon, name, &[&format!("{name}/1/"), "xternal"]);
        }
        assert_others_serve(&daemon);
    }
}

#[test]
fn a_model_alone_that_cannot_be_served_is_a_refusal_to_start() {
    let repository = Repository::new();
    let path = repository.model("made", &graphs::unknown_operator(), "");
    let output = Daemon::command(&["--engine", "tract", "--model"])
        .arg(&path)
        .output()
        .expect("the binary was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["no model can be served", "model.onnx", "twist", "Twist"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

#[test]
fn a_folder_without_versions_or_models_is_told_and_harms_nobody() {
    let repository = good();
    repository.write("nothing/notes.txt", "no versions here");
    repository.write("hollow/1/notes.txt", "no model here");
    let daemon = repository.serve("tract", &[]);
    assert_others_serve(&daemon);
    for name in ["nothing", "hollow"] {
        let refused = infer_json(&daemon, name, &[]);
        assert!(matches!(refused.status, 404 | 503), "{name}: {}", refused.text());
        assert!(daemon.log().contains(name), "{}", daemon.log());
    }
}
