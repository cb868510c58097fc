//! The cases of the table.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use onnxd::commands::bench::engine_loop::{self, Subject, Way, ways};
use onnxd::commands::bench::load::{self, Load, Measured};
use onnxd::commands::bench::request::binary;
use onnxd::engine::{Engine, ModelSource, SessionSettings};
use onnxd::onnx::proto::ModelProto;
use onnxd::onnx::samples;
use onnxd::tensor::Tensor;

use crate::child::Server;
use crate::table::{head, median, row, spread};
use crate::{Options, cores, request};

const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Sequence lengths of the mixed case, sent in turn.
const LENGTHS: [usize; 8] = [8, 16, 24, 32, 40, 48, 56, 64];

pub fn run(engine: &Arc<dyn Engine>, options: &Options) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    let save = |name: &str, model: ModelProto| -> PathBuf {
        let path = folder.path().join(format!("{name}.onnx"));
        onnxd::onnx::write(&path, &model).expect("the sample model is written");
        path
    };
    head();
    if wanted("mlp") || wanted("memory") {
        let model = save("mlp", samples::mlp(64, &[128, 128], 10));
        if wanted("memory") {
            memory(&model, options);
        }
        if wanted("mlp") {
            mlp(&model, folder.path(), options);
        }
    }
    if wanted("encoder") || wanted("mixed") {
        let model = save("encoder", samples::encoder(samples::EncoderSize::MINILM));
        if wanted("encoder") {
            let inputs = |turn: usize, rows: usize| tokens(rows, 32, turn as u64);
            throughput(engine, &model, "encoder, sequence 32", &inputs, 1, 0.97, options);
        }
        if wanted("mixed") {
            let inputs = |turn: usize, rows: usize| tokens(rows, LENGTHS[turn], turn as u64);
            let mix = LENGTHS.len();
            throughput(engine, &model, "encoder, sequence 8 to 64", &inputs, mix, 0.9, options);
        }
    }
    if wanted("resnet") {
        let model = save("resnet", samples::resnet18(224));
        let inputs = |turn: usize, rows: usize| {
            vec![Some(request::floats(&[rows, 3, 224, 224], turn as u64))]
        };
        throughput(engine, &model, "ResNet-18, 224×224", &inputs, 1, 0.97, options);
    }
}

fn tokens(rows: usize, length: usize, seed: u64) -> Vec<Option<Tensor>> {
    let shape = [rows, length];
    vec![Some(request::tokens(&shape, 30_000, seed + 1)), Some(request::ones(&shape))]
}

fn daemon(model: &Path, options: &Options) -> Server {
    let engine = match options.engine {
        onnxd::engine::EngineChoice::Tract => "tract",
        onnxd::engine::EngineChoice::OnnxRuntime => "onnxruntime",
        onnxd::engine::EngineChoice::Auto => "auto",
    };
    let model = model.to_str().expect("temporary paths are UTF-8");
    let device = options.device.to_string();
    Server::daemon(&["--model", model, "--engine", engine, "--device", &device])
}

fn memory(model: &Path, options: &Options) {
    let servers: Vec<(f64, f64)> = (0..options.rounds)
        .map(|_| {
            let server = daemon(model, options);
            let start = server.start_to_ready.as_secs_f64() * 1e3;
            std::thread::sleep(Duration::from_millis(500));
            (server.resident_mb(), start)
        })
        .collect();
    let resident = median(&servers.iter().map(|server| server.0).collect::<Vec<_>>());
    let start = median(&servers.iter().map(|server| server.1).collect::<Vec<_>>());
    row("MLP, idle resident memory", &format!("{resident:.0} MB"), "–", "–", "< 80 MB");
    row("MLP, start to ready", &format!("{start:.0} ms"), "–", "–", "< 150 ms");
}

