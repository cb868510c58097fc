//! What a session says of itself.

use crate::tensor::TensorSpec;

use super::Device;

/// A model's inputs and outputs, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
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
