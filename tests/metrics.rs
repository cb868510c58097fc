//! Metrics have the values that the conditions say, not only a name: nodes, memory, the phases of
//! a swap, bodies in flight, instances that panic, connections that are refused.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::onnx::proto::ModelProto;
use onnxd::tensor::DataType::Float32;
use serde_json::json;

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::exposition;
use crate::support::graphs;
use crate::support::models::{Behaviour, Model, request};
use crate::support::repository::Repository;
use crate::support::request::{floats, fp32, infer_json, output};
use crate::support::server::TestServer;
use crate::support::slow;

#[test]
fn the_engines_nodes_are_the_models() {
    let repository = Repository::new();
    let models = [
        ("affine", graphs::affine(), 2),
        ("several", graphs::several(), 4),
        ("classifier", graphs::classifier(17), 3),
    ];
    for (name, model, nodes) in &models {
        assert_eq!(model.graph.as_ref().expect("a graph").node.len(), *nodes, "{name}");
        repository.model(name, model, "");
    }
    let daemon = repository.serve("tract", &[]);
    for (name, _, nodes) in models {
        let labels = [("model", name), ("version", "1"), ("provider", "tract")];
        assert_eq!(daemon.metric("onnxd_engine_nodes", &labels), nodes as f64, "{name}");
    }
    assert_eq!(daemon.metric("onnxd_engine_nodes", &[]), 9.0, "and nobody else's");
}

/// `y = x * weights`, with weights of 64 MiB.
fn large() -> ModelProto {
    const SIDE: usize = 4096;
    let mut graph = GraphBuilder::new("large");
    let x = graph.input("x", Float32, "batch, 4096");
    let weights = graph.initializer("weights", &floats(&[SIDE, SIDE], 1));
    graph.node(Node::new("MatMul", &[&x, &weights]).name("multiply").output("y"));
    graph.output("y", Float32, "batch, 4096");
    graph.into_model(17)
}

/// Serves on tract what is there, once it is asked to load it.
fn serve_on_request(repository: &Repository, more: &str) -> Daemon {
    let text = format!(
        "repositories = [{:?}]\n[loading]\nat_start = false\n[server]\n\
         allow_repository_control = true\n{more}",
        repository.text()
    );
    let file = repository.write("onnxd.toml", text);
    Daemon::start(&["--config", file.to_str().expect("a UTF-8 path"), "--engine", "tract"])
}

