//! Why training cannot begin or go on.

use crate::autodiff::AutodiffError;
use crate::engine::EngineError;
use crate::onnx::OnnxError;
use crate::tensor::TensorError;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error(transparent)]
    Autodiff(#[from] AutodiffError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("a folder for temporary files: {0}")]
    Temporary(std::io::Error),
    #[error("input {name:?} has no sample to run the model with")]
    NoSample { name: String },
    #[error("the model has no graph")]
    NoGraph,
    #[error("value {name:?} has {first:?} axes in one run and {second:?} in another")]
    RankChanges { name: String, first: usize, second: usize },
}
