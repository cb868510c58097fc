//! What an engine can fail with, by what a caller can do about it.

use std::any::Any;
use std::path::PathBuf;

/// Failure to open or run a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("ONNX Runtime's library was not found; looked at {}; run `onnxd runtime install`, \
             or name it with --onnxruntime", looked_at.join(", "))]
    LibraryMissing { looked_at: Vec<String> },
    #[error("{}: not usable as ONNX Runtime's library: {reason}", path.display())]
    LibraryUnusable { path: PathBuf, reason: String },
    #[error("device {device} cannot be used: {reason}")]
    DeviceUnavailable { device: String, reason: String },
    #[error("{}: {reason}", path.display())]
    ModelUnreadable { path: PathBuf, reason: String },
    #[error("{}: not a usable ONNX model: {reason}", path.display())]
    ModelInvalid { path: PathBuf, reason: String },
    #[error("{}: node {node:?} has operator {operator}, which {engine} cannot run: {reason}",
            path.display())]
    OperatorUnsupported {
        path: PathBuf,
        engine: &'static str,
        node: String,
        operator: String,
        reason: String,
    },
    #[error("{}: {name:?} is {kind}; only tensors of the protocol's types can be served",
            path.display())]
    TypeUnsupported { path: PathBuf, name: String, kind: String },
    /// The inputs were refused by the model: the request's fault, as far as the engine can tell.
    #[error("the model refused its inputs: {reason}")]
    InputsRefused { reason: String },
    #[error("the model failed while it ran: {reason}")]
    RunFailed { reason: String },
}

/// What a caught panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
