//! Models from folder to serving and back: which versions should be there, which are, and the
//! one task that closes the gap.
//!
//! Reading order: `settings`, `state` (of one version), `policy` (pure: snapshots to the next
//! action), `loader` (open, warm, prove, on its own thread), `manager` (the one owner of all
//! state), `active` (the table that requests read; never locks).

mod active;
mod manager;
mod settings;

pub use active::{ActiveModel, ActiveModels, ActiveVersion, LookupError};
pub use manager::{IndexEntry, LoadOverrides, ManageError, ManagerHandle, VersionState};
pub use settings::{ModelSettings, VersionPolicy, WarmUp};