fn control(daemon: &Daemon, model: &str, action: &str) {
    let path = format!("/v2/repository/models/{model}/{action}");
    let answer = daemon.post_json(&path, &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_models_memory_is_there_while_it_is_loaded() {
    const WEIGHTS: f64 = (64 << 20) as f64;
    let repository = Repository::new();
    repository.model("large", &large(), "");
    repository.model("small", &graphs::affine(), "");
    let daemon = serve_on_request(&repository, "");
    let of = |model: &str| daemon.metric("onnxd_model_memory_bytes", &[("model", model)]);
    let resident = || daemon.metric("process_resident_memory_bytes", &[]);
    assert_eq!(of("large"), 0.0);
    control(&daemon, "small", "load");
    let before = resident();
    control(&daemon, "large", "load");
    let memory = of("large");
    assert!((WEIGHTS..6.0 * WEIGHTS).contains(&memory), "{memory}");
    assert!(of("small") < WEIGHTS / 4.0, "{}", of("small"));
    let grown = resident() - before;
    assert!((WEIGHTS..memory + WEIGHTS).contains(&grown), "grown by {grown}, told {memory}");
    control(&daemon, "large", "unload");
    daemon.await_metric("onnxd_model_memory_bytes", &[("model", "large")], 0.0);
    let begin = Instant::now();
    while resident() > before + WEIGHTS / 2.0 {
        assert!(begin.elapsed() < PATIENCE, "{} of {before} at first", resident());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_phases_of_a_swap_are_those_of_the_log_and_warm_up_is_the_longest() {
    let repository = Repository::new();
    repository.model("warmed", &slow::heavy(), "batching = \"off\"\n[[warm_up]]\ncount = 300\n");
    let daemon = repository.serve("tract", &["--allow-repository-control"]);
    let phase = |phase: &str| {
        let labels = [("phase", phase)];
        assert_eq!(daemon.metric("onnxd_swap_seconds_count", &labels), 1.0, "{phase}");
        daemon.metric("onnxd_swap_seconds_sum", &labels)
    };
    let (open, warm, measure) = (phase("open"), phase("warm"), phase("measure"));
    assert!(open > 0.0 && measure > 0.0 && warm > open + measure, "{open}, {warm}, {measure}");
    let begin = Instant::now();
    let swap = loop {
        if let Some(swap) = daemon.events("version swapped").pop() {
            break swap;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(2));
    };
    let logged = swap["seconds"].as_f64().expect("a number");
    assert!((open + warm + measure - logged).abs() < 1e-6, "{logged}: {open}, {warm}, {measure}");
    // Loaded once more, and the first one unloaded.
    control(&daemon, "warmed", "load");
    let swaps = daemon.metric("onnxd_swaps_total", &[("model", "warmed"), ("outcome", "ok")]);
    assert_eq!(swaps, daemon.metric("onnxd_swap_seconds_count", &[("phase", "warm")]));
    daemon.await_metric("onnxd_swap_seconds_count", &[("phase", "drain")], swaps - 1.0);
}

#[test]
fn a_drain_lasts_as_long_as_the_last_request() {
    let repository = Repository::new();
    repository.model("counter", &graphs::counter(), "");
    let daemon = repository.serve("onnxruntime", &["--allow-repository-control"]);
    assert_eq!(daemon.metric("onnxd_swap_seconds_count", &[("phase", "drain")]), 0.0);
    let steps = json!({"name": "n", "datatype": "INT64", "shape": [], "data": [1_500_000]});
    let inputs = [fp32("x", &[1], &[0.5]), steps];
    let (drained, unloading) = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            output(&infer_json(&daemon, "counter", &inputs), "y");
            Instant::now()
        });
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        let begin = Instant::now();
        let unload = scope.spawn(|| control(&daemon, "counter", "unload"));
        daemon.await_metric("onnxd_model_ready", &[("model", "counter")], 0.0);
        let unready = Instant::now();
        let answered = running.join().expect("the client is content");
        unload.join().expect("the client is content");
        (answered.saturating_duration_since(unready), begin.elapsed())
    });
    daemon.await_metric("onnxd_swap_seconds_count", &[("phase", "drain")], 1.0);
    let drain = daemon.metric("onnxd_swap_seconds_sum", &[("phase", "drain")]);
    assert!(drained > Duration::from_millis(20), "the run was too short for this test");
    // It ends with the run; the answer is on its way a little longer.
    assert!(drain > drained.as_secs_f64() / 2.0, "{drain} s, answered after {drained:?}");
    assert!(drain < unloading.as_secs_f64() + 1.0, "{drain} s, unloaded after {unloading:?}");
}

/// A daemon with one small model, and settings of its server.
fn serve_affine(section: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let text = format!("repositories = [{:?}]\n[server]\n{section}", repository.text());
    let file = repository.write("onnxd.toml", text);
    let daemon =
        Daemon::start(&["--config", file.to_str().expect("a UTF-8 path"), "--engine", "tract"]);
    (repository, daemon)
}

fn connect(daemon: &Daemon, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(bytes).expect("the daemon reads");
    stream
}

#[test]
fn a_body_is_in_flight_from_its_announcement_to_its_answer() {
    let (_repository, daemon) = serve_affine("");
    let inflight = |bytes: usize| daemon.await_metric("onnxd_inflight_bytes", &[], bytes as f64);
    inflight(0);
    let body = json!({"inputs": [fp32("x", &[1, 4], &[1.0; 4])]}).to_string();
    let announce = |length: usize| {
        let head = "POST /v2/models/affine/infer HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n";
        connect(&daemon, format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())
    };
    let mut first = announce(body.len());
    inflight(body.len());
    let second = announce(1000);
    inflight(body.len() + 1000);
    // One is answered, the other's client goes away.
    first.write_all(body.as_bytes()).expect("the daemon reads");
    let mut answer = String::new();
    first.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    inflight(1000);
    drop(second);
    inflight(0);
}

