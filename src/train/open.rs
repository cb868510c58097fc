//! From a graph in memory to a session: engines read files.

use crate::engine::{Engine, ModelSource, Session, SessionSettings};
use crate::onnx::proto::ModelProto;
use crate::onnx::write;

use super::TrainError;

/// Opens a model that is nowhere on disk. Its weights are in it: none is in another file.
///
/// # Errors
/// The engine refuses it, or the temporary folder is full.
pub fn open(
    engine: &dyn Engine,
    model: &ModelProto,
    settings: &SessionSettings,
) -> Result<Box<dyn Session>, TrainError> {
    let folder = tempfile::tempdir().map_err(TrainError::Temporary)?;
    let path = folder.path().join("model.onnx");
    write(&path, model)?;
    Ok(engine.open(&ModelSource { path }, settings)?)
}
