//! One step of training as one graph: the model, its loss, the gradient and the optimiser's update.
//!
//! What changes from step to step (parameters, the optimiser's moments, running statistics) goes
//! in and comes out; so do learning rate and step number, and a step is one run of an ordinary
//! session.

use std::collections::HashSet;

use super::loss::{LossSettings, write_loss};
use super::observe::{Observed, observe};
use super::optimizer::{OptimizerSettings, Updated, write_update};
use super::parameters::recurrent_biases;
use super::training_form::{TrainingForm, training_form};
use super::{Loss, TrainError};
use crate::autodiff::{Emitter, Expr, Facts, Gradient, Written, backward, expand};
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

/// Bounds on gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clipping {
    /// Of all gradients together, as one vector.
    pub norm: Option<f64>,
    /// Of each element.
    pub value: Option<f64>,
}

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
}

/// A tensor that one step hands to the next.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The graph's input, and for parameters the initializer that it came from.
    pub input: String,
    pub output: String,
    pub initial: Tensor,
}

/// The graph and what belongs to its values.
#[derive(Clone, Debug)]
pub struct StepGraph {
    pub model: ModelProto,
    /// The model's own first: parameters in the plan's order, as far as the loss depends on them,
    /// then running statistics. Behind them what the optimiser keeps.
    pub carried: Vec<Carried>,
    /// How many of them are the model's own.
    pub weights: usize,
    pub parameters: usize,
    /// Whether the step also gives [`NORM`].
    pub has_norm: bool,
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
    let as_it_is = with_loss(engine, plan, &runs)?;
    let facts = &as_it_is.observed.facts;
    // Evaluation, too, is of what is trained: written out, it runs wherever training does.
    let expanded = expand(plan.model, facts, plan.output, plan.parameters)?;
    let used = expanded.as_ref().unwrap_or(plan.model);
    let evaluation = match expanded {
        Some(_) => with_loss(engine, &StepPlan { model: used, ..plan.clone() }, &runs)?,
        None => as_it_is,
    };
    let opset = opset_of(used);
    let TrainingForm { model, running, differs } = training_form(used, plan.parameters, opset)?;
    let training = if differs {
        with_loss(engine, &StepPlan { model: &model, ..plan.clone() }, &runs)?
    } else {
        evaluation.clone()
    };
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
    let Changes { parameters: mut carried, moments, norm } = update.write(graph, &reached)?;
    for (input, output) in &prepared.running {
        let proto = initializer(graph, input).expect("running statistics are initializers");
        let (input, output) = (input.clone(), output.clone());
        carried.push(Carried { input, output, initial: tensor(proto)? });
    }
    let weights = carried.len();
    carried.extend(moments);
    let has_norm = norm.is_some();
    let functions = finish(graph, emitter.into_written(), &carried, norm.as_deref(), facts);
    let gradient = Gradient { functions, ..Gradient::default() };
    gradient.append_to(&mut model);
    Ok(StepGraph { model, carried, weights, parameters: reached.len(), has_norm })
}

/// What an update changes.
struct Changes {
    parameters: Vec<Carried>,
    /// First moments, then second ones.
    moments: Vec<Carried>,
    /// The gradients' norm, where it is bounded.
    norm: Option<String>,
}

/// Writes the update behind a gradient.
struct Update<'a, 'g> {
    plan: &'a StepPlan<'a>,
    facts: &'a Facts,
    emitter: &'g Emitter,
}

impl<'g> Update<'_, 'g> {
    fn write(
        &self,
        graph: &GraphProto,
        reached: &[(&String, &String)],
    ) -> Result<Changes, TrainError> {
        let emitter = self.emitter;
        let moments = self.plan.optimizer.moments();
        let biases = self.plan.model.graph.as_ref().map(recurrent_biases).unwrap_or_default();
        let mut updated = Vec::new();
        let mut initials = Vec::new();
        for &(name, gradient) in reached {
            let fact = &self.facts[name];
            let value = emitter.value(name, fact.data_type);
            let kept = (1..=moments)
                .map(|moment| emitter.value(&moment_name(name, moment), fact.data_type));
            updated.push(Updated {
                value,
                gradient: self.clipped(emitter.value(gradient, fact.data_type)),
                moments: kept.collect(),
                decayed: fact.shape.len() >= 2 && !biases.contains(name.as_str()),
            });
            let proto = initializer(graph, name).expect("parameters are initializers");
            initials.push(tensor(proto)?);
        }
        let data_type = updated[0].value.data_type();
        let rate = emitter.value(RATE, data_type);
        let step = emitter.value(STEP, DataType::Int64);
        let (scale, norm) = self.scale(&updated);
        let stepped = write_update(self.plan.optimizer, emitter, (rate, step, scale), &updated);
        let mut carried: Vec<Carried> = Vec::new();
        for (index, (name, _)) in reached.iter().enumerate() {
            let output = stepped[index].value.name().to_string();
            let initial = initials[index].clone();
            carried.push(Carried { input: (*name).clone(), output, initial });
        }
        let mut kept = Vec::new();
        for moment in 1..=moments {
            for (index, (name, _)) in reached.iter().enumerate() {
                let output = stepped[index].moments[moment - 1].name().to_string();
                let like = &initials[index];
                let initial = Tensor::zeros(like.data_type(), like.shape().into())?;
                kept.push(Carried { input: moment_name(name, moment), output, initial });
            }
        }
        let norm = norm.map(|norm| norm.name().to_string());
        Ok(Changes { parameters: carried, moments: kept, norm })
    }

    fn clipped(&self, gradient: Expr<'g>) -> Expr<'g> {
        match self.plan.clipping.value {
            None => gradient,
            Some(bound) => {
                let bounds = [gradient.number(-bound), gradient.number(bound)];
                gradient.call("Clip", &bounds)
            }
        }
    }

    /// What gradients are multiplied by, so that their norm keeps to its bound, and the norm; as
    /// PyTorch's `clip_grad_norm_` computes it.
    fn scale(&self, updated: &[Updated<'g>]) -> (Expr<'g>, Option<Expr<'g>>) {
        let one = updated[0].value.number(1.0);
        let Some(bound) = self.plan.clipping.norm else { return (one, None) };
        let squares: Vec<Expr<'_>> = updated
            .iter()
            .map(|parameter| {
                let gradient = parameter.gradient;
                let axes = self.facts[&*parameter.value.name()].shape.len() as i64;
                (gradient * gradient).sum(&(0..axes).collect::<Vec<_>>(), false)
            })
            .collect();
        let norm = squares[0].call("Sum", &squares[1..]).sqrt();
        ((norm.number(bound) / (norm + 1e-6)).call("Min", &[one]), Some(norm))
    }
}

fn moment_name(parameter: &str, moment: usize) -> String {
    format!("training/moment{moment}/{parameter}")
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
    let names: HashSet<&str> = carried.iter().map(|carried| carried.input.as_str()).collect();
    graph.initializer.retain(|tensor| !names.contains(tensor.name()));
    graph.input.retain(|input| !names.contains(input.name()));
    // A step is of one batch size: what the gradient takes for known, engines may know too.
    for input in &mut graph.input {
        if let Some(fact) = facts.get(input.name()) {
            *input = value_info(input.name(), fact.data_type, Some(&fact.shape));
        }
    }
    let data_type = facts[LOSS].data_type;
    graph.input.push(value_info(RATE, data_type, Some(&[])));
    graph.input.push(value_info(STEP, DataType::Int64, Some(&[])));
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
