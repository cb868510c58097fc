//! A model made ready to be differentiated, by what is seen of it: of an `If` whose condition
//! follows from shapes the branch that is taken, and operators written out that have no derivative
//! of their own.

use super::TrainError;
use super::observe::observe;
use super::step_graph::{StepPlan, WithLoss, with_loss};
use crate::autodiff::expand;
use crate::engine::Engine;
use crate::onnx::branches::{has_branches, take_branches};
use crate::onnx::normalize;
use crate::onnx::proto::ModelProto;
use crate::tensor::Tensor;

/// A model without a loss, and with it.
pub(super) struct Differentiable {
    /// `None` where it is the plan's own.
    pub model: Option<ModelProto>,
    pub with_loss: WithLoss,
    /// Whether it computes the same for other sizes of its inputs than those that were run.
    pub general: bool,
}

/// Every run gives the model's inputs and then the target.
///
/// # Errors
/// The engine cannot run the model, or a node cannot be written out.
pub(super) fn differentiable(
    engine: &dyn Engine,
    plan: &StepPlan<'_>,
    runs: &[Vec<Tensor>],
) -> Result<Differentiable, TrainError> {
    let taken = without_branches(engine, plan.model, runs)?;
    let used = taken.as_ref().unwrap_or(plan.model);
    let general = taken.is_none();
    let as_it_is = with_loss(engine, &StepPlan { model: used, ..plan.clone() }, runs)?;
    let facts = &as_it_is.observed.facts;
    match expand(used, facts, plan.output, plan.parameters)? {
        Some(model) => {
            let with_loss = with_loss(engine, &StepPlan { model: &model, ..plan.clone() }, runs)?;
            Ok(Differentiable { model: Some(model), with_loss, general })
        }
        None => Ok(Differentiable { model: taken, with_loss: as_it_is, general }),
    }
}

/// The model with the branches that these runs take, as far as shapes decide; `None` where they
/// decide nothing.
fn without_branches(
    engine: &dyn Engine,
    model: &ModelProto,
    runs: &[Vec<Tensor>],
) -> Result<Option<ModelProto>, TrainError> {
    let inputs: Vec<Vec<Tensor>> =
        runs.iter().map(|run| run[..run.len().saturating_sub(1)].to_vec()).collect();
    let mut taken: Option<ModelProto> = None;
    // A branch may branch again.
    while has_branches(taken.as_ref().unwrap_or(model)) {
        let mut next = taken.clone().unwrap_or_else(|| model.clone());
        let observed = observe(engine, &next, &inputs)?;
        if !take_branches(&mut next, &observed.constants) {
            break;
        }
        normalize(&mut next)?;
        taken = Some(next);
    }
    Ok(taken)
}
