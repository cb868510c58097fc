//! Model, data and engine, brought together: all that can be wrong is found here, before a step is
//! made.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::folder::RunFolder;
use super::settings::{Length, Settings};
use super::subject::Subject;
use crate::commands::output::say;
use crate::data::{self, Dataset, Schema, Split, split};
use crate::engine::{Engine, EngineSettings, SessionSettings, choose};
use crate::repository::digest_file;
use crate::tensor::Tensor;
use crate::train::{
    Clipping, Evaluator, LearningRate, LossSettings, OptimizerSettings, Order, Prepared,
    RunSettings, StepGraph, StepPlan, Stepper, TARGET, TrainError, Trainer, TrainerParts,
    first_broken, prepare, step_graph, weights_as_inputs,
};

/// Samples of one run of the evaluation.
const EVALUATED_AT_ONCE: usize = 256;

/// All that a run works with.
pub struct Setup {
    pub subject: Subject,
    pub data_digest: String,
    pub engine: Arc<dyn Engine>,
    pub loss: LossSettings,
    pub dataset: Dataset,
    pub split: Split,
    session: SessionSettings,
    prepared: Prepared,
    graph: StepGraph,
    order: Order,
    run: RunSettings,
    optimizer: OptimizerSettings,
    clipping: Clipping,
    parts: usize,
    seed: u64,
}

impl Setup {
    /// # Errors
    /// The model cannot be read or differentiated, the data does not fit it, or there is no
    /// engine.
    pub fn new(settings: &Settings) -> Result<Setup> {
        let subject = Subject::read(settings)?;
        let engine_settings = EngineSettings {
            engine: settings.engine,
            onnxruntime_library: settings.onnxruntime.clone(),
        };
        let engine = choose(&engine_settings).context("choosing an engine")?;
        let session = SessionSettings {
            device: settings.device,
            threads: settings.threads,
            kernels: settings.kernels && subject.is_single(),
            ..SessionSettings::cpu()
        };
        let schema = Schema { inputs: subject.inputs.clone(), target: subject.target.clone() };
        let dataset = data::open(&settings.data, &settings.target, settings.header, &schema)?;
        let split = split(&dataset, &settings.split)?;
        let loss = LossSettings {
            loss: subject.loss,
            label_smoothing: settings.label_smoothing,
            class_weights: class_weights(settings, &dataset, &split)?,
        };
        let batch_size = settings.batch_size.min(split.training.len());
        let seed = settings.shuffle.then_some(settings.seed);
        let order = Order::new(split.training.clone(), batch_size, seed);
        let sample = sample(&dataset, &mut order.clone())?;
        let rest = (settings.clipping, settings.accumulate, settings.seed);
        let plan = plan(&subject, &loss, &settings.optimizer, rest);
        let prepared = prepare(&*engine, &plan, sample)?;
        let graph = step_graph(&plan, &prepared)?;
        let data_digest = digest_file(&settings.data)?.to_string();
        Ok(Setup {
            run: run_settings(settings, &order, &subject, &data_digest),
            subject,
            data_digest,
            engine,
            loss,
            dataset,
            split,
            session,
            prepared,
            graph,
            order,
            optimizer: settings.optimizer.clone(),
            clipping: settings.clipping,
            parts: settings.accumulate,
            seed: settings.seed,
        })
    }

