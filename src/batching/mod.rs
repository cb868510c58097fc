//! From one request to one run and back.
//!
//! Reading order: `request` (what is queued), `settings`, `queue` and `policy` (pure: which
//! requests run next, and when), `batch` (join, pad, split), `proof` (may rows be batched at all,
//! and on which axes), `layout` (inline or instance threads; how many, of how many threads),
//! `batcher` (what everybody else holds), `instance` (a thread that owns a session).

mod axes;
mod batcher;
mod compare;
mod execute;
mod inline;
mod instance;
mod join;
mod layout;
mod layout_cache;
mod measure;
mod plan;
mod policy;
mod proof;
mod queue;
mod report;
mod request;
mod running;
mod sample;
mod settings;
mod shared;
mod slot;
mod split;
mod strided;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verdict;

// What a version says of itself and fails with: who speaks to the batcher need not know engines.
pub use crate::engine::{Device, EngineError};
pub use axes::Axes;
pub use batcher::{Batcher, SessionOpener};
pub use layout_cache::kept_layout;
pub use request::{Reply, Request, RequestError, Timing};
pub use settings::{BatchAxes, BatchingMode, BatchingSettings, Layout, LayoutChoice, PaddedAxis};
pub use verdict::{Proof, Verdict};
