//! A repository as Triton knows it, with `config.pbtxt`, end to end on the real binary: what is
//! honoured shows, what is not is named.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{at_once, fp32, infer_json, output};

const BATCHED: &str = r#"
name: "batched"
platform: "onnxruntime_onnx"
max_batch_size: 3
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
dynamic_batching {
  preferred_batch_size: [ 3 ]
  max_queue_delay_microseconds: 20000000
  preserve_ordering: true
  priority_levels: 2
  default_priority_level: 2
}
instance_group [ { count: 1 kind: KIND_CPU } ]
version_policy: { all { } }
model_warmup [ {
  name: "zeros" batch_size: 2 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }
} ]
response_cache { enable: true }
optimization { graph { level: 1 } }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
parameters { key: "enable_mem_arena" value { string_value: "1" } }
max_bach_size: 7
"#;

fn repository() -> Repository {
    let repository = Repository::new();
    repository.version("batched", 1, &graphs::affine());
    repository.version("batched", 2, &graphs::affine());
    repository.write("batched/config.pbtxt", BATCHED);
    repository.write("batched/labels.txt", "zero\none\ntwo\nthree\n");
    repository
}

fn warnings(daemon: &Daemon, model: &str) -> Vec<String> {
    let log = daemon.log();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = events.filter(|event| event["level"] == "WARN" && event["model"] == model);
    own.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_the_configuration_asks_for_is_done() {
    let repository = repository();
    let daemon = repository.serve("onnxruntime", &[]);
    // version_policy: all.
    assert_eq!(daemon.get("/v2/models/batched").json()["versions"], json!(["1", "2"]));
    for version in 1..=2 {
        let path = format!("/v2/models/batched/versions/{version}/infer");
        let x = fp32("x", &[3, 4], &[0.0; 12]);
        let answer = daemon.post_json(&path, &json!({"inputs": [x]}));
        assert_eq!(answer.json()["model_version"], json!(version.to_string()));
    }
    // max_batch_size and dynamic_batching: three rows of three clients make one run.
    let labels = [("model", "batched"), ("version", "2")];
    let before = daemon.metric("onnxd_batch_size_count", &labels);
    at_once(3, |index| {
        let answer = infer_json(&daemon, "batched", &[fp32("x", &[1, 4], &[index as f32; 4])]);
        assert_eq!(output(&answer, "y"), json!(vec![index as f32 * 2.0 + 1.0; 4]));
    });
    assert_eq!(daemon.metric("onnxd_batch_size_count", &labels), before + 1.0);
    // What load generators read is what was written.
    let config = daemon.get("/v2/models/batched/config").json();
    assert_eq!(config["max_batch_size"], 3);
    assert_eq!(config["dynamic_batching"]["preferred_batch_size"], json!([3]));
    assert_eq!(config["dynamic_batching"]["max_queue_delay_microseconds"], 20_000_000);
    assert_eq!(config["dynamic_batching"]["priority_levels"], 2);
    assert_eq!(config["instance_group"][0]["count"], 1);
    assert_eq!(config["instance_group"][0]["kind"], "KIND_CPU");
    assert!(config["version_policy"]["all"].is_object(), "{config}");
    let threads = daemon.get("/v2/models/batched").json()["parameters"]["layout"].clone();
    assert_eq!(threads["threads"], 1, "intra_op_thread_count");
    // label_filename.
    let body = json!({
        "inputs": [fp32("x", &[3, 4], &[0.0, 1.0, 2.0, 0.5].repeat(3))],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    });
    let answer = daemon.post_json("/v2/models/batched/infer", &body).json();
    assert_eq!(answer["outputs"][0]["data"], json!(vec!["5.0:2:two"; 3]), "{answer}");
}

#[test]
fn what_is_not_honoured_is_named_in_a_warning_of_its_own() {
    let repository = repository();
    let daemon = repository.serve("tract", &[]);
    let warnings = warnings(&daemon, "batched");
    let named = [
        "dynamic_batching.preserve_ordering",
        "response_cache.enable",
        "optimization.graph",
        "parameters.enable_mem_arena",
        "max_bach_size is not honoured: the field is unknown, did you mean max_batch_size?",
    ];
    for name in named {
        let found = warnings.iter().filter(|warning| warning.contains(name)).count();
        // Once for each version.
        assert_eq!(found, 2, "{name} in {warnings:#?}");
    }
    let honoured = ["warmup", "version_policy", "instance_group", "preferred", "max_queue_delay"];
    for name in honoured {
        assert!(!warnings.iter().any(|warning| warning.contains(name)), "{name}: {warnings:#?}");
    }
}

#[test]
fn warm_up_runs_before_the_model_is_ready_and_one_that_fails_is_a_failed_load() {
    let repository = repository();
    let wrong = BATCHED.replace("dims: [ 4 ] zero_data", "dims: [ 5 ] zero_data");
    repository.version("cold", 1, &graphs::affine());
    repository.write("cold/config.pbtxt", wrong.replace("\"batched\"", "\"cold\""));
    repository.write("cold/labels.txt", "zero\n");
    let daemon = repository.serve("tract", &[]);
    assert_eq!(daemon.get("/v2/models/batched/ready").status, 200);
    let cold = infer_json(&daemon, "cold", &[]);
    assert_eq!(cold.status, 503, "{}", cold.text());
    assert!(cold.text().contains("warm-up: input \\\"x\\\""), "{}", cold.text());
}

#[test]
fn a_batch_size_of_zero_is_a_model_without_a_batch() {
    let repository = Repository::new();
    repository.version("whole", 1, &graphs::affine());
    let text = "platform: \"onnxruntime_onnx\"\nmax_batch_size: 0\n";
    repository.write("whole/config.pbtxt", text);
    let daemon = repository.serve("tract", &[]);
    let batching = daemon.get("/v2/models/whole").json()["parameters"]["batching"].clone();
    assert_eq!(batching["batched"], false, "{batching}");
    assert_eq!(daemon.get("/v2/models/whole/config").json()["max_batch_size"], 0);
    let answer = infer_json(&daemon, "whole", &[fp32("x", &[2, 4], &[0.0; 8])]);
    assert_eq!(output(&answer, "y"), json!(vec![1.0; 8]));
}

#[test]
fn named_versions_alone_are_served() {
    let repository = Repository::new();
    for version in 1..=4 {
        repository.version("some", version, &graphs::affine());
    }
    repository.write("some/config.pbtxt", "version_policy: { specific { versions: [ 1, 3 ] } }");
    let daemon = repository.serve("tract", &[]);
    assert_eq!(daemon.get("/v2/models/some").json()["versions"], json!(["1", "3"]));
    assert_eq!(daemon.get("/v2/models/some/versions/3/ready").status, 200);
    assert_eq!(daemon.get("/v2/models/some/versions/4/ready").status, 404);
}

#[test]
fn a_wrong_configuration_is_told_by_file_line_and_field_and_others_serve() {
    let repository = repository();
    let broken = [
        ("type", "name: \"type\"\nmax_batch_size: \"three\"\n", ":2: max_batch_size"),
        ("form", "name: \"form\"\ndynamic_batching {\n", "config.pbtxt:"),
        ("kind", "platform: \"tensorrt_plan\"\n", "\"tensorrt_plan\" cannot be served"),
        ("ensemble", "ensemble_scheduling { }\n", "ensembles cannot be served"),
    ];
    for (name, text, _) in broken {
        repository.version(name, 1, &graphs::affine());
        repository.write(&format!("{name}/config.pbtxt"), text);
    }
    let daemon = repository.serve("tract", &[]);
    for (name, _, words) in broken {
        let refused = infer_json(&daemon, name, &[]);
        assert_eq!(refused.status, 503, "{name}: {}", refused.text());
        let error = refused.json()["error"].as_str().expect("an error").to_owned();
        let file = format!("{name}/config.pbtxt");
        assert!(error.contains(words) && error.contains(&file), "{name}: {error}");
    }
    assert_eq!(daemon.get("/v2/models/batched/ready").status, 200);
}

#[test]
fn an_unknown_key_of_model_toml_is_a_failed_load_with_a_suggestion_and_others_serve() {
    let repository = repository();
    repository.version("typo", 1, &graphs::affine());
    repository.write("typo/model.toml", "# settings\nmax_bach_size = 3\n[instances]\ncuont = 1\n");
    let daemon = repository.serve("tract", &[]);
    let refused = infer_json(&daemon, "typo", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    let error = refused.json()["error"].as_str().expect("an error").to_owned();
    let expected = [
        "typo/model.toml:2: max_bach_size: unknown key, did you mean max_batch_size?",
        "typo/model.toml:4: instances.cuont: unknown key, did you mean count?",
    ];
    for problem in expected {
        assert!(error.contains(problem), "{problem:?} is not in {error:?}");
    }
    assert_eq!(daemon.get("/v2/models/batched/ready").status, 200);
}