#[test]
fn a_body_is_in_flight_while_its_request_waits_and_runs() {
    let repository = Repository::new();
    repository.model("counter", &graphs::counter(), "");
    let daemon = repository.serve("onnxruntime", &[]);
    let steps = json!({"name": "n", "datatype": "INT64", "shape": [], "data": [1_500_000]});
    let body = json!({"inputs": [fp32("x", &[1], &[0.5]), steps]});
    let length = body.to_string().len() as f64;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.post_json("/v2/models/counter/infer", &body));
        daemon.await_metric("onnxd_queue_seconds_count", &[("model", "counter")], 1.0);
        assert_eq!(daemon.metric("onnxd_inflight_bytes", &[]), length);
        assert!(!running.is_finished(), "the run was too short for this test");
        assert_eq!(running.join().expect("the client is content").status, 200);
    });
    daemon.await_metric("onnxd_inflight_bytes", &[], 0.0);
}

#[test]
fn an_instance_that_panics_is_counted_and_takes_the_next_request() {
    let server = TestServer::start(vec![Model::new("panics", Behaviour::Panic)], |_| {});
    let labels = [("model", "panics"), ("version", "1")];
    let restarts = || exposition::of_this_process("onnxd_instance_restarts_total", &labels);
    let infer = |value| server.post("/v2/models/panics/infer", &request(&[value, 1.0]));
    assert_eq!((infer(1.0).status, restarts()), (200, 0.0));
    for panics in [1.0, 2.0] {
        let answer = infer(13.0);
        assert_eq!(answer.status, 500, "{}", answer.text());
        exposition::await_in_this_process("onnxd_instance_restarts_total", &labels, panics);
        assert_eq!(infer(2.0).status, 200);
    }
    assert_eq!(restarts(), 2.0, "an answer is no restart");
    assert_eq!(exposition::of_this_process("onnxd_instances", &labels), 1.0);
}

fn refused(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric("onnxd_connections_refused_total", &[("reason", reason)])
}

#[test]
fn silent_connections_are_counted_as_refused_and_those_that_wait_their_turn_are_not() {
    let (_repository, daemon) = serve_affine("max_connections = 2\nheader_timeout = \"300ms\"\n");
    // Two take all there is, so the others wait; each says nothing until its time is over.
    let silent: Vec<TcpStream> = (0..4).map(|_| connect(&daemon, b"")).collect();
    for mut stream in silent {
        assert!(stream.read_to_end(&mut Vec::new()).is_ok_and(|length| length == 0));
    }
    assert_eq!(refused(&daemon, "silent"), 4.0);
    // It waits, and is answered in the end.
    let held: Vec<TcpStream> = (0..2).map(|_| connect(&daemon, b"")).collect();
    assert_eq!(daemon.get("/v2/health/live").status, 200);
    drop(held);
    daemon.await_metric("onnxd_connections", &[], 1.0);
    assert_eq!(daemon.metric("onnxd_connections_refused_total", &[]), refused(&daemon, "silent"));
    assert!(refused(&daemon, "silent") <= 6.0, "{}", refused(&daemon, "silent"));
}

#[test]
fn a_connection_that_there_is_no_descriptor_for_is_counted_and_costs_the_others_nothing() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    // As many as the program needs itself, and some more; it can raise its limit no further.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onnxd")]);
    shell.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--engine", "tract"]);
    shell.args(["--repository", repository.text()]).stdout(std::process::Stdio::null());
    let daemon = Daemon::launch(shell);
    daemon.await_ready();
    assert_eq!(refused(&daemon, "accept"), 0.0);
    let many: Vec<TcpStream> = (0..64).map(|_| connect(&daemon, b"")).collect();
    let begin = Instant::now();
    let warning = loop {
        if let Some(warning) = daemon.events("connection refused").pop() {
            break warning;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(warning["reason"], "accept", "{warning}");
    drop(many);
    assert!(refused(&daemon, "accept") >= 1.0);
    let answer = infer_json(&daemon, "affine", &[fp32("x", &[1, 4], &[1.0; 4])]);
    assert_eq!(output(&answer, "y"), json!([3.0, 3.0, 3.0, 3.0]));
}
