//! Loading the library that a search found: once per process.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::search::Search;
use crate::engine::EngineError;

/// The library of this process.
#[derive(Clone)]
pub(super) struct Loaded {
    pub path: PathBuf,
    pub version: String,
    pub environment: Environment,
}

/// Set by the first successful load and never again: a process has one ONNX Runtime.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads the library that the search found.
///
/// # Errors
/// None was found, it is unusable, or another one is already loaded in this process.
pub(super) fn load(search: &Search) -> Result<Loaded, EngineError> {
    let (path, version) = search.found().ok_or_else(|| search.error())?;
    let unusable = |reason: String| EngineError::LibraryUnusable { path: path.to_owned(), reason };
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = slot.as_ref() {
        if loaded.path == path {
            return Ok(loaded.clone());
        }
        let other = loaded.path.display();
        return Err(unusable(format!("this process already runs ONNX Runtime from {other}")));
    }
    let environment = ort::init_from(path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("onnxd")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    // Below warnings ONNX Runtime formats thousands of lines per session, only to be filtered.
    environment.set_log_level(LogLevel::Warning);
    let loaded = Loaded { path: path.to_owned(), version: version.to_owned(), environment };
    *slot = Some(loaded.clone());
    Ok(loaded)
}
