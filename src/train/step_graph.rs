//! One step of training as one graph: the model, its loss, the gradient and the optimiser's update.
//!
//! What changes from step to step (parameters, the optimiser's moments, running statistics) goes
//! in and comes out; so do learning rate and step number, and a step is one run of an ordinary
//! session.

use std::collections::HashSet;

use super::differentiable::{Differentiable, differentiable};
use super::loss::{LossSettings, write_loss};
use super::observe::{Observed, observe};
use super::optimizer::OptimizerSettings;
use super::training_form::{TrainingForm, training_form};
use super::update::{Changes, Clipping, Update};
use super::{Loss, TrainError};
use crate::autodiff::{Emitter, Facts, Gradient, Written, backward};
use crate::engine::Engine;
use crate::onnx::build::{operator_set, value_info};
use crate::onnx::graph::{canonical_domain, initializer, value_names};
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto};
use crate::onnx::weights::tensor;
use crate::tensor::{DataType, Dimension, Tensor};

/// Names of what a step takes besides the model's own inputs, and of what it gives.
pub const TARGET: &str = "target";
pub const LOSS: &str = "loss";
pub const RATE: &str = "training/rate";
pub const STEP: &str = "training/step";
/// The norm of all gradients together, before clipping.
pub const NORM: &str = "training/norm";
/// The number of a batch, which counts from 1: what is drawn at random follows from it.
pub const DRAW: &str = "training/draw";
/// Of a part of a step: 1 where gradients of parts before it are to be added, else 0.
pub const CONTINUED: &str = "training/continued";
/// Of a part of a step: 1 where it is the last, after which parameters change, else 0.
pub const FINAL: &str = "training/final";

/// What a step is made of.
#[derive(Clone, Debug)]
pub struct StepPlan<'a> {
    /// Normalised.
    pub model: &'a ModelProto,
    /// Initializers that are trained.
    pub parameters: &'a [String],
    /// The output that the loss is of; logits for classification.
    pub output: &'a str,
    pub loss: &'a LossSettings,
    pub optimizer: &'a OptimizerSettings,
    pub clipping: Clipping,
    /// Batches whose gradients are averaged for one update; 1 or more.
    pub parts: usize,
    /// Of what is drawn at random in a step.
    pub seed: u64,
}

/// A tensor that one step hands to the next.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The graph's input, and for parameters the initializer that it came from.
    pub input: String,
    pub output: String,
    pub initial: Tensor,
    /// The optimiser's update replaces it, which nothing reads it after: a kernel may do that in
    /// place.
    pub updated: bool,
}

/// The graph and what belongs to its values.
#[derive(Clone, Debug)]
pub struct StepGraph {
    pub model: ModelProto,
    /// The model's own first: parameters in the plan's order, as far as the loss depends on them,
    /// then running statistics. Behind them what the optimiser keeps, and the sums of gradients
    /// where a step has several parts.
    pub carried: Vec<Carried>,
    /// How many of them are the model's own.
    pub weights: usize,
    pub parameters: usize,
    /// Whether the step also gives [`NORM`].
    pub has_norm: bool,
    /// As in the plan.
    pub parts: usize,
}

/// A model with its loss, observed.
#[derive(Clone, Debug)]
pub struct WithLoss {
    /// Its only output is [`LOSS`].
    pub model: ModelProto,
    pub observed: Observed,
}

/// A model with its loss, as it is used and as it is trained.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub evaluation: WithLoss,
    training: WithLoss,
    /// As in [`TrainingForm`].
    running: Vec<(String, String)>,
}

