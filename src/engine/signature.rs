//! What a session says of itself.

use crate::tensor::{Tensor, TensorSpec};

use super::{Device, EngineError};

/// A model's inputs and outputs, each in the file's order; inputs that a request may leave out
/// come after those it may not.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Whether a session may be run so: one entry per input, each of the input's type and of a
    /// shape that it admits, nothing left out that has no default, and outputs that exist.
    ///
    /// # Errors
    /// Names the input or output and what was expected of it.
    pub fn check_run(
        &self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<(), EngineError> {
        let refused = |reason: String| Err(EngineError::InputsRefused { reason });
        if inputs.len() != self.inputs.len() {
            let (expected, actual) = (self.inputs.len(), inputs.len());
            return refused(format!("the model has {expected} inputs, {actual} came"));
        }
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            check_input(spec, tensor.as_ref())?;
        }
        match outputs.iter().find(|&&index| index >= self.outputs.len()) {
            Some(index) => refused(format!("the model has no output {index}")),
            None => Ok(()),
        }
    }
}

/// Whether an input may be given so, or left out.
///
/// # Errors
/// As [`Signature::check_run`].
pub(super) fn check_input(spec: &TensorSpec, tensor: Option<&Tensor>) -> Result<(), EngineError> {
    let refused = |reason: String| Err(EngineError::InputsRefused { reason });
    let name = &spec.name;
    match tensor {
        None if spec.optional => Ok(()),
        None => refused(format!("input {name:?} is missing")),
        Some(tensor) if tensor.data_type() != spec.data_type => {
            let (expected, actual) = (spec.data_type, tensor.data_type());
            refused(format!("input {name:?} is {expected}, not {actual}"))
        }
        Some(tensor) if !spec.admits(tensor.shape()) => {
            let (expected, actual) = (spec.shape_text(), tensor.shape());
            refused(format!("input {name:?} has shape {expected}, not {actual:?}"))
        }
        Some(_) => Ok(()),
    }
}

/// How many nodes one provider took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlacement {
    /// ONNX Runtime's name, such as `CUDAExecutionProvider`; `tract` for tract.
    pub provider: String,
    pub nodes: usize,
}

/// Where a session really runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub engine: &'static str,
    pub engine_version: String,
    pub device: Device,
    /// Empty where the engine cannot tell.
    pub nodes: Vec<NodePlacement>,
    /// Why a better device was not taken, where `auto` fell back.
    pub fallback_reason: Option<String>,
}
