//! The gradient of a model as a model: any ONNX runtime can compute it.

use super::differentiable::differentiable;
use super::sample::pairs;
use super::step_graph::{LOSS, StepPlan, WithLoss};
use super::{Clipping, LossSettings, OptimizerSettings, TrainError};
use crate::autodiff::backward;
use crate::engine::Engine;
use crate::onnx::build::{GraphBuilder, Node, value_info};
use crate::onnx::facts::signature;
use crate::onnx::proto::ModelProto;
use crate::tensor::{DataType, Dimension, Shape, Tensor};
use crate::train::{Algorithm, Loss};

/// What a gradient is of.
#[derive(Clone, Debug)]
pub struct GradientPlan<'a> {
    /// Normalised.
    pub model: &'a ModelProto,
    pub parameters: &'a [String],
    pub output: &'a str,
    pub loss: &'a LossSettings,
}

/// The suffix of a gradient's name.
const SUFFIX: &str = ".gradient";

/// The gradient graph: inputs are the model's and `target`; outputs are `loss`, and `NAME.gradient`
/// for each parameter. Open axes stay open.
///
/// # Errors
/// The engine cannot run the model at any size that is tried, or a node has no derivative.
pub fn gradient_file(
    engine: &dyn Engine,
    plan: &GradientPlan<'_>,
) -> Result<ModelProto, TrainError> {
    let optimizer = OptimizerSettings::of(Algorithm::Sgd);
    let step = StepPlan {
        model: plan.model,
        parameters: plan.parameters,
        output: plan.output,
        loss: plan.loss,
        optimizer: &optimizer,
        clipping: Clipping::default(),
        parts: 1,
        seed: 0,
    };
    let WithLoss { mut model, observed } = observed(engine, &step)?;
    let gradient = backward(&model, &observed.facts, LOSS, plan.parameters)?;
    gradient.append_to(&mut model);
    let graph = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
    let mut named = GraphBuilder::new("names");
    for (parameter, gradient) in plan.parameters.iter().zip(&gradient.gradients) {
        let fact = &observed.facts[parameter];
        let name = format!("{parameter}{SUFFIX}");
        match gradient {
            Some(gradient) => {
                named.node(Node::new("Identity", &[gradient]).name(&name).output(&name));
            }
            // The loss does not depend on it.
            None => {
                let sizes: Shape = fact.shape.iter().map(size).collect();
                named.initializer(&name, &Tensor::zeros(fact.data_type, sizes)?);
            }
        }
        graph.output.push(value_info(&name, fact.data_type, Some(&fact.shape)));
    }
    let named = named.into_graph();
    graph.node.extend(named.node);
    graph.initializer.extend(named.initializer);
    Ok(model)
}

fn size(dimension: &Dimension) -> usize {
    match dimension {
        Dimension::Fixed(size) => *size,
        Dimension::Named(_) | Dimension::Unknown => 0,
    }
}

/// Runs the model at the first sizes that it takes.
fn observed(engine: &dyn Engine, plan: &StepPlan<'_>) -> Result<WithLoss, TrainError> {
    let inputs = signature(plan.model)?.inputs;
    let inputs: Vec<_> = inputs.into_iter().filter(|spec| !spec.optional).collect();
    let unranked = inputs.iter().find(|spec| spec.shape.is_none());
    let unranked = unranked.map(|spec| TrainError::NoSample { name: spec.name.clone() });
    let pairs = pairs(&inputs).ok_or_else(|| unranked.unwrap_or(TrainError::NoGraph))?;
    let mut first = None;
    for pair in pairs {
        let run = |inputs: &Vec<Tensor>| -> Result<Vec<Tensor>, TrainError> {
            let mut run = inputs.clone();
            run.push(target(engine, plan, inputs)?);
            Ok(run)
        };
        let runs = pair.iter().map(run).collect::<Result<Vec<_>, _>>();
        match runs.and_then(|runs| differentiable(engine, plan, &runs)) {
            Ok(found) => return Ok(found.with_loss),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(TrainError::NoGraph))
}

/// A target for these inputs: of the output's shape, without the class axis for classes.
fn target(
    engine: &dyn Engine,
    plan: &StepPlan<'_>,
    inputs: &[Tensor],
) -> Result<Tensor, TrainError> {
    let facts = super::observe(engine, plan.model, &[inputs.to_vec()])?.facts;
    let Some(fact) = facts.get(plan.output) else {
        let (name, known) = (plan.output.to_owned(), Vec::new());
        return Err(TrainError::NoOutput { name, known });
    };
    let mut shape: Shape = fact.shape.iter().map(size).collect();
    if plan.loss.loss != Loss::CrossEntropy {
        return Ok(Tensor::zeros(fact.data_type, shape)?);
    }
    if shape.len() > 1 {
        shape.remove(1);
    }
    Ok(Tensor::zeros(DataType::Int64, shape)?)
}
