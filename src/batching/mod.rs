//! From one request to one run and back.
//!
//! Requests of one model version wait in a queue, in groups that may share a batch; whoever is
//! free takes the batch that is due, joins its inputs, runs a session and splits the outputs.
//! One batching, two drivers: instance threads for long runs, the waiting requests themselves for
//! short ones. There is no socket and no model file here, and no thread that only hands on.
//!
//! Reading order:
//! - `request` (what comes and goes), `settings`, `batcher` (what everybody else holds);
//! - pure: `queue` and `policy` (which requests run next, and when), `plan` (which may share a
//!   batch), `join` and `split` over `strided`;
//! - `shared` (the queue's lock), `slot` (a session that survives panics), `execute` (one batch),
//!   the drivers `instance` and `inline`, `running` (both, and the move between them);
//! - at load: `axes`, `sample`, `compare`, `proof`, `padding` and their `verdict`; `measure`,
//!   `curve`, `layout`, `layout_cache`; `report` (what telemetry is told).

mod axes;
mod batcher;
mod compare;
mod curve;
mod execute;
mod inline;
mod instance;
mod join;
mod layout;
mod layout_cache;
mod measure;
mod padding;
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
pub use layout_cache::{Circumstances, kept_layout};
pub use request::{Reply, Request, RequestError, Timing};
pub use settings::{BatchAxes, BatchingMode, BatchingSettings, Layout, LayoutChoice, PaddedAxis};
pub use shared::Queued;
pub use verdict::{PaddingVerdict, Proof, Verdict};
