//! Models from folder to serving and back: which versions should be there, which are, and the
//! one task that closes the gap.
//!
//! Reading order: `settings`, `state` (of one version), `policy` (pure: snapshots to the next
//! action), `catalog` (pure: every version's state), `plan` (from configuration and disk to what
//! is to be loaded), `overrides`, `loader` (open, warm, prove, on its own thread), `manager` (the
//! one owner of all state), `desire` and `turn` (where it decides and acts), `handle` (how it is
//! spoken to), `index`, `retirement` (where versions are freed), `active` (the table that requests
//! read; never locks), `error`.

mod active;
mod catalog;
mod desire;
mod error;
mod handle;
mod index;
mod loader;
mod manager;
mod overrides;
mod plan;
mod policy;
mod retirement;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod turn;

pub use active::{ActiveModel, ActiveModels, ActiveVersion, LookupError};
pub use error::{LoadError, ManageError, ReconfigureError};
pub use handle::{LoadOutcome, ManagerHandle, StopReport};
pub use index::{IndexEntry, VersionState};
pub use manager::Manager;
pub use overrides::LoadOverrides;
pub use policy::{RetryPolicy, desired_versions};
pub use settings::{
    DEFAULT_LOAD_RETRIES, DEFAULT_LOAD_RETRY_DELAY, DEFAULT_LOAD_RETRY_DELAY_MAX,
    DEFAULT_LOAD_THREADS, EngineProvider, GoldenReader, ManagerSettings, ModelSettings, NamedModel,
    ServedModels, SettingsReader, VersionPolicy,
};

pub use crate::engine::WarmUp;
