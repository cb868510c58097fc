//! Training is PyTorch's: from the same weights, on the same batches, losses are as near to
//! PyTorch's in 64-bit floats as PyTorch's own in 32-bit floats are, up to a factor of 3. The
//! reference values are made by `scripts/make_training_goldens.py`.

use std::path::{Path, PathBuf};

use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::{normalize, read, unshare};
use onnxd::tensor::{DataType, Shape, Tensor};
use onnxd::train::{
    Algorithm, Clipping, Loss, LossSettings, OptimizerSettings, StepPlan, Stepper, Trainable,
    parameters, prepare, step_graph,
};
use serde_json::Value;

use crate::engines::{onnxruntime, tract};

/// How often farther from the truth than PyTorch's 32-bit floats.
const FACTOR: f64 = 3.0;
/// What a loss is off by for being a 32-bit float at all.
const ROUNDING: f64 = 5e-7;

struct Golden {
    name: &'static str,
    /// The model as one of PyTorch's exporters writes it.
    file: String,
    record: Value,
    inputs: Vec<u8>,
    targets: Vec<u8>,
}

impl Golden {
    fn read(name: &'static str, file: String) -> Golden {
        let bytes = |suffix: &str| {
            let path = folder().join(format!("{name}.{suffix}"));
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let record = serde_json::from_slice(&bytes("json")).expect("a record");
        Golden { name, file, record, inputs: bytes("inputs.bin"), targets: bytes("targets.bin") }
    }

    /// The batch of a step, which counts from 1: they come round and round.
    fn batch(&self, step: usize) -> (Tensor, Tensor) {
        let shape: Vec<usize> =
            serde_json::from_value(self.record["shape"].clone()).expect("sizes");
        let elements: usize = shape.iter().product();
        let integers = self.name == "encoder";
        let (data_type, size) =
            if integers { (DataType::Int64, 8) } else { (DataType::Float32, 4) };
        let batches = self.inputs.len() / (elements * size);
        let place = (step - 1) % batches;
        let part = |bytes: &[u8], size: usize| bytes[place * size..(place + 1) * size].to_vec();
        let inputs = part(&self.inputs, elements * size);
        let targets = part(&self.targets, shape[0] * 8);
        let tensor = |data_type, shape: &[usize], bytes: Vec<u8>| {
            Tensor::numbers(data_type, Shape::from_slice(shape), bytes.into()).expect("it fits")
        };
        (tensor(data_type, &shape, inputs), tensor(DataType::Int64, &shape[..1], targets))
    }

    fn losses(&self, key: &str) -> Vec<f64> {
        serde_json::from_value(self.record[key]["losses"].clone()).expect("numbers")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gradients/golden")
}

fn optimizer(name: &str) -> (OptimizerSettings, f64) {
    match name {
        "sgd" => {
            (OptimizerSettings { momentum: 0.9, ..OptimizerSettings::of(Algorithm::Sgd) }, 0.01)
        }
        _ => (OptimizerSettings::of(Algorithm::AdamW), 1e-3),
    }
}

fn train(engine: &dyn Engine, kernels: bool, golden: &Golden, algorithm: &str) -> Vec<f64> {
    let mut model = read(&folder().join(&golden.file)).expect("a model");
    unshare(&mut model);
    normalize(&mut model).expect("a sound model");
    let trained = parameters(&model, &Trainable::default()).expect("there are some");
    let (settings, rate) = optimizer(algorithm);
    let plan = StepPlan {
        model: &model,
        parameters: &trained,
        output: "output",
        loss: &LossSettings::plain(Loss::CrossEntropy),
        optimizer: &settings,
        clipping: Clipping::default(),
        parts: 1,
        seed: 0,
    };
    let (inputs, targets) = golden.batch(1);
    let prepared = prepare(engine, &plan, vec![inputs, targets]).expect("it runs");
    let graph = step_graph(&plan, &prepared).expect("every node has a derivative");
    let inputs = ["input".to_owned()];
    let session = SessionSettings { threads: 2, kernels, ..SessionSettings::cpu() };
    let mut stepper = Stepper::new(engine, &session, &graph, &inputs).expect("it opens");
    let steps = golden.losses("sgd.float64").len();
    (1..=steps)
        .map(|step| {
            let (inputs, targets) = golden.batch(step);
            let report = stepper.step(&[inputs], &targets, rate, step as u64);
            report.expect("a step").loss
        })
        .collect()
}

fn farthest(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

fn check(name: &'static str, algorithm: &str) {
    check_file(name, format!("{name}.onnx"), algorithm);
}

fn check_file(name: &'static str, file: String, algorithm: &str) {
    let golden = Golden::read(name, file);
    let truth = golden.losses(&format!("{algorithm}.float64"));
    let theirs = farthest(&golden.losses(&format!("{algorithm}.float32")), &truth);
    let ways = [(onnxruntime(), true), (onnxruntime(), false), (tract(), true), (tract(), false)];
    for (engine, kernels) in ways {
        let losses = train(&*engine, kernels, &golden, algorithm);
        let ours = farthest(&losses, &truth);
        println!(
            "{name} {algorithm} on {}, kernels {kernels}: {ours:.2e}, PyTorch {theirs:.2e}",
            engine.name()
        );
        assert!(
            ours <= FACTOR * theirs.max(ROUNDING),
            "{name} {algorithm} on {}, kernels {kernels}: {ours:.2e} from PyTorch's losses in 64-bit \
             floats, its own in 32-bit are {theirs:.2e}",
            engine.name()
        );
    }
}

#[test]
fn a_perceptron_learns_as_in_pytorch() {
    check("mlp", "sgd");
    check("mlp", "adamw");
}

#[test]
fn a_convolutional_network_learns_as_in_pytorch() {
    check("cnn", "sgd");
    check("cnn", "adamw");
}

#[test]
fn a_residual_network_learns_as_in_pytorch() {
    check("resnet", "sgd");
    check("resnet", "adamw");
}

#[test]
fn an_encoder_learns_as_in_pytorch() {
    check("encoder", "sgd");
    check("encoder", "adamw");
}

#[test]
fn a_recurrent_network_learns_as_in_pytorch() {
    check("recurrent", "sgd");
    check("recurrent", "adamw");
    check_file("recurrent", "recurrent.dynamo.onnx".to_owned(), "sgd");
}
