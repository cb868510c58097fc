//! What the daemon says of itself: metrics and log lines, always moved together.
//!
//! Reading order: `names` (the catalogue), `events` (one function per event), `statistics` (the
//! sums that the protocol's statistics extension shows), `export` (the Prometheus text), `triton`
//! (the same under Triton's names), `logging`, `traces`.

pub mod events;
pub mod export;
pub mod logging;
pub mod names;
mod statistics;
pub mod traces;
mod triton;

pub use events::{
    BatchRan, LayoutChosen, LoadedVersion, ModelEvents, Outcome, RequestRefused, Swap, SwapPhases,
};
pub use statistics::{BatchSum, Failures, StatisticsSnapshot, Sum};
