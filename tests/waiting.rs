//! Requests that wait, on the real binary: the queue's limit, deadlines, priorities, clients that
//! leave, and a stop that finishes what is in flight. The model runs as long as a request says.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::daemon::{Answer, Daemon};
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, output};

const INFER: &str = "/v2/models/counter/infer";
/// Steps that take seconds: longer than a test needs to do something meanwhile.
const LONG: i64 = 1_500_000;
/// Steps that take long enough to tell the end of one run from that of the next.
const SHORT: i64 = 30_000;

fn serve(settings: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    repository.model("counter", &graphs::counter(), settings);
    let daemon = repository.serve("onnxruntime", &[]);
    (repository, daemon)
}

fn body(steps: i64, parameters: &Value) -> Value {
    let steps = json!({"name": "n", "datatype": "INT64", "shape": [], "data": [steps]});
    json!({"inputs": [fp32("x", &[1], &[0.5]), steps], "parameters": parameters})
}

/// The bytes of a request whose answer nobody reads.
fn infer_request(steps: i64) -> Vec<u8> {
    let body = body(steps, &json!({})).to_string();
    let length = body.len();
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: onnxd\r\nContent-Length: {length}\r\n\r\n");
    (head + &body).into_bytes()
}

fn count(daemon: &Daemon, steps: i64, parameters: &Value) -> Answer {
    daemon.post_json(INFER, &body(steps, parameters))
}

fn assert_counted(answer: &Answer, steps: i64) {
    assert_eq!(output(answer, "y"), json!([steps as f64 + 0.5]));
}

fn ended(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric("onnxd_requests_total", &[("model", "counter"), ("outcome", outcome)])
}

/// Does something while a long run goes on, then checks the run's answer.
fn while_running(daemon: &Daemon, act: impl FnOnce()) {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| count(daemon, LONG, &json!({})));
        // It has left the queue, so it runs.
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        act();
        assert!(!running.is_finished(), "the run was too short for this test");
        assert_counted(&running.join().expect("the client is content"), LONG);
    });
}

fn await_queue(daemon: &Daemon, depth: usize) {
    daemon.await_metric("onnxd_queue_depth", &[("model", "counter")], depth as f64);
}

#[test]
fn a_full_queue_is_refused_with_its_limit_and_those_who_wait_are_answered() {
    let (_repository, daemon) = serve("max_queue_size = 1\n");
    std::thread::scope(|scope| {
        let mut waiting = None;
        while_running(&daemon, || {
            waiting = Some(scope.spawn(|| count(&daemon, 7, &json!({}))));
            await_queue(&daemon, 1);
            let refused = count(&daemon, 7, &json!({}));
            assert_eq!(refused.status, 429, "{}", refused.text());
            assert_eq!(refused.header("retry-after"), Some("1"));
            let error = refused.json()["error"].as_str().expect("an error").to_owned();
            assert!(error.contains("is full (1 requests wait)"), "{error}");
        });
        let waiting = waiting.expect("it was sent").join().expect("the client is content");
        assert_counted(&waiting, 7);
    });
    daemon.await_metric("onnxd_requests_total", &[("outcome", "ok")], 2.0);
    assert_eq!(ended(&daemon, "rejected"), 1.0);
    assert_counted(&count(&daemon, 3, &json!({})), 3);
}

fn assert_expired(answer: &Answer) {
    assert_eq!(answer.status, 504, "{}", answer.text());
    let error = answer.json()["error"].as_str().expect("an error").to_owned();
    assert_eq!(error, "the request's deadline passed before it was answered");
}

#[test]
fn a_requests_own_deadline_that_passes_in_the_queue_is_504() {
    let (_repository, daemon) = serve("");
    while_running(&daemon, || {
        assert_expired(&count(&daemon, 7, &json!({"timeout": 20_000})));
        await_queue(&daemon, 0);
    });
    assert_eq!(ended(&daemon, "expired"), 1.0);
    let statistics = daemon.get("/v2/models/counter/stats").json();
    assert_eq!(statistics["model_stats"][0]["execution_count"], 1, "it never ran");
    assert_counted(&count(&daemon, 3, &json!({"timeout": 60_000_000})), 3);
}

#[test]
fn a_models_deadline_holds_whatever_a_request_asks_for_and_while_it_runs() {
    let (_repository, daemon) = serve("default_timeout_ms = 30\nallow_timeout_override = false\n");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| count(&daemon, LONG, &json!({})));
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        for parameters in [json!({}), json!({"timeout": 60_000_000})] {
            assert_expired(&count(&daemon, 7, &parameters));
        }
        assert_expired(&running.join().expect("the client is content"));
        let ran = daemon.metric("onnxd_inference_seconds_count", &[("model", "counter")]);
        assert_eq!(ran, 0.0, "nobody waited for the run");
    });
    assert_eq!(ended(&daemon, "expired"), 3.0);
}

