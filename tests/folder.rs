//! What a model's folder says, and what the daemon makes of it: names of files, labels of classes,
//! axes, engines, versions.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::{ENGINES, Repository};
use crate::support::request::{at_once, fp32, infer_json, output};

fn facts(daemon: &Daemon, model: &str) -> Value {
    daemon.get(&format!("/v2/models/{model}")).json()["parameters"].clone()
}

#[test]
fn a_model_file_may_have_another_name() {
    let repository = Repository::new();
    let path = repository.model("named", &graphs::affine(), "model_file = \"net.onnx\"\n");
    std::fs::rename(&path, path.with_file_name("net.onnx")).expect("the folder is writable");
    let daemon = repository.serve("tract", &[]);
    let answer = infer_json(&daemon, "named", &[fp32("x", &[1, 4], &[0.0; 4])]);
    assert_eq!(output(&answer, "y"), json!([1.0, 1.0, 1.0, 1.0]));
    let config = daemon.get("/v2/models/named/config").json();
    assert_eq!(config["default_model_filename"], "net.onnx");
}

#[test]
fn classes_are_named_by_their_labels_best_first() {
    let repository = Repository::new();
    repository.model("labelled", &graphs::affine(), "[labels]\ny = \"classes.txt\"\n");
    repository.write("labelled/classes.txt", "north\neast\nsouth\nwest\n");
    let daemon = repository.serve("tract", &[]);
    let ask = |classes: i64| {
        let outputs = json!([{"name": "y", "parameters": {"classification": classes}}]);
        let rows = [3.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.5, 8.0];
        let body = json!({"inputs": [fp32("x", &[2, 4], &rows)], "outputs": outputs});
        daemon.post_json("/v2/models/labelled/infer", &body)
    };
    let answer = ask(2);
    let answered = &answer.json()["outputs"][0];
    assert_eq!((&answered["datatype"], &answered["shape"]), (&json!("BYTES"), &json!([2, 2])));
    let expected = json!(["7.0:0:north", "3.0:2:south", "17.0:3:west", "2.0:2:south"]);
    assert_eq!(answered["data"], expected);
    assert_eq!(ask(99).json()["outputs"][0]["shape"], json!([2, 4]), "all there are");
    assert_eq!(ask(-1).status, 400);
    let config = daemon.get("/v2/models/labelled/config").json();
    let labels = config["output"][0]["label_filename"].as_str().expect("a path").to_owned();
    assert!(labels.ends_with("labelled/classes.txt"), "{labels}");
}

#[test]
fn configured_axes_are_kept_to_and_wrong_ones_are_found_out() {
    let repository = Repository::new();
    let company = "max_batch_size = 2\nmax_queue_delay_ms = 20000\n";
    let right = format!("{company}[axes]\nx = 0\nstate = 1\ny = 0\nnext = 1\n");
    repository.model("right", &graphs::stateful(), &right);
    // The batch is said to be where the layers are.
    let wrong = format!("{company}[axes]\nx = 0\nstate = 0\n");
    repository.model("wrong", &graphs::stateful(), &wrong);
    repository.model("none", &graphs::affine(), &format!("{company}[axes]\nx = \"none\"\n"));
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let right = facts(&daemon, "right")["batching"].clone();
        assert_eq!(right["axes"], json!({"x": 0, "state": 1, "y": 0, "next": 1}), "{right}");
        for model in ["wrong", "none"] {
            let found = facts(&daemon, model)["batching"].clone();
            assert_eq!(found["batched"], false, "{model} on {engine}: {found}");
        }
        for model in ["right", "wrong"] {
            at_once(2, |index| {
                let own = index as f32;
                let state = fp32("state", &[2, 1, 3], &[own, 1.0, 2.0, 3.0, own, 5.0]);
                let inputs = [fp32("x", &[1, 3], &[0.0; 3]), state];
                let answer = infer_json(&daemon, model, &inputs);
                let sums = json!([own + 3.0, own + 1.0, 7.0]);
                assert_eq!(output(&answer, "y"), sums, "{model} on {engine}");
            });
        }
    }
}

#[test]
fn models_choose_their_engine_and_share_a_daemon() {
    let repository = Repository::new();
    for engine in ENGINES {
        let settings = format!("engine = \"{engine}\"\n");
        repository.model(engine, &graphs::affine(), &settings);
    }
    repository.model("daemons", &graphs::affine(), "");
    let daemon = repository.serve("tract", &[]);
    for (model, engine) in
        [("onnxruntime", "onnxruntime"), ("tract", "tract"), ("daemons", "tract")]
    {
        assert_eq!(facts(&daemon, model)["engine"], engine, "{model}");
        let labels = [("model", model), ("engine", engine)];
        assert_eq!(daemon.metric("onnxd_engine_info", &labels), 1.0, "{model}");
        let answer = infer_json(&daemon, model, &[fp32("x", &[1, 4], &[0.5; 4])]);
        assert_eq!(output(&answer, "y"), json!([2.0, 2.0, 2.0, 2.0]), "{model}");
    }
}

#[test]
fn the_newest_versions_serve_and_each_answers_by_its_number() {
    let repository = Repository::new();
    let settings = "[versions]\npolicy = \"latest\"\ncount = 2\n";
    repository.model("grown", &graphs::affine(), settings);
    repository.version("grown", 9, &graphs::minus_batch_mean());
    repository.version("grown", 10, &graphs::affine());
    let daemon = repository.serve("tract", &[]);
    assert_eq!(daemon.get("/v2/models/grown").json()["versions"], json!(["9", "10"]));
    let ask = |version: &str| {
        let body = json!({"inputs": [fp32("x", &[1, 4], &[2.0; 4])]});
        daemon.post_json(&format!("/v2/models/grown{version}/infer"), &body)
    };
    assert_eq!(output(&ask(""), "y"), json!([5.0, 5.0, 5.0, 5.0]), "ten is newer than nine");
    assert_eq!(output(&ask("/versions/9"), "y"), json!([0.0, 0.0, 0.0, 0.0]));
    assert_eq!(ask("/versions/1").status, 404);
    assert_eq!(ask("/versions/9").json()["model_version"], "9");
}