/// One span of load on one server, with the CPU microseconds it used per request.
fn span(
    server: &Server,
    requests: &Rc<Vec<Vec<u8>>>,
    connections: usize,
    span: Duration,
) -> (Measured, f64) {
    let load = Load {
        address: server.address,
        requests: Rc::clone(requests),
        connections,
        warm_up: Duration::from_millis(500),
        duration: span,
    };
    let before = Cell::new(0.0);
    let after = Cell::new(0.0);
    let measured =
        load::run(&load, || before.set(server.cpu_seconds()), || after.set(server.cpu_seconds()))
            .expect("the server answers");
    assert_eq!(measured.refusal, None, "a benchmark of refusals would measure nothing");
    let cpu = (after.get() - before.get()) * 1e6 / measured.requests as f64;
    (measured, cpu)
}

fn mlp(model: &Path, folder: &Path, options: &Options) {
    let input = request::floats(&[1, 64], 7);
    let binary = Rc::new(vec![binary("mlp", &[("input", &input)], &["output"])]);
    let json = Rc::new(vec![request::json("mlp", "input", &input)]);
    let server = daemon(model, options);
    let (answer_head, answer) = load::once(server.address, &binary[0]).expect("an answer");
    let header_length = load::header(&answer_head, "inference-header-content-length")
        .and_then(|text| text.parse().ok())
        .expect("the answer is binary");
    let answer_file = folder.join("mlp.answer");
    std::fs::write(&answer_file, &answer).expect("the temporary folder is writable");
    let bare = Server::bare(&answer_file, header_length);

    let mut rates = Vec::new();
    let mut cpus = Vec::new();
    let mut jsons = Vec::new();
    let mut ours = Vec::new();
    let mut limits = Vec::new();
    for _ in 0..options.rounds {
        let (limit, limit_cpu) = span(&bare, &binary, 64, options.span);
        let (our, our_cpu) = span(&server, &binary, 64, options.span);
        let (our_json, _) = span(&server, &json, 64, options.span);
        rates.push(our.rate() / limit.rate());
        cpus.push(our_cpu / limit_cpu);
        jsons.push(our_json.rate() / our.rate());
        ours.push((our.rate(), our_cpu, our_json.rate()));
        limits.push((limit.rate(), limit_cpu));
    }
    let middle = |values: &[(f64, f64, f64)], pick: fn(&(f64, f64, f64)) -> f64| {
        median(&values.iter().map(pick).collect::<Vec<_>>())
    };
    row(
        "MLP, binary, 64 connections",
        &format!("{:.0} requests/s", middle(&ours, |our| our.0)),
        &format!("{:.0} (bare hyper)", median(&limits.iter().map(|l| l.0).collect::<Vec<_>>())),
        &spread(&rates),
        "≥ 0.75",
    );
    row(
        "the same, CPU a request",
        &format!("{:.1} µs", middle(&ours, |our| our.1)),
        &format!("{:.1} µs (bare hyper)", median(&limits.iter().map(|l| l.1).collect::<Vec<_>>())),
        &spread(&cpus),
        "≤ 1.35",
    );
    row(
        "MLP, JSON, 64 connections",
        &format!("{:.0} requests/s", middle(&ours, |our| our.2)),
        "the binary rate",
        &spread(&jsons),
        "≥ 0.5",
    );
    latency(&server, &bare, &binary, options);
}

fn latency(server: &Server, bare: &Server, binary: &Rc<Vec<Vec<u8>>>, options: &Options) {
    let mut added = Vec::new();
    let mut shown = Vec::new();
    let mut tails = Vec::new();
    for _ in 0..options.rounds {
        let (limit, _) = span(bare, binary, 1, options.span);
        let before = inference_time(server);
        let (our, _) = span(server, binary, 1, options.span);
        let after = inference_time(server);
        let engine_us = (after.0 - before.0) / 1e3 / (after.1 - before.1);
        let (our, limit) = (our.latency, limit.latency);
        added.push(our.median_us - limit.median_us - engine_us);
        shown.push((our.median_us, limit.median_us, engine_us));
        tails.push((our.p99_us, limit.p99_us));
    }
    let middle =
        |pick: fn(&(f64, f64, f64)) -> f64| median(&shown.iter().map(pick).collect::<Vec<_>>());
    let tail = |pick: fn(&(f64, f64)) -> f64| median(&tails.iter().map(pick).collect::<Vec<_>>());
    row(
        "MLP, binary, 1 connection, median",
        &format!("{:.0} µs", middle(|s| s.0)),
        &format!("{:.0} µs (bare) + {:.0} µs (engine)", middle(|s| s.1), middle(|s| s.2)),
        &format!("+{:.0} µs", median(&added)),
        "≤ +25 µs",
    );
    row(
        "the same, 99th percentile",
        &format!("{:.0} µs", tail(|s| s.0)),
        &format!("{:.0} µs (bare)", tail(|s| s.1)),
        "–",
        "–",
    );
}

