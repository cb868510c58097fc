//! Model-local functions are replaced by their bodies: tract knows only operators.

use std::path::Path;

use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

use super::errors::{Complaint, Node, guarded};
use super::operators::is_native;
use crate::onnx::inline::inline;
use crate::onnx::{OnnxError, encode, read};

/// The model in a file without its functions, as tract reads it. The file is read in the messages
/// of `onnx`: tract's lack what functions have beyond their bodies. Calls that there are native
/// operators for stay calls where that is asked for.
///
/// # Errors
/// What [`inline`] refuses, and what the reader does.
pub(super) fn inlined(
    framework: &Onnx,
    path: &Path,
    keep_native: bool,
) -> Result<ModelProto, Complaint> {
    let bodies = || -> Result<Vec<u8>, OnnxError> {
        let mut model = read(path)?;
        if keep_native {
            model.functions.retain(|function| !is_native(function.domain(), function.name()));
        }
        inline(&mut model)?;
        encode(path, &model)
    };
    let bytes = bodies().map_err(complaint)?;
    guarded(|| framework.proto_model_for_read(&mut bytes.as_slice()))
}

fn complaint(error: OnnxError) -> Complaint {
    match error {
        OnnxError::NodeUnsupported { node, operator, reason } => {
            Complaint { node: Some(Node { name: node, operator }), reason }
        }
        other => Complaint { node: None, reason: other.to_string() },
    }
}
