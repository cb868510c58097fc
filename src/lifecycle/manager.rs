//! The one owner of every version's state. Others send it commands; it alone replaces the active
//! table.

use bytes::Bytes;

/// State of one version, in the words of the model repository extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    Loading,
    Ready,
    Unloading,
    /// Not served; the reason says why.
    Unavailable,
}

/// One line of the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub model: String,
    /// `None` where the model has no version yet.
    pub version: Option<u64>,
    pub state: VersionState,
    /// Empty where there is nothing to say.
    pub reason: String,
}

/// What a load request brings along instead of what lies on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOverrides {
    /// A ModelConfig as JSON text.
    pub config: Option<String>,
    /// `<version>/<file>` and content.
    pub files: Vec<(String, Bytes)>,
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
    #[error("the daemon is stopping")]
    Stopping,
}

/// How others speak to the manager. Cheap to clone.
#[derive(Clone)]
pub struct ManagerHandle {}

impl ManagerHandle {
    /// Loads or reloads a model; returns when it serves or failed. A failed reload leaves what
    /// served before.
    ///
    /// # Errors
    /// As [`ManageError`] says.
    pub async fn load(&self, model: &str, overrides: LoadOverrides) -> Result<(), ManageError> {
        let _ = (model, overrides);
        Err(ManageError::Stopping)
    }

    /// Takes a model out of service; returns when no new request reaches it, without waiting for
    /// its memory to be freed.
    ///
    /// # Errors
    /// As [`ManageError`] says. Unloading what is not loaded is a success.
    pub async fn unload(&self, model: &str) -> Result<(), ManageError> {
        let _ = model;
        Err(ManageError::Stopping)
    }

    /// Every model and version known, sorted by model then version.
    pub async fn index(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}
