//! Batching is proven at load, on the real binary and both engines: a model whose rows influence
//! each other is served unbatched and says so, any other is batched wherever its batch lies.

use onnxd::onnx::proto::ModelProto;
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::{ENGINES, Repository};
use crate::support::request::{at_once, fp32, infer_json, output};

/// A batch waits for company until it is full, so that requests of one moment share one: far
/// longer than they take to arrive.
const COMPANY: &str = "max_queue_delay_ms = 20000\n";

/// Serves one model by this name, in batches of `rows`.
fn serve(engine: &str, model: &ModelProto, rows: usize, settings: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    let settings = format!("max_batch_size = {rows}\n{COMPANY}{settings}");
    repository.model("m", model, &settings);
    let daemon = repository.serve(engine, &[]);
    (repository, daemon)
}

fn batching(daemon: &Daemon) -> Value {
    let metadata = daemon.get("/v2/models/m").json();
    metadata["parameters"]["batching"].clone()
}

/// Batches that ran and rows that they had.
fn batches(daemon: &Daemon) -> (f64, f64) {
    let labels = [("model", "m")];
    let count = daemon.metric("onnxd_batch_size_count", &labels);
    (count, daemon.metric("onnxd_batch_size_sum", &labels))
}

/// The model is served unbatched, and log, metadata and metric say that this output is why.
fn assert_served_unbatched(daemon: &Daemon, name: &str) {
    let found = batching(daemon);
    assert_eq!(found["batched"], false, "{found}");
    let reason = found["reason"].as_str().expect("a reason");
    assert!(reason.contains(&format!("output {name:?} differs")), "{reason}");
    let warned = "batching changes the model's answers: served unbatched \
                  (batching = \"force\" overrides)";
    let warnings = daemon.events(warned);
    assert_eq!(warnings.len(), 1, "{}", daemon.log());
    let warning = &warnings[0];
    assert_eq!((&warning["model"], &warning["output"]), (&json!("m"), &json!(name)), "{warning}");
    assert!(warning["difference"].as_f64().is_some_and(|it| it > 0.01), "{warning}");
    assert_eq!(warning["level"], "WARN");
    assert_eq!(daemon.metric("onnxd_batching_refused", &[("model", "m")]), 1.0);
    assert_eq!(daemon.get("/v2/models/m/config").json()["max_batch_size"], 0);
}

#[test]
fn rows_that_influence_each_other_are_answered_as_alone() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::minus_batch_mean(), 4, "");
        assert_served_unbatched(&daemon, "y");
        let answers = at_once(4, |index| {
            let row = [index as f32 * 10.0, 1.0, 2.0, 3.0];
            output(&infer_json(&daemon, "m", &[fp32("x", &[1, 4], &row)]), "y")
        });
        // A row is its own mean.
        assert!(answers.iter().all(|answer| *answer == json!(vec![0.0; 4])), "{answers:?}");
        assert_eq!(batches(&daemon), (4.0, 4.0));
        // What one request brings together stays together.
        let rows = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0];
        let answer = infer_json(&daemon, "m", &[fp32("x", &[2, 4], &rows)]);
        let expected = json!([-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(output(&answer, "y"), expected, "{engine}");
    }
}

#[test]
fn a_first_axis_that_is_time_is_no_batch() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::running_sum(), 3, "");
        assert_served_unbatched(&daemon, "y");
        at_once(3, |index| {
            let steps = index + 1;
            let answer = infer_json(&daemon, "m", &[fp32("x", &[steps, 2], &vec![1.0; steps * 2])]);
            let sums: Vec<f64> = (1..=steps).flat_map(|step| [step as f64, step as f64]).collect();
            assert_eq!(output(&answer, "y"), json!(sums), "{engine}");
        });
    }
}

#[test]
fn an_output_that_sums_over_the_batch_is_no_output_of_a_row() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::total(), 3, "");
        assert_served_unbatched(&daemon, "total");
        at_once(3, |index| {
            let answer = infer_json(&daemon, "m", &[fp32("x", &[1, 2], &[index as f32, 1.0])]);
            assert_eq!(output(&answer, "total"), json!([index as f64 + 1.0]), "{engine}");
        });
    }
}

#[test]
fn force_batches_whatever_the_proof_says_and_the_metadata_tells_the_doubt() {
    for engine in ENGINES {
        let settings = "batching = \"force\"\n";
        let (_repository, daemon) = serve(engine, &graphs::minus_batch_mean(), 2, settings);
        let found = batching(&daemon);
        assert_eq!(found["batched"], true, "{found}");
        let reason = found["reason"].as_str().expect("a reason");
        let doubt = "forced by configuration, although output \"y\" differs";
        assert!(reason.starts_with(doubt), "{reason}");
        assert!(daemon.log().contains("batching is forced by configuration"), "{}", daemon.log());
        let answers = at_once(2, |index| {
            let row = [index as f32 * 2.0; 4];
            output(&infer_json(&daemon, "m", &[fp32("x", &[1, 4], &row)]), "y")
        });
        assert_eq!(
            answers,
            [json!(vec![-1.0; 4]), json!(vec![1.0; 4])],
            "{engine}: one batch of both"
        );
        assert_eq!(batches(&daemon), (1.0, 2.0));
    }
}

