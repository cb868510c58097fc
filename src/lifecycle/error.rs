//! Why a version does not serve, and why a command was not obeyed.

use std::path::{Path, PathBuf};

use crate::engine::{EngineError, GoldenFault};
use crate::repository::RepositoryError;

/// Why a version could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("{}", settings_text(path, reason))]
    Settings { path: PathBuf, reason: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("golden sample {}: {reason}", path.display())]
    GoldenUnreadable { path: PathBuf, reason: String },
    #[error("golden sample {}: {fault}", path.display())]
    Golden { path: PathBuf, fault: Box<GoldenFault> },
    #[error("labels of output {output:?}: {}: {reason}", path.display())]
    Labels { output: String, path: PathBuf, reason: String },
    #[error("model {model:?}: {first} and {second} have the same name; name one of them with \
             NAME=PATH", first = first.display(), second = second.display())]
    Duplicate { model: String, first: PathBuf, second: PathBuf },
    #[error("{}: none of the versions {on_disk:?} is one that the version policy names",
            path.display())]
    NoneDesired { path: PathBuf, on_disk: Vec<u64> },
    #[error("file {file:?} of the load request: {reason}")]
    OverrideFile { file: String, reason: String },
    #[error("loading panicked: {message}")]
    Panicked { message: String },
    #[error("no thread could be started to load it: {reason}")]
    NoThread { reason: String },
}

/// The reader's reasons mostly name their file, which lies in the model's folder.
fn settings_text(path: &Path, reason: &str) -> String {
    let path = path.display().to_string();
    if reason.starts_with(&path) { reason.to_owned() } else { format!("{path}: {reason}") }
}

impl LoadError {
    /// Whether another attempt may succeed without anybody changing anything: a file that is
    /// still being copied looks truncated, and a device's memory may become free.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            LoadError::Repository(error) => matches!(
                error,
                RepositoryError::Missing { .. }
                    | RepositoryError::Unreadable { .. }
                    | RepositoryError::DigestMismatch { .. }
            ),
            LoadError::Engine(error) => matches!(
                error,
                EngineError::ModelUnreadable { .. }
                    | EngineError::ModelInvalid { .. }
                    | EngineError::DeviceUnavailable { .. }
                    | EngineError::RunFailed { .. }
            ),
            LoadError::NoThread { .. } => true,
            LoadError::Settings { .. }
            | LoadError::GoldenUnreadable { .. }
            | LoadError::Golden { .. }
            | LoadError::Labels { .. }
            | LoadError::Duplicate { .. }
            | LoadError::NoneDesired { .. }
            | LoadError::OverrideFile { .. }
            | LoadError::Panicked { .. } => false,
        }
    }
}

/// Why a load or unload was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    #[error("unknown model {model:?}: the repository has no folder of that name")]
    UnknownModel { model: String },
    #[error("model {model:?} could not be loaded: {reason}")]
    LoadFailed { model: String, reason: String },
    #[error("model {model:?} cannot be changed: {reason}")]
    Refused { model: String, reason: String },
    #[error("too many commands wait for the manager of the models; try again later")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
}

/// Why a new configuration was not taken up; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    #[error("the configuration was not taken up: {}", problems_text(problems))]
    Invalid { problems: Vec<LoadError> },
    #[error("the manager has too much to do")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
}

fn problems_text(problems: &[LoadError]) -> String {
    let texts: Vec<String> = problems.iter().map(LoadError::to_string).collect();
    texts.join("; ")
}
