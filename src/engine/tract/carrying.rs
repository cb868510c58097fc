//! A session whose state is handed from run to run as tract's own tensors: nothing is copied, and
//! who is a tensor's only owner may replace it in place.

use std::ops::Range;
use std::sync::Arc;

use tract_onnx::prelude::{TValue, TVec};

use super::errors::Complaint;
use super::model::Model;
use super::plan::{Key, Plan, Wanted};
use super::value::{copy_of, from_tract, to_tract};
use crate::engine::carrying::check_state;
use crate::engine::{Carrying, CarryingSession, EngineError, Signature};
use crate::tensor::{DataType, Shape, Tensor};

pub(super) struct TractCarrying {
    model: Model,
    signature: Arc<Signature>,
    carrying: Carrying,
    /// Made at the first run: all others have its shapes.
    plan: Option<(Key, Plan)>,
    /// What is carried is always of these types and shapes.
    kinds: Vec<(DataType, Shape)>,
    /// Empty after a run that failed: it took the state along.
    state: Vec<TValue>,
}

impl TractCarrying {
    /// # Errors
    /// tract has no such type.
    pub fn new(
        model: Model,
        signature: Arc<Signature>,
        carrying: Carrying,
    ) -> Result<TractCarrying, EngineError> {
        let kind = |tensor: &Tensor| (tensor.data_type(), Shape::from_slice(tensor.shape()));
        let kinds = carrying.initial.iter().map(kind).collect();
        let state = values_of(&carrying.initial)?;
        let carrying = Carrying { initial: Vec::new(), ..carrying };
        Ok(TractCarrying { model, signature, carrying, plan: None, kinds, state })
    }

    /// Where an input is among what is carried.
    fn place_of(&self, input: usize) -> Option<usize> {
        self.carrying.carried.iter().position(|carry| carry.input == input)
    }

    fn key(&self, inputs: &[Option<Tensor>]) -> Key {
        let wanted = |index: usize| {
            let carried = self.place_of(index).map(|place| self.kinds[place].1.clone());
            let given = || inputs.get(index)?.as_ref().map(|it| Shape::from_slice(it.shape()));
            carried.or_else(given).map(Wanted::Shape)
        };
        let carried = self.carrying.carried.iter().map(|carry| carry.output);
        Key {
            inputs: (0..self.signature.inputs.len()).map(wanted).collect(),
            outputs: self.carrying.reported.iter().copied().chain(carried).collect(),
        }
    }

    /// All that a run is given; the state is taken.
    fn values(&mut self, inputs: &[Option<Tensor>]) -> Result<TVec<TValue>, EngineError> {
        let mut given = Vec::new();
        for (index, spec) in self.signature.inputs.iter().enumerate() {
            let tensor = inputs.get(index).and_then(Option::as_ref);
            let value = tensor.map(to_tract).transpose().map_err(|reason| {
                EngineError::InputsRefused { reason: format!("input {:?}: {reason}", spec.name) }
            })?;
            given.push((self.place_of(index), value));
        }
        let mut state: Vec<Option<TValue>> =
            std::mem::take(&mut self.state).into_iter().map(Some).collect();
        let value = |(place, given): (Option<usize>, Option<_>)| match place {
            Some(place) => state[place].take(),
            None => given.map(TValue::from),
        };
        Ok(given.into_iter().filter_map(value).collect())
    }
}

fn values_of(state: &[Tensor]) -> Result<Vec<TValue>, EngineError> {
    let value = |tensor: &Tensor| to_tract(tensor).map(TValue::from);
    let values = state.iter().map(value).collect::<Result<_, _>>();
    values.map_err(|reason| EngineError::InputsRefused { reason })
}

impl CarryingSession for TractCarrying {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError> {
        if self.state.len() != self.kinds.len() {
            return Err(lost());
        }
        self.carrying.check_inputs(&self.signature, inputs)?;
        let key = self.key(inputs);
        let mut plan = match self.plan.take() {
            Some((first, plan)) if first == key => plan,
            None => Plan::build(&self.model, &key).map_err(Complaint::run_failure)?,
            Some((first, plan)) => {
                self.plan = Some((first, plan));
                let reason = "inputs have other shapes than in the first run".to_owned();
                return Err(EngineError::InputsRefused { reason });
            }
        };
        let values = self.values(inputs)?;
        let mut results = plan.run(&self.model, values).map_err(Complaint::run_failure)?;
        self.plan = Some((key, plan));
        self.state = results.drain(self.carrying.reported.len()..).collect();
        let specs = self.carrying.reported.iter().map(|&index| &self.signature.outputs[index]);
        let reported = results.into_iter().zip(specs).map(|(value, spec)| {
            from_tract(value, spec.data_type).map_err(|reason| EngineError::RunFailed {
                reason: format!("output {:?}: {reason}", spec.name),
            })
        });
        reported.collect()
    }

    fn state(&self, range: Range<usize>) -> Result<Vec<Tensor>, EngineError> {
        let values = self.state.get(range.clone()).ok_or_else(lost)?.iter();
        let copies = values.zip(&self.kinds[range]).map(|(value, (data_type, _))| {
            copy_of(value, *data_type).map_err(|reason| EngineError::RunFailed { reason })
        });
        copies.collect()
    }

    fn set_state(&mut self, state: &[Tensor]) -> Result<(), EngineError> {
        check_state(state, self.kinds.iter().map(|(data_type, shape)| (*data_type, &shape[..])))?;
        self.state = values_of(state)?;
        Ok(())
    }
}

fn lost() -> EngineError {
    EngineError::RunFailed { reason: "a run that failed before took the state along".to_owned() }
}
