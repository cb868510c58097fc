//! Dropout in training: the same elements on every engine, others at every step and for every seed,
//! and none where a model is judged.

use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::proto::ModelProto;
use onnxd::onnx::starters::{
    Activation, Initialization, MlpSettings, Normalization, Style, TransformerSettings, mlp,
    transformer,
};
use onnxd::tensor::{DataType, Tensor};
use onnxd::train::{
    Algorithm, Clipping, Loss, LossSettings, OptimizerSettings, StepPlan, Stepper, Trainable,
    parameters, prepare, step_graph,
};

use crate::engines::{onnxruntime, tract};
use crate::numbers::{Random, floats, ints};

const BATCH: usize = 16;

fn style(dropout: f32, activation: Activation) -> Style {
    Style { activation, dropout, initialization: Initialization::Torch, seed: 1 }
}

fn perceptron(dropout: f32) -> ModelProto {
    let style = style(dropout, Activation::Tanh);
    let (hidden, normalization) = (vec![40, 40], Normalization::None);
    let settings = MlpSettings { inputs: 8, hidden, outputs: 4, normalization, style };
    mlp(&settings).expect("sizes are small").model
}

fn rows() -> Tensor {
    let mut random = Random::new(5);
    let values: Vec<f64> = (0..BATCH * 8).map(|_| random.next(-1.0, 1.0)).collect();
    floats(DataType::Float32, &[BATCH, 8], &values)
}

fn classes() -> Tensor {
    ints(&[BATCH], &[0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 2, 2, 3, 3])
}

/// A run: how it is made, and how many batches a step has.
#[derive(Clone, Copy)]
struct Run {
    kernels: bool,
    threads: usize,
    seed: u64,
    rate: f64,
    parts: usize,
}

const RUN: Run = Run { kernels: true, threads: 1, seed: 3, rate: 0.05, parts: 1 };

/// The losses of a few steps; before the `restored`th, all is put into a new session.
fn losses(
    engine: &dyn Engine,
    model: &ModelProto,
    input: (&str, &Tensor),
    run: Run,
    restored: Option<u64>,
) -> Vec<f64> {
    let trained = parameters(model, &Trainable::default()).expect("there are some");
    let plan = StepPlan {
        model,
        parameters: &trained,
        output: "output",
        loss: &LossSettings::plain(Loss::CrossEntropy),
        optimizer: &OptimizerSettings::of(Algorithm::Sgd),
        clipping: Clipping::default(),
        parts: run.parts,
        seed: run.seed,
    };
    let (name, given) = input;
    let prepared = prepare(engine, &plan, vec![given.clone(), classes()]).expect("it runs");
    let graph = step_graph(&plan, &prepared).expect("every node has a derivative");
    let Run { kernels, threads, .. } = run;
    let session = SessionSettings { threads, kernels, ..SessionSettings::cpu() };
    let new = || Stepper::new(engine, &session, &graph, &[name.to_owned()]).expect("it opens");
    let mut stepper = new();
    let batch = [given.clone()];
    let mut losses = Vec::new();
    for step in 1..=5 {
        if restored == Some(step) {
            let state = stepper.whole_state().expect("it gives it out");
            stepper = new();
            stepper.restore(&state).expect("it is this graph's");
        }
        for _ in 1..run.parts {
            losses.push(stepper.part(&batch, &classes(), step).expect("a part").loss);
        }
        losses.push(stepper.step(&batch, &classes(), run.rate, step).expect("a step").loss);
    }
    losses
}

fn assert_near(one: &[f64], other: &[f64], tolerance: f64) {
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= tolerance, "{one} and {other}");
    }
}

#[test]
fn the_same_elements_are_dropped_on_every_engine_and_any_number_of_threads() {
    let (model, rows) = (perceptron(0.3), rows());
    let first = losses(&*onnxruntime(), &model, ("input", &rows), RUN, None);
    let again = losses(&*onnxruntime(), &model, ("input", &rows), Run { threads: 2, ..RUN }, None);
    assert_eq!(first, again);
    for (engine, kernels) in [(onnxruntime(), false), (tract(), true), (tract(), false)] {
        let other = losses(&*engine, &model, ("input", &rows), Run { kernels, ..RUN }, None);
        assert_near(&first, &other, 1e-5);
    }
}

#[test]
fn every_batch_and_every_seed_drops_others() {
    let (model, rows) = (perceptron(0.3), rows());
    // Nothing is learnt: what differs was dropped.
    let still = Run { rate: 0.0, ..RUN };
    let of = |run: Run| losses(&*tract(), &model, ("input", &rows), run, None);
    let mut seen = of(still);
    seen.extend(of(Run { seed: 4, ..still }));
    seen.sort_by(f64::total_cmp);
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
    // The parts of a step are batches like any others; the last one's loss is the mean's.
    let parts = of(Run { parts: 2, ..still });
    let one = of(still);
    assert_near(&parts[..2], &[one[0], (one[0] + one[1]) / 2.0], 1e-6);
    assert_near(&parts[2..3], &one[2..3], 1e-6);
    let plain = losses(&*tract(), &perceptron(0.0), ("input", &rows), still, None);
    assert!(plain.windows(2).all(|pair| pair[0] == pair[1]), "{plain:?}");
    // On average a mask changes little.
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    assert!((mean - plain[0]).abs() < 0.1, "{mean} and {}", plain[0]);
}

#[test]
fn a_run_that_is_taken_up_again_drops_what_it_would_have() {
    let (model, rows) = (perceptron(0.3), rows());
    for engine in [onnxruntime(), tract()] {
        let straight = losses(&*engine, &model, ("input", &rows), RUN, None);
        let resumed = losses(&*engine, &model, ("input", &rows), RUN, Some(3));
        assert_eq!(straight, resumed);
    }
}

#[test]
fn a_transformer_with_dropout_trains_on_both_engines() {
    let model = transformer(&TransformerSettings {
        vocabulary: 10,
        length: 5,
        width: 8,
        layers: 1,
        heads: 2,
        feed_forward: 16,
        mask: false,
        outputs: 4,
        style: style(0.1, Activation::Gelu),
    });
    let model = model.expect("sizes are small").model;
    let tokens: Vec<i64> = (0..BATCH as i64 * 5).map(|index| index * 7 % 10).collect();
    let tokens = ints(&[BATCH, 5], &tokens);
    let first = losses(&*onnxruntime(), &model, ("input_ids", &tokens), RUN, None);
    let other = losses(&*tract(), &model, ("input_ids", &tokens), RUN, None);
    assert_near(&first, &other, 1e-5);
}