#[test]
fn state_that_carries_the_batch_on_its_second_axis_is_batched_there() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::stateful(), 3, "");
        let found = batching(&daemon);
        assert_eq!(found["batched"], true, "{found}");
        assert_eq!(found["axes"], json!({"x": 0, "state": 1, "y": 0, "next": 1}));
        at_once(3, |index| {
            let own = index as f32 + 1.0;
            let state = [own, 0.0, 0.0, 2.0 * own, 1.0, 0.0];
            let inputs = [fp32("x", &[1, 3], &[own; 3]), fp32("state", &[2, 1, 3], &state)];
            let answer = infer_json(&daemon, "m", &inputs);
            assert_eq!(output(&answer, "y"), json!([4.0 * own, own + 1.0, own]), "{engine}");
            let doubled = state.map(|value| value * 2.0);
            assert_eq!(output(&answer, "next"), json!(doubled), "{engine}");
        });
        assert_eq!(batches(&daemon), (1.0, 3.0), "{engine}");
    }
}

#[test]
fn an_output_without_a_batch_axis_goes_to_every_request_whole() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::with_constant_output(), 3, "");
        assert_eq!(batching(&daemon)["axes"], json!({"x": 0, "y": 0}));
        at_once(3, |index| {
            let answer = infer_json(&daemon, "m", &[fp32("x", &[1, 2], &[index as f32, 1.0])]);
            assert_eq!(output(&answer, "y"), json!([index as f64 * 10.0, 10.0]), "{engine}");
            assert_eq!(output(&answer, "factor"), json!([10.0]), "{engine}");
        });
        assert_eq!(batches(&daemon), (1.0, 3.0), "{engine}");
    }
}

#[test]
fn an_input_without_a_batch_axis_keeps_requests_apart_where_its_values_differ() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::scaled(), 2, "");
        assert_eq!(batching(&daemon)["axes"], json!({"x": 0, "y": 0}));
        at_once(4, |index| {
            let factor = if index < 2 { 3.0 } else { -1.0 };
            let inputs = [fp32("x", &[1, 2], &[index as f32, 1.0]), fp32("k", &[], &[factor])];
            let answer = infer_json(&daemon, "m", &inputs);
            let expected = json!([index as f32 * factor, factor]);
            assert_eq!(output(&answer, "y"), expected, "{engine}");
        });
        assert_eq!(batches(&daemon), (2.0, 4.0), "{engine}");
    }
}

/// Four sequences of these lengths at once: each is answered by its own values.
fn send_sequences(daemon: &Daemon, lengths: [usize; 4]) {
    at_once(4, |index| {
        let values: Vec<f32> = (1..=lengths[index]).map(|step| step as f32).collect();
        let answer = infer_json(daemon, "m", &[fp32("x", &[1, lengths[index]], &values)]);
        let negative: Vec<f32> = values.iter().map(|value| -value).collect();
        assert_eq!(output(&answer, "negative"), json!(negative));
        assert_eq!(output(&answer, "sum"), json!([values.iter().sum::<f32>()]));
    });
}

#[test]
fn unlike_lengths_share_a_batch_where_the_axis_may_be_padded() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::sequences(), 4, "[padding]\nx.1 = 0\n");
        assert_eq!(batching(&daemon)["padding"]["padded"], true);
        send_sequences(&daemon, [3, 8, 1, 5]);
        assert_eq!(batches(&daemon), (1.0, 4.0), "{engine}");
    }
}

#[test]
fn padding_that_changes_answers_is_left_and_said() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::sequences(), 2, "[padding]\nx.1 = 9\n");
        let found = batching(&daemon);
        assert_eq!(found["batched"], true, "those of one length still share batches: {found}");
        assert_eq!(found["padding"]["padded"], false, "{found}");
        let reason = found["padding"]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("output \"sum\" differs by "), "{reason}");
        assert!(daemon.log().contains("padding is not proven: output"), "{}", daemon.log());
        send_sequences(&daemon, [3, 8, 3, 8]);
        assert_eq!(batches(&daemon), (2.0, 4.0), "{engine}");
    }
}

#[test]
fn padding_that_is_forced_is_filled_with_what_is_configured() {
    let settings = "batching = \"force\"\n[padding]\nx.1 = 100\n";
    let (_repository, daemon) = serve("onnxruntime", &graphs::sequences(), 2, settings);
    let found = batching(&daemon);
    let reason = found["padding"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("forced by configuration, although output \"sum\""), "{reason}");
    let sums = at_once(2, |index| {
        let length = index + 1;
        let answer = infer_json(&daemon, "m", &[fp32("x", &[1, length], &vec![1.0; length])]);
        // What follows the padded axis is cut to the request's own length.
        assert_eq!(output(&answer, "negative"), json!(vec![-1.0; length]));
        output(&answer, "sum")
    });
    assert_eq!(sums, [json!([101.0]), json!([2.0])]);
}

#[test]
fn unlike_lengths_are_batched_apart_where_nothing_may_be_padded() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &graphs::sequences(), 2, "");
        send_sequences(&daemon, [3, 8, 3, 8]);
        assert_eq!(batches(&daemon), (2.0, 4.0), "{engine}");
    }
}

#[test]
fn batching_may_be_switched_off() {
    let (_repository, daemon) = serve("tract", &graphs::affine(), 8, "batching = \"off\"\n");
    let found = batching(&daemon);
    assert_eq!(
        (&found["batched"], &found["reason"]),
        (&json!(false), &json!("switched off by configuration"),)
    );
    at_once(4, |index| {
        let answer = infer_json(&daemon, "m", &[fp32("x", &[1, 4], &[index as f32; 4])]);
        assert_eq!(output(&answer, "y"), json!(vec![index as f32 * 2.0 + 1.0; 4]));
    });
    assert_eq!(batches(&daemon), (4.0, 4.0));
}