/// Puts a loss behind the model, in both forms. `run` gives the model's inputs and then the target.
///
/// # Errors
/// There is no such output, its shape does not fit the loss, or the engine cannot run the model.
pub fn prepare(
    engine: &dyn Engine,
    plan: &StepPlan<'_>,
    run: Vec<Tensor>,
) -> Result<Prepared, TrainError> {
    let runs = [run];
    let Differentiable { model, with_loss: prepared, general } =
        differentiable(engine, plan, &runs)?;
    let used = model.as_ref().unwrap_or(plan.model);
    let opset = opset_of(used);
    let form = training_form(used, plan.parameters, (plan.seed, opset))?;
    let TrainingForm { model, running, differs } = form;
    let training = if differs {
        with_loss(engine, &StepPlan { model: &model, ..plan.clone() }, &runs)?
    } else {
        prepared.clone()
    };
    // Evaluation, too, is of what is trained: written out, it runs wherever training does. But its
    // batches may be of other sizes.
    let evaluation = if general { prepared } else { with_loss(engine, plan, &runs)? };
    Ok(Prepared { evaluation, training, running })
}

/// Puts a loss behind the model. Every run gives the model's inputs and then the target; see
/// [`observe`].
///
/// # Errors
/// There is no such output, or its shape does not fit the loss.
pub fn with_loss(
    engine: &dyn Engine,
    plan: &StepPlan<'_>,
    runs: &[Vec<Tensor>],
) -> Result<WithLoss, TrainError> {
    let mut model = plan.model.clone();
    let targetless: Vec<Vec<Tensor>> =
        runs.iter().map(|run| run[..run.len().saturating_sub(1)].to_vec()).collect();
    let forward = observe(engine, &model, &targetless)?;
    let fact = forward.facts.get(plan.output).ok_or_else(|| no_output(plan))?;
    check_output(plan, &fact.shape)?;
    let opset = opset_of(&model);
    let graph = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
    let emitter = Emitter::new("loss/", opset, value_names(graph));
    let logits = emitter.value(plan.output, fact.data_type);
    let target = target_fact(plan.loss.loss, fact.data_type, &fact.shape);
    let target_type = target.0;
    graph.input.push(value_info(TARGET, target_type, Some(&target.1)));
    let loss = write_loss(plan.loss, logits, fact, emitter.value(TARGET, target_type));
    let name = loss.name();
    append(graph, emitter.into_written());
    rename_output(graph, &name, LOSS);
    graph.output = vec![value_info(LOSS, fact.data_type, Some(&[]))];
    let observed = observe(engine, &model, runs)?;
    Ok(WithLoss { model, observed })
}

fn no_output(plan: &StepPlan<'_>) -> TrainError {
    let outputs = plan.model.graph.iter().flat_map(|graph| &graph.output);
    let known = outputs.map(|output| output.name().to_owned()).collect();
    TrainError::NoOutput { name: plan.output.to_owned(), known }
}

fn check_output(plan: &StepPlan<'_>, shape: &[Dimension]) -> Result<(), TrainError> {
    let expected = match plan.loss.loss {
        Loss::CrossEntropy => {
            if shape.len() >= 2 && matches!(shape[1], Dimension::Fixed(2..)) {
                return Ok(());
            }
            "two axes or more, of which the second counts at least two classes"
        }
        _ if !shape.is_empty() => return Ok(()),
        _ => "one axis or more, of which the first counts samples",
    };
    let (name, loss) = (plan.output.to_owned(), plan.loss.loss.name());
    Err(TrainError::OutputUnfit { name, shape: format!("{shape:?}"), loss, expected })
}

/// Type and shape of the target.
fn target_fact(
    loss: Loss,
    data_type: DataType,
    output: &[Dimension],
) -> (DataType, Vec<Dimension>) {
    if loss != Loss::CrossEntropy {
        return (data_type, output.to_vec());
    }
    let others = output.iter().enumerate().filter(|(axis, _)| *axis != 1);
    (DataType::Int64, others.map(|(_, dimension)| dimension.clone()).collect())
}