/// Nanoseconds the daemon's engine ran so far, and how many runs that were, by its own account.
fn inference_time(server: &Server) -> (f64, f64) {
    let request = b"GET /v2/models/mlp/stats HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n\r\n";
    let (_, body) = load::once(server.address, request).expect("an answer");
    let stats: serde_json::Value = serde_json::from_slice(&body).expect("the statistics are JSON");
    let infer = &stats["model_stats"][0]["inference_stats"]["compute_infer"];
    (infer["ns"].as_f64().expect("a number"), infer["count"].as_f64().expect("a number"))
}

/// Rows a second through the daemon at 32 connections, against the engine's best bare loop.
fn throughput(
    engine: &Arc<dyn Engine>,
    model: &Path,
    what: &str,
    inputs: &(dyn Fn(usize, usize) -> Vec<Option<Tensor>> + Sync),
    mix: usize,
    bar: f64,
    options: &Options,
) {
    let subject = Subject {
        engine: engine.clone(),
        source: ModelSource { path: model.to_owned() },
        session: SessionSettings { device: options.device, ..SessionSettings::cpu() },
    };
    let looped = |way: Way, span: Duration| {
        let batches: Vec<_> = (0..mix).map(|turn| inputs(turn, way.batch)).collect();
        let looped = engine_loop::run(&subject, way, &batches, span);
        looped.expect("the model runs").rows_per_second
    };
    let mut best: Option<(Way, f64)> = None;
    for way in ways(cores(), &BATCHES) {
        let rate = looped(way, options.span / 2);
        if best.is_none_or(|(_, best_rate)| rate > best_rate) {
            best = Some((way, rate));
        }
    }
    let (best, _) = best.expect("at least one way was tried");
    let server = daemon(model, options);
    let rows: Vec<_> = (0..mix).map(|turn| inputs(turn, 1)).collect();
    let requests = Rc::new(requests(&subject, model, &rows));
    // Long runs: a span must hold many batches of every connection.
    let long = options.span * 3;
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    let mut limits = Vec::new();
    for _ in 0..options.rounds {
        let limit = looped(best, long);
        let (our, _) = span(&server, &requests, 32, long);
        ratios.push(our.rate() / limit);
        rates.push(our.rate());
        limits.push(limit);
    }
    row(
        &format!("{what}, 32 connections"),
        &format!("{:.0} rows/s", median(&rates)),
        &format!(
            "{:.0} (engine: {} sessions × {} threads, batch {})",
            median(&limits),
            best.sessions,
            best.threads,
            best.batch
        ),
        &spread(&ratios),
        &format!("≥ {bar}"),
    );
}

/// A request for each of these inputs, for the first output of a model that is called as its file.
fn requests(subject: &Subject, model: &Path, inputs: &[Vec<Option<Tensor>>]) -> Vec<Vec<u8>> {
    let name = model.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let session = subject.engine.open(&subject.source, &subject.session).expect("it opens");
    let signature = session.signature();
    let given = |tensor: &Option<Tensor>| tensor.clone().expect("every input is given");
    let request = |inputs: &Vec<Option<Tensor>>| {
        let tensors: Vec<Tensor> = inputs.iter().map(given).collect();
        let names = signature.inputs.iter().map(|spec| spec.name.as_str());
        let named: Vec<(&str, &Tensor)> = names.zip(&tensors).collect();
        binary(name, &named, &[&signature.outputs[0].name])
    };
    inputs.iter().map(request).collect()
}