#[test]
fn the_more_urgent_request_runs_first_whoever_came_first() {
    let (_repository, daemon) = serve("priority_levels = 3\n");
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        while_running(&daemon, || {
            // 0 asks for the default, which is the last level.
            for (depth, priority) in [(1, 0), (2, 2), (3, 1)] {
                let (daemon, order) = (&daemon, &order);
                scope.spawn(move || {
                    let answer = count(daemon, SHORT, &json!({"priority": priority}));
                    order.lock().expect("no client panics").push(priority);
                    assert_counted(&answer, SHORT);
                });
                await_queue(daemon, depth);
            }
        });
    });
    assert_eq!(*order.lock().expect("no client panics"), [1, 2, 0]);
}

#[test]
fn a_client_that_goes_away_leaves_the_queue_and_is_counted() {
    let (_repository, daemon) = serve("");
    while_running(&daemon, || {
        let mut gone = TcpStream::connect(daemon.address).expect("the daemon listens");
        gone.write_all(&infer_request(7)).expect("the daemon reads");
        await_queue(&daemon, 1);
        drop(gone);
        await_queue(&daemon, 0);
        daemon.await_metric("onnxd_requests_total", &[("outcome", "cancelled")], 1.0);
    });
    let statistics = daemon.get("/v2/models/counter/stats").json();
    assert_eq!(statistics["model_stats"][0]["execution_count"], 1, "it never ran");
}

#[test]
fn health_and_metrics_answer_whatever_a_model_does() {
    // On the network thread itself, where it can hold up whoever is on that thread.
    let repository = Repository::new();
    let layout = "[instances]\ncount = 1\nthreads = 1\nlayout = \"inline\"\n";
    repository.write("counter/model.toml", layout);
    repository.version("counter", 1, &graphs::counter());
    let daemon = repository.serve("onnxruntime", &[]);
    while_running(&daemon, || {
        assert_eq!(daemon.get("/v2/health/live").status, 200);
        assert_eq!(daemon.get("/v2/health/ready").status, 200);
        assert_eq!(daemon.get("/v2/models/counter").status, 200);
    });
}

#[test]
fn work_in_flight_is_finished_before_the_end_and_new_connections_are_not_taken() {
    let (_repository, daemon) = serve("");
    let address = daemon.address;
    let log = daemon.shared_log();
    std::thread::scope(|scope| {
        let mut sent = None;
        let client = &daemon;
        let running = scope.spawn(move || count(client, LONG, &json!({})));
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        let waiting = sent.insert(scope.spawn(|| count(&daemon, 7, &json!({}))));
        await_queue(&daemon, 1);
        daemon.signal("TERM");
        while TcpStream::connect(address).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!running.is_finished() && !waiting.is_finished());
        assert_counted(&running.join().expect("the client is content"), LONG);
        assert_counted(&sent.expect("sent").join().expect("the client is content"), 7);
    });
    assert_eq!(daemon.wait().code(), Some(0));
    let log = log.lock().expect("no thread panics with the log").join("\n");
    assert!(log.contains("\"deadline_met\":true"), "{log}");
}

/// A daemon whose only network thread runs a model that never ends, and the client who asked.
fn held_up(shutdown: &str) -> (Repository, Daemon, TcpStream) {
    let repository = Repository::new();
    let layout = "[instances]\ncount = 1\nthreads = 1\nlayout = \"inline\"\n";
    repository.write("counter/model.toml", layout);
    repository.version("counter", 1, &graphs::counter());
    let home = Repository::new();
    let path = home.write("onnxd.toml", format!("[shutdown]\ngrace = \"0s\"\n{shutdown}\n"));
    let path = path.to_str().expect("a UTF-8 path");
    let daemon = repository.serve("onnxruntime", &["--config", path, "--network-threads", "1"]);
    let mut client = TcpStream::connect(daemon.address).expect("the daemon listens");
    client.write_all(&infer_request(i64::MAX)).expect("the daemon reads");
    daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
    (repository, daemon, client)
}

#[test]
fn the_deadline_of_a_stop_ends_the_daemon_whatever_its_network_threads_do() {
    let (_repository, daemon, _client) = held_up("deadline = \"100ms\"");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(1), "what is cut off is not a success");
}

#[test]
fn a_second_signal_ends_the_daemon_whatever_its_network_threads_do() {
    let (_repository, daemon, _client) = held_up("deadline = \"1h\"");
    daemon.signal("TERM");
    while TcpStream::connect(daemon.address).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(1), "what is cut off is not a success");
}
