//! What can be wrong with a model file, by what a caller can do about it.

use std::path::PathBuf;

use super::graph::{node_label, operator_label};
use super::proto::NodeProto;

/// Failure to read, understand or write a model file.
///
/// What concerns the file as a whole names the file. What concerns something within (a tensor, an
/// input) names that; whoever knows the file adds its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    #[error("{}: no such file", path.display())]
    Missing { path: PathBuf },
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: the file is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{}: {size} bytes, more than the {limit} that a model file can have; larger models \
             keep their weights in external data files", path.display())]
    TooLarge { path: PathBuf, size: u64, limit: u64 },
    #[error("{}: its {size} bytes would take {estimate} bytes of memory once decoded, more than \
             the {limit} that a model file of this size may take", path.display())]
    TooLargeDecoded { path: PathBuf, size: u64, estimate: u64, limit: u64 },
    #[error("{}: truncated: needs at least {expected} bytes, has {actual}", path.display())]
    Truncated { path: PathBuf, expected: u64, actual: u64 },
    #[error("{}: not an ONNX model: {reason}", path.display())]
    NotOnnx { path: PathBuf, reason: String },
    #[error("{}: the model has no graph", path.display())]
    NoGraph { path: PathBuf },
    #[error("{}: the model imports no operator set (opset_import is empty)", path.display())]
    NoOpset { path: PathBuf },
    #[error("{}: cannot be written: {reason}", path.display())]
    Unwritable { path: PathBuf, reason: String },
    /// An input, output or weight of a type that tensors of this program cannot have.
    #[error("{name:?} is {kind}; only tensors of the protocol's types can be served")]
    TypeUnsupported { name: String, kind: String },
    #[error("tensor {name:?}: {reason}")]
    TensorInvalid { name: String, reason: String },
    #[error("tensor {name:?}: external data {location:?}: {reason}")]
    ExternalData { name: String, location: String, reason: String },
    #[error("operators of version {version}; those from {oldest} to {newest} are known")]
    OperatorsUnknown { version: i64, oldest: i64, newest: i64 },
    /// A node that cannot be brought into the form that is worked with.
    #[error("node {node:?} ({operator}): {reason}")]
    NodeUnsupported { node: String, operator: String, reason: String },
    #[error("the model has no weight {name:?}")]
    WeightUnknown { name: String },
}

impl OnnxError {
    pub(super) fn node(node: &NodeProto, reason: impl Into<String>) -> OnnxError {
        OnnxError::NodeUnsupported {
            node: node_label(node).to_owned(),
            operator: operator_label(node),
            reason: reason.into(),
        }
    }
}
