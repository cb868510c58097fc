//! What a model's instances do with what waits, on the real binary: several run at once, and the
//! moment one is free it takes all that waits, with no delay unless one is configured.

use serde_json::{Value, json};

use crate::support::daemon::{Answer, Daemon};
use crate::support::repository::Repository;
use crate::support::request::{at_once, fp32, output};
use crate::support::slow;

/// Steps that take seconds.
const LONG: i64 = 1_500_000;

fn serve(settings: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    repository.write("counter/model.toml", settings);
    repository.version("counter", 1, &slow::counter());
    let daemon = repository.serve("onnxruntime", &[]);
    (repository, daemon)
}

fn count(daemon: &Daemon, rows: usize, steps: i64) -> Answer {
    let n = json!({"name": "n", "datatype": "INT64", "shape": [], "data": [steps]});
    let x = fp32("x", &[rows], &vec![0.5; rows]);
    daemon.post_json("/v2/models/counter/infer", &json!({"inputs": [x, n]}))
}

fn assert_counted(answer: &Answer, rows: usize, steps: i64) {
    assert_eq!(output(answer, "y"), json!(vec![steps as f64 + 0.5; rows]));
}

fn of_model(daemon: &Daemon, metric: &str) -> f64 {
    daemon.metric(metric, &[("model", "counter")])
}

fn instances(count: usize) -> String {
    format!("[instances]\ncount = {count}\nthreads = 1\nlayout = \"threads\"\ncache = \"off\"\n")
}

#[test]
fn instances_run_at_the_same_time_and_no_more_than_there_are() {
    let (_repository, daemon) = serve(&instances(2));
    let config = daemon.get("/v2/models/counter/config").json();
    assert_eq!(config["instance_group"][0]["count"], 2);
    assert_eq!(of_model(&daemon, "onnxd_instances"), 2.0);
    std::thread::scope(|scope| {
        // Unlike sums: they cannot share a batch.
        let clients: Vec<_> = (0..3)
            .map(|extra| {
                scope.spawn({
                    let daemon = &daemon;
                    move || count(daemon, 1, LONG + extra)
                })
            })
            .collect();
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 2.0);
        daemon.await_metric("onnxd_queue_depth", &[("model", "counter")], 1.0);
        assert_eq!(of_model(&daemon, "onnxd_inference_seconds_count"), 0.0, "both still run");
        for (extra, client) in (0..3).zip(clients) {
            assert_counted(&client.join().expect("the client is content"), 1, LONG + extra);
        }
    });
    assert_eq!(of_model(&daemon, "onnxd_inference_seconds_count"), 3.0);
}

#[test]
fn what_waits_is_one_batch_the_moment_an_instance_is_free() {
    // Nothing but the number of instances: batching needs no setting.
    let (_repository, daemon) = serve(&instances(1));
    let metadata = daemon.get("/v2/models/counter").json();
    let batching = &metadata["parameters"]["batching"];
    assert_eq!(batching["axes"], json!({"x": 0, "y": 0}), "{batching}");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| count(&daemon, 1, LONG));
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        let waiting = scope.spawn(|| {
            at_once(5, |index| {
                let rows = index % 2 + 1;
                assert_counted(&count(&daemon, rows, 9), rows, 9);
            });
        });
        daemon.await_metric("onnxd_queue_depth", &[("model", "counter")], 5.0);
        assert!(!running.is_finished(), "the run was too short for this test");
        assert_counted(&running.join().expect("the client is content"), 1, LONG);
        waiting.join().expect("the clients are content");
    });
    assert_eq!(of_model(&daemon, "onnxd_batch_size_count"), 2.0);
    assert_eq!(of_model(&daemon, "onnxd_batch_size_sum"), 1.0 + 7.0);
    let statistics = daemon.get("/v2/models/counter/stats").json();
    let sizes: Vec<Value> = statistics["model_stats"][0]["batch_stats"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|batch| batch["batch_size"].clone())
        .collect();
    assert_eq!(sizes, [1, 7]);
}

#[test]
fn a_batch_takes_no_more_rows_than_it_may() {
    let (_repository, daemon) = serve(&format!("max_batch_size = 3\n{}", instances(1)));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| count(&daemon, 1, LONG));
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        let waiting = scope.spawn(|| at_once(6, |_| assert_counted(&count(&daemon, 1, 9), 1, 9)));
        daemon.await_metric("onnxd_queue_depth", &[("model", "counter")], 6.0);
        assert!(!running.is_finished(), "the run was too short for this test");
        waiting.join().expect("the clients are content");
    });
    assert_eq!(of_model(&daemon, "onnxd_batch_size_count"), 3.0, "one, three and three");
    // A request that is larger by itself is run whole.
    assert_counted(&count(&daemon, 8, 9), 8, 9);
}

#[test]
fn a_preferred_size_ends_the_wait_for_company() {
    let settings = "max_batch_size = 16\npreferred_batch_sizes = [4]\nmax_queue_delay_ms = 50000\n";
    let (_repository, daemon) = serve(&format!("{settings}{}", instances(1)));
    let begin = std::time::Instant::now();
    at_once(4, |_| assert_counted(&count(&daemon, 1, 9), 1, 9));
    assert!(begin.elapsed().as_secs() < 40, "it waited for a full batch: {:?}", begin.elapsed());
    assert_eq!(of_model(&daemon, "onnxd_batch_size_count"), 1.0);
}

#[test]
fn the_delay_is_no_longer_than_configured() {
    let settings = "max_batch_size = 16\nmax_queue_delay_ms = 300\n";
    let (_repository, daemon) = serve(&format!("{settings}{}", instances(1)));
    let begin = std::time::Instant::now();
    assert_counted(&count(&daemon, 1, 9), 1, 9);
    let waited = begin.elapsed().as_millis();
    assert!((300..10_000).contains(&waited), "{waited} ms");
}
