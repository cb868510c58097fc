//! A model that tract runs: one plan for all shapes where tract can make one, else a plan per
//! set of input shapes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tract_onnx::prelude::{TValue, TVec};

use super::carrying::TractCarrying;
use super::errors::Complaint;
use super::model::Model;
use super::plan::{Key, Plan, Wanted};
use super::value::{from_tract, to_tract};
use crate::engine::{Carrying, CarryingSession, EngineError, Placement, Session, Signature};
use crate::tensor::{Dimension, Shape, Tensor};

/// Plans kept at once: a plan holds packed weights, so that many shapes cost much memory.
const MAX_PLANS: usize = 16;

/// Sizes tried for the open axes when a model is opened that tract has no symbolic plan for: one
/// that fits is proof that tract can run it.
const TRIED_SIZES: [usize; 5] = [1, 2, 32, 224, 576];

pub(super) struct TractSession {
    model: Model,
    signature: Arc<Signature>,
    placement: Placement,
    /// Whether plans are for all shapes.
    symbolic: bool,
    /// The most recently used last.
    plans: Vec<(Key, Plan)>,
}

impl TractSession {
    /// Finds out how tract runs the model.
    ///
    /// # Errors
    /// It cannot, at any of the sizes tried, and always for the same node's sake.
    pub fn new(
        path: &Path,
        model: Model,
        placement: Placement,
    ) -> Result<TractSession, EngineError> {
        let signature = Arc::new(model.signature.clone());
        let mut session =
            TractSession { model, signature, placement, symbolic: false, plans: Vec::new() };
        if !session.ranks_are_known() {
            return Ok(session);
        }
        match session.try_build(|_, _| Wanted::Symbolic) {
            Ok(()) => session.symbolic = true,
            Err(_) => session.prove_by_size().map_err(|complaint| complaint.refusal(path))?,
        }
        Ok(session)
    }

    fn ranks_are_known(&self) -> bool {
        self.signature.inputs.iter().all(|spec| spec.shape.is_some())
    }

    /// Builds a plan for all outputs and required inputs, of the shapes that `wanted` says.
    fn try_build(
        &mut self,
        wanted: impl Fn(usize, &[Dimension]) -> Wanted,
    ) -> Result<(), Complaint> {
        let inputs = self.signature.inputs.iter().enumerate().map(|(index, spec)| {
            let shape = spec.shape.as_deref().unwrap_or_default();
            (!spec.optional).then(|| wanted(index, shape))
        });
        let key =
            Key { inputs: inputs.collect(), outputs: (0..self.signature.outputs.len()).collect() };
        let plan = Plan::build(&self.model, &key)?;
        self.plans.push((key, plan));
        Ok(())
    }

    fn prove_by_size(&mut self) -> Result<(), Complaint> {
        let mut complaints: Vec<Complaint> = Vec::new();
        for batch in [1, 2] {
            for size in TRIED_SIZES {
                // The first axis is the batch more often than not, and should stay small.
                let dimension = |(axis, dimension): (usize, &Dimension)| match dimension {
                    Dimension::Fixed(fixed) => *fixed,
                    Dimension::Named(_) | Dimension::Unknown if axis == 0 => batch,
                    Dimension::Named(name) if self.is_first_axis(name) => batch,
                    Dimension::Named(_) | Dimension::Unknown => size,
                };
                let key_of = |shape: &[Dimension]| {
                    Wanted::Shape(shape.iter().enumerate().map(dimension).collect())
                };
                let inputs: Vec<Wanted> = self
                    .signature
                    .inputs
                    .iter()
                    .map(|spec| key_of(spec.shape.as_deref().unwrap_or_default()))
                    .collect();
                match self.try_build(|index, _| inputs[index].clone()) {
                    Ok(()) => return Ok(()),
                    Err(complaint) => complaints.push(complaint),
                }
            }
        }
        let first = complaints.swap_remove(0);
        // Different nodes at different sizes say that the sizes are to blame, not the operators.
        if complaints.iter().all(|complaint| complaint.node == first.node) {
            return Err(first);
        }
        Ok(())
    }

    fn is_first_axis(&self, name: &str) -> bool {
        let first = |shape: &Vec<Dimension>| matches!(shape.first(), Some(Dimension::Named(first)) if first == name);
        self.signature.inputs.iter().filter_map(|spec| spec.shape.as_ref()).any(first)
    }

    /// Whether axes of one name have one size, as a symbolic plan takes for granted.
    fn names_agree(&self, inputs: &[Option<Tensor>]) -> bool {
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        let pairs = self.signature.inputs.iter().zip(inputs);
        let tensors =
            pairs.filter_map(|(spec, tensor)| Some((spec.shape.as_ref()?, tensor.as_ref()?)));
        for (dimensions, tensor) in tensors {
            for (dimension, &size) in dimensions.iter().zip(tensor.shape()) {
                if let Dimension::Named(name) = dimension
                    && *sizes.entry(name).or_insert(size) != size
                {
                    return false;
                }
            }
        }
        true
    }

    fn key(&self, inputs: &[Option<Tensor>], outputs: &[usize]) -> Key {
        let symbolic = self.symbolic && self.names_agree(inputs);
        let wanted = |tensor: &Tensor| {
            if symbolic {
                Wanted::Symbolic
            } else {
                Wanted::Shape(Shape::from_slice(tensor.shape()))
            }
        };
        let inputs = inputs.iter().map(|input| input.as_ref().map(wanted)).collect();
        Key { inputs, outputs: outputs.to_vec() }
    }

    /// Runs the plan for a key, which is made now if it is not there.
    fn run_plan(&mut self, key: Key, inputs: TVec<TValue>) -> Result<TVec<TValue>, Complaint> {
        let kept = self.plans.iter().position(|(kept, _)| *kept == key);
        let (key, mut plan) = match kept {
            Some(index) => self.plans.remove(index),
            None => {
                if self.plans.len() == MAX_PLANS {
                    self.plans.remove(0);
                }
                let plan = Plan::build(&self.model, &key)?;
                (key, plan)
            }
        };
        let results = plan.run(&self.model, inputs);
        self.plans.push((key, plan));
        results
    }
}

impl Session for TractSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        self.signature.check_run(inputs, outputs)?;
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = TVec::new();
        for (tensor, spec) in inputs.iter().zip(&self.signature.inputs) {
            let Some(tensor) = tensor else { continue };
            let value = to_tract(tensor).map_err(|reason| EngineError::InputsRefused {
                reason: format!("input {:?}: {reason}", spec.name),
            })?;
            values.push(value.into());
        }
        let key = self.key(inputs, outputs);
        let results = self.run_plan(key, values).map_err(Complaint::run_failure)?;
        let mut tensors = Vec::with_capacity(outputs.len());
        for (value, &index) in results.into_iter().zip(outputs) {
            let spec = &self.signature.outputs[index];
            tensors.push(from_tract(value, spec.data_type).map_err(|reason| {
                EngineError::RunFailed { reason: format!("output {:?}: {reason}", spec.name) }
            })?);
        }
        Ok(tensors)
    }

    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError> {
        let TractSession { model, signature, .. } = *self;
        Ok(Box::new(TractCarrying::new(model, signature, carrying)?))
    }
}