/// The whole step for one batch size.
///
/// # Errors
/// A node has no derivative, or the loss depends on no parameter.
pub fn step_graph(plan: &StepPlan<'_>, prepared: &Prepared) -> Result<StepGraph, TrainError> {
    let WithLoss { model, observed } = &prepared.training;
    let facts = &observed.facts;
    let gradient = backward(model, facts, LOSS, plan.parameters)?;
    let mut model = model.clone();
    gradient.append_to(&mut model);
    let reached: Vec<(&String, &String)> = plan
        .parameters
        .iter()
        .zip(&gradient.gradients)
        .filter_map(|(name, gradient)| Some((name, gradient.as_ref()?)))
        .collect();
    if reached.is_empty() {
        return Err(TrainError::NothingReached { parameters: plan.parameters.to_vec() });
    }
    let opset = opset_of(&model);
    let graph = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
    let emitter = Emitter::new("update/", opset, value_names(graph));
    let update = Update { plan, facts, emitter: &emitter };
    let Changes { parameters: mut carried, kept, norm, finite } = update.write(graph, &reached)?;
    for (input, output) in &prepared.running {
        let proto = initializer(graph, input).expect("running statistics are initializers");
        let initial = tensor(proto)?;
        // What a broken batch makes of them is not taken on.
        let value = |name: &str| emitter.value(name, initial.data_type());
        let output = finite.select(value(output), value(input)).name().to_string();
        carried.push(Carried { input: input.clone(), output, initial, updated: false });
    }
    let weights = carried.len();
    carried.extend(kept);
    let has_norm = norm.is_some();
    let functions = finish(graph, emitter.into_written(), &carried, norm.as_deref(), facts);
    let gradient = Gradient { functions, ..Gradient::default() };
    gradient.append_to(&mut model);
    let (parameters, parts) = (reached.len(), plan.parts);
    Ok(StepGraph { model, carried, weights, parameters, has_norm, parts })
}

/// Turns what is carried into inputs and outputs.
fn finish(
    graph: &mut GraphProto,
    written: Written,
    carried: &[Carried],
    norm: Option<&str>,
    facts: &Facts,
) -> Vec<FunctionProto> {
    let functions = written.functions.clone();
    append(graph, written);
    if let Some(norm) = norm {
        rename_output(graph, norm, NORM);
    }
    if initializer(graph, DRAW).is_some() {
        graph.initializer.retain(|tensor| tensor.name() != DRAW);
        graph.input.push(value_info(DRAW, DataType::Int64, Some(&[])));
    }
    let names: HashSet<&str> = carried.iter().map(|carried| carried.input.as_str()).collect();
    graph.initializer.retain(|tensor| !names.contains(tensor.name()));
    graph.input.retain(|input| !names.contains(input.name()));
    // A step is of one batch size: what the gradient takes for known, engines may know too. What
    // the file says of other values may call it open.
    graph.value_info.clear();
    for input in &mut graph.input {
        if let Some(fact) = facts.get(input.name()) {
            *input = value_info(input.name(), fact.data_type, Some(&fact.shape));
        }
    }
    let data_type = facts[LOSS].data_type;
    graph.input.push(value_info(RATE, data_type, Some(&[])));
    graph.input.push(value_info(STEP, DataType::Int64, Some(&[])));
    let is_read = |name: &str| graph.node.iter().any(|node| node.input.iter().any(|it| it == name));
    for name in [CONTINUED, FINAL].into_iter().filter(|name| is_read(name)).collect::<Vec<_>>() {
        graph.input.push(value_info(name, data_type, Some(&[])));
    }
    if norm.is_some() {
        graph.output.push(value_info(NORM, data_type, Some(&[])));
    }
    for carried in carried {
        let shape = carried.initial.shape().iter().map(|&size| Dimension::Fixed(size));
        let shape: Vec<Dimension> = shape.collect();
        let data_type = carried.initial.data_type();
        graph.input.push(value_info(&carried.input, data_type, Some(&shape)));
        graph.output.push(value_info(&carried.output, data_type, Some(&shape)));
    }
    functions
}

fn append(graph: &mut GraphProto, written: Written) {
    graph.node.extend(written.nodes);
    graph.initializer.extend(written.initializers);
}

fn rename_output(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        let names = node.input.iter_mut().chain(&mut node.output);
        names.filter(|name| *name == from).for_each(|name| to.clone_into(name));
    }
}

fn opset_of(model: &ModelProto) -> i64 {
    let own = model.opset_import.iter().find(|set| canonical_domain(set.domain()).is_empty());
    own.map_or(operator_set("", 0).version(), |set| set.version())
}
