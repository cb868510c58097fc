//! Why training cannot begin or go on.

use std::path::PathBuf;

use crate::autodiff::AutodiffError;
use crate::data::DataError;
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
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("a folder for temporary files: {0}")]
    Temporary(std::io::Error),
    #[error("input {name:?} has no sample to run the model with")]
    NoSample { name: String },
    #[error("no parameter matches {pattern:?}; there are {}", list(known))]
    NothingMatches { pattern: String, known: Vec<String> },
    #[error("the model has no trainable parameter: no float initializer with several elements")]
    NoParameters,
    #[error("the loss does not depend on any of the parameters to train: {}", list(parameters))]
    NothingReached { parameters: Vec<String> },
    #[error("the model has no output {name:?}; there are {}", list(known))]
    NoOutput { name: String, known: Vec<String> },
    #[error("output {name:?} has shape {shape}, which {loss} cannot take: expected {expected}")]
    OutputUnfit { name: String, shape: String, loss: &'static str, expected: &'static str },
    #[error("{}: is no checkpoint: {reason}", path.display())]
    NoCheckpoint { path: PathBuf, reason: String },
    #[error("the checkpoint is of another run: its model, data or settings differ")]
    OtherRun,
    #[error(
        "the loss of step {step} is {loss}: the weights are those of the step before it; try a \
         lower learning rate, or --clip-norm"
    )]
    LossBroke { step: u64, loss: f64, rows: Vec<usize> },
    #[error("what the run does cannot be written down: {reason}")]
    Record { reason: String },
    #[error("the model has no graph")]
    NoGraph,
    #[error("value {name:?} has {first:?} axes in one run and {second:?} in another")]
    RankChanges { name: String, first: usize, second: usize },
}

/// Some names, for a message.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