    /// # Errors
    /// The engine refuses the graph of a step.
    pub fn trainer(&self) -> Result<Trainer<'_>> {
        let engine = &*self.engine;
        let names: Vec<String> = self.subject.inputs.iter().map(|spec| spec.name.clone()).collect();
        let stepper = Stepper::new(engine, &self.session, &self.graph, &names)?;
        let parts = (&self.prepared.evaluation, &self.graph);
        let inputs = (names.as_slice(), EVALUATED_AT_ONCE);
        let rest = (self.clipping, self.parts, self.seed);
        let plan = plan(&self.subject, &self.loss, &self.optimizer, rest);
        let evaluator = Evaluator::new(engine, &self.session, &plan, parts, inputs)?;
        Ok(Trainer::new(TrainerParts {
            stepper,
            evaluator,
            dataset: &self.dataset,
            order: self.order.clone(),
            validation: &self.split.validation,
            settings: self.run.clone(),
            weights: self.graph.weights,
        }))
    }

    /// The model's own tensors that change, in the order of the trainer's weights.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        let carried = &self.graph.carried[..self.graph.weights];
        carried.iter().map(|carried| carried.input.as_str())
    }

    /// Says what is about to be done.
    pub fn introduce(&self, settings: &Settings, folder: &RunFolder, steps: u64) {
        let trained: usize = self.graph.carried[..self.graph.parameters]
            .iter()
            .map(|carried| carried.initial.element_count())
            .sum();
        let Split { training, validation, test } = &self.split;
        say(format_args!(
            "{}: {trained} parameters in {} tensors, {} · {} · {steps} steps of {} on {} {}",
            self.subject.name,
            self.graph.parameters,
            self.loss.loss,
            settings.optimizer.algorithm,
            settings.batch_size.min(training.len()) * settings.accumulate,
            self.engine.name(),
            self.engine.version(),
        ));
        say(format_args!(
            "{}: {} rows to train on, {} to validate, {} to test · {}",
            settings.data.display(),
            training.len(),
            validation.len(),
            test.len(),
            folder.path().display(),
        ));
    }

    /// What broke, where a loss is no number any more: the first value of the model that is not.
    pub fn explain(&self, trainer: &Trainer<'_>, error: TrainError) -> anyhow::Error {
        let TrainError::LossBroke { rows, .. } = &error else { return error.into() };
        let Ok(batch) = self.dataset.batch(rows) else { return error.into() };
        let Ok(state) = trainer.stepper.state(0..self.graph.weights) else { return error.into() };
        let value = |name: &str| {
            let weight = self.weights().position(|weight| weight == name);
            let input = || self.subject.inputs.iter().position(|spec| spec.name == name);
            let given = || input().map(|index| batch.inputs[index].clone());
            let target = || (name == TARGET).then(|| batch.target.clone());
            weight.map(|index| state[index].clone()).or_else(given).or_else(target)
        };
        let model = match weights_as_inputs(&self.prepared.evaluation, &self.graph) {
            Ok(model) => model,
            Err(_) => return error.into(),
        };
        match first_broken(&*self.engine, &model, &value) {
            Ok(Some(node)) => anyhow::Error::from(error).context(format!("{node} broke first")),
            _ => error.into(),
        }
    }
}

fn plan<'a>(
    subject: &'a Subject,
    loss: &'a LossSettings,
    optimizer: &'a OptimizerSettings,
    (clipping, parts, seed): (Clipping, usize, u64),
) -> StepPlan<'a> {
    StepPlan {
        model: &subject.normalized,
        parameters: &subject.parameters,
        output: &subject.head.logits,
        loss,
        optimizer,
        clipping,
        parts,
        seed,
    }
}

fn run_settings(
    settings: &Settings,
    order: &Order,
    subject: &Subject,
    data_digest: &str,
) -> RunSettings {
    let steps = match settings.length {
        Length::Epochs(epochs) => order.steps(epochs).div_ceil(settings.accumulate as u64),
        Length::Steps(steps) => steps,
    };
    let learning_rate = LearningRate {
        schedule: settings.schedule,
        rate: settings.learning_rate,
        warmup: settings.warmup,
        steps,
    };
    RunSettings {
        loss: subject.loss,
        learning_rate,
        patience: settings.patience,
        fingerprint: fingerprint(settings, &subject.digest, data_digest),
    }
}

/// Weights by which every class counts the same in sum: samples ÷ (classes × samples of the
/// class), as scikit-learn's "balanced".
fn class_weights(settings: &Settings, dataset: &Dataset, split: &Split) -> Result<Vec<f64>> {
    if !settings.balance_classes {
        return Ok(Vec::new());
    }
    let classes = dataset.classes().context("--balance-classes: the target has no classes")?;
    let mut counts = vec![0usize; classes.len()];
    for class in split.training.iter().filter_map(|&row| dataset.class_of(row)) {
        counts[class] += 1;
    }
    let total: usize = counts.iter().sum();
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => total as f64 / (classes.len() * count) as f64,
    };
    Ok(counts.iter().map(weight).collect())
}

/// A batch as the step graph takes it, the target last.
fn sample(dataset: &Dataset, order: &mut Order) -> Result<Vec<Tensor>> {
    let batch = dataset.batch(&order.batch(1))?;
    let mut tensors = batch.inputs;
    tensors.push(batch.target);
    Ok(tensors)
}

/// What must be the same for a run to be the same.
fn fingerprint(settings: &Settings, model: &str, data: &str) -> String {
    let Settings { target, loss, optimizer, batch_size, length, clipping, .. } = settings;
    let Settings { learning_rate, schedule, warmup, trainable, seed, shuffle, split, .. } =
        settings;
    let Settings { label_smoothing, balance_classes, head, accumulate, .. } = settings;
    format!(
        "{model} {data} {target:?} {head:?} {loss:?} {label_smoothing} {balance_classes} \
         {optimizer:?} {learning_rate} {schedule} {warmup} {batch_size} {length:?} {clipping:?} \
         {trainable:?} {seed} {shuffle} {accumulate} {} {}",
        split.validation, split.test
    )
}
