//! Which engine serves: the choice that `--engine` asks for.

use std::sync::Arc;

use super::onnxruntime::OnnxRuntime;
use super::onnxruntime::search::{Search, search};
use super::tract::Tract;
use super::{Engine, EngineChoice, EngineError, EngineSettings};

/// The engine that `settings` ask for. `auto` takes ONNX Runtime where its library is found.
///
/// # Errors
/// ONNX Runtime was asked for and cannot be loaded; or `auto`, and a library is there but cannot
/// be used: running something slower without a word would be worse than not starting.
pub fn choose(settings: &EngineSettings) -> Result<Arc<dyn Engine>, EngineError> {
    choose_from(settings, &search(settings.onnxruntime_library.as_deref()))
}

/// [`choose`] from a search that was already made, for callers that log what was looked at.
///
/// # Errors
/// As `choose`.
pub fn choose_from(
    settings: &EngineSettings,
    search: &Search,
) -> Result<Arc<dyn Engine>, EngineError> {
    match settings.engine {
        EngineChoice::Tract => Ok(Arc::new(Tract)),
        EngineChoice::OnnxRuntime => Ok(Arc::new(OnnxRuntime::load(search)?)),
        EngineChoice::Auto => match OnnxRuntime::load(search) {
            Ok(engine) => Ok(Arc::new(engine)),
            Err(EngineError::LibraryMissing { .. }) => Ok(Arc::new(Tract)),
            Err(error) => Err(error),
        },
    }
}
