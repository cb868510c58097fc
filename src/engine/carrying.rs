//! Sessions that keep values from one run to the next: what a step of training changes.

use std::ops::Range;

use super::signature::{Signature, check_input};
use super::{EngineError, Session};
use crate::tensor::{DataType, Tensor};

/// A value that a run hands to the next: an input, and the output that takes its place. Indices
/// into the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carry {
    pub input: usize,
    pub output: usize,
    /// Whether one piece of memory may be both: nothing reads the input any more once the output
    /// is written. Whoever built the graph vouches for that.
    pub in_place: bool,
}

/// What a session is to keep.
#[derive(Clone, Debug)]
pub struct Carrying {
    pub carried: Vec<Carry>,
    /// What the first run is given, in the order of `carried`.
    pub initial: Vec<Tensor>,
    /// Outputs that every run answers.
    pub reported: Vec<usize>,
}

/// A session that keeps its state. Opened from an ordinary one by [`Session::carry`].
pub trait CarryingSession: Send {
    /// Runs once: the state becomes what it computed, the reported outputs are the answer.
    /// `inputs` are those of the signature; what is carried is `None`.
    ///
    /// # Errors
    /// The engine failed, or an input has not the shape that it had before; the state is then as
    /// it was, or lost.
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError>;

    /// Copies of some of the state.
    ///
    /// # Errors
    /// It cannot be copied, or a failed run lost it.
    fn state(&self, range: Range<usize>) -> Result<Vec<Tensor>, EngineError>;

    /// Goes on from another state, of the same types and shapes.
    ///
    /// # Errors
    /// It has others, or cannot be copied.
    fn set_state(&mut self, state: &[Tensor]) -> Result<(), EngineError>;
}

/// Any session as one that keeps its state: it is given to every run, and taken from it.
pub struct Replayed {
    session: Box<dyn Session>,
    carrying: Carrying,
    state: Vec<Tensor>,
}

impl Replayed {
    pub fn new(session: Box<dyn Session>, mut carrying: Carrying) -> Replayed {
        let state = std::mem::take(&mut carrying.initial);
        Replayed { session, carrying, state }
    }
}

impl CarryingSession for Replayed {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError> {
        let mut inputs = inputs.to_vec();
        for (carry, tensor) in self.carrying.carried.iter().zip(&self.state) {
            inputs[carry.input] = Some(tensor.clone());
        }
        let carried = self.carrying.carried.iter().map(|carry| carry.output);
        let outputs: Vec<usize> = self.carrying.reported.iter().copied().chain(carried).collect();
        let mut results = self.session.run(&inputs, &outputs)?;
        self.state = results.split_off(self.carrying.reported.len());
        Ok(results)
    }

    fn state(&self, range: Range<usize>) -> Result<Vec<Tensor>, EngineError> {
        Ok(self.state[range].to_vec())
    }

    fn set_state(&mut self, state: &[Tensor]) -> Result<(), EngineError> {
        let own = self.state.iter().map(|tensor| (tensor.data_type(), tensor.shape()));
        check_state(state, own)?;
        self.state = state.to_vec();
        Ok(())
    }
}

impl Carrying {
    /// Whether a run may be given these inputs: all but what is carried.
    ///
    /// # Errors
    /// Names the input and what was expected of it.
    pub(super) fn check_inputs(
        &self,
        signature: &Signature,
        inputs: &[Option<Tensor>],
    ) -> Result<(), EngineError> {
        for (index, spec) in signature.inputs.iter().enumerate() {
            if !self.carried.iter().any(|carry| carry.input == index) {
                check_input(spec, inputs.get(index).and_then(Option::as_ref))?;
            }
        }
        Ok(())
    }
}

/// Whether a state has these types and shapes.
///
/// # Errors
/// It has others.
pub(super) fn check_state<'a>(
    state: &[Tensor],
    expected: impl ExactSizeIterator<Item = (DataType, &'a [usize])>,
) -> Result<(), EngineError> {
    let refused = |reason: String| Err(EngineError::InputsRefused { reason });
    if state.len() != expected.len() {
        return refused(format!("a state of {} tensors, expected {}", state.len(), expected.len()));
    }
    for (index, (tensor, (data_type, shape))) in state.iter().zip(expected).enumerate() {
        if (tensor.data_type(), tensor.shape()) != (data_type, shape) {
            let actual = format!("{} {:?}", tensor.data_type(), tensor.shape());
            let expected = format!("{data_type} {shape:?}");
            return refused(format!(
                "tensor {index} of the state is {actual}, expected {expected}"
            ));
        }
    }
    Ok(())
}
