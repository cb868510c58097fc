//! What the daemon says of itself: metrics and log lines, always moved together.
//!
//! Reading order: `names` (the catalogue), `events` (one function per event), `statistics` (the
//! sums that the protocol's statistics extension shows), `export` (the Prometheus text),
//! `logging`, `traces`.

mod events;

pub use events::{BatchRan, ModelEvents, Outcome};
