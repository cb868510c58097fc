//! How a model is laid out on the machine: measured at load, kept beside the model, shown by
//! metadata, metric and `inspect`, and fixed where configuration says so.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::python::root;
use crate::support::repository::Repository;

const KEPT: &str = "digits/layout-cache.toml";

/// The model that ships, alone in a repository.
fn digits(settings: &str) -> Repository {
    let repository = Repository::new();
    let shipped = std::fs::read(root().join("models/digits/1/model.onnx")).expect("it ships");
    repository.write("digits/1/model.onnx", shipped);
    repository.write("digits/model.toml", settings);
    repository
}

/// The layout in the metadata, which must be that of the metric and the log as well.
fn layout(daemon: &Daemon) -> Value {
    let layout = daemon.get("/v2/models/digits").json()["parameters"]["layout"].clone();
    let place = if layout["inline"] == true { "inline" } else { "threads" };
    let text = |key: &str| layout[key].to_string().trim_matches('"').to_owned();
    let shown = ["instances", "threads", "max_batch_size", "origin"].map(|key| (key, text(key)));
    let mut labels: Vec<(&str, &str)> =
        shown.iter().map(|(key, value)| (*key, value.as_str())).collect();
    labels.push(("layout", place));
    let metrics = daemon.get("/metrics").text();
    assert_eq!(daemon.metric("onnxd_layout_info", &labels), 1.0, "{labels:?} in {metrics}");
    let logged = daemon.events("layout chosen");
    assert_eq!(logged.last().expect("it is logged")["origin"], layout["origin"]);
    layout
}

fn inspect(repository: &Repository, json: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onnxd"));
    command.args(["inspect", "--engine", "tract"]).arg(repository.path().join("digits"));
    let output = command.args(json.then_some("--json")).output().expect("the binary was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_layout_is_measured_once_kept_and_shown() {
    // Longer than a network thread may be held: then instances and threads are measured.
    let repository = digits("[instances]\nlayout = \"threads\"\n");
    let before = inspect(&repository, true);
    assert!(!before.contains("max_batch_size"), "{before}");
    let measured = {
        let daemon = repository.serve("tract", &[]);
        layout(&daemon)
    };
    assert_eq!((&measured["origin"], &measured["inline"]), (&json!("measured"), &json!(false)));
    assert!(repository.path().join(KEPT).is_file());
    let shown: Value = serde_json::from_str(&inspect(&repository, true)).expect("JSON");
    for key in ["instances", "threads", "max_batch_size"] {
        assert_eq!(shown["layout"][key], measured[key], "{shown}");
    }
    let measured_for = &shown["layout"]["measured_for"];
    assert_eq!(
        (&measured_for["engine"], &measured_for["device"]),
        (&json!("tract"), &json!("cpu"))
    );
    let text = inspect(&repository, false);
    assert!(text.contains("measured ") && text.contains("for tract "), "{text}");

    let daemon = repository.serve("tract", &[]);
    let mut expected = measured;
    expected["origin"] = json!("cached");
    assert_eq!(layout(&daemon), expected);
}

#[test]
fn a_short_model_is_run_on_the_network_thread() {
    let repository = digits("");
    // So short that it is short on any machine, in any build, whatever else goes on.
    repository.version("digits", 1, &graphs::twice(17));
    let daemon = repository.serve("tract", &[]);
    assert_eq!(layout(&daemon)["inline"], true);
}

#[test]
fn a_layout_of_another_model_file_is_not_taken() {
    let repository = digits("[instances]\nlayout = \"threads\"\n");
    drop(repository.serve("tract", &[]));
    assert!(inspect(&repository, true).contains("measured_for"));
    repository.version("digits", 1, &graphs::twice(17));
    let shown = inspect(&repository, true);
    assert!(!shown.contains("measured_for"), "it is another file's: {shown}");
    let daemon = repository.serve("tract", &[]);
    assert_eq!(layout(&daemon)["origin"], "measured");
}

#[test]
fn what_configuration_fixes_is_not_measured() {
    let settings =
        "max_batch_size = 5\n[instances]\ncount = 3\nthreads = 2\nlayout = \"threads\"\n";
    let repository = digits(settings);
    let daemon = repository.serve("tract", &[]);
    let expected = json!({"inline": false, "instances": 3, "threads": 2, "max_batch_size": 5,
        "origin": "configured"});
    assert_eq!(layout(&daemon), expected);
    assert!(!repository.path().join(KEPT).exists());
}
