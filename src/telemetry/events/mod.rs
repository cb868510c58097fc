//! One function per event: it moves the metric and writes the log line, so that neither is ever
//! forgotten. No metric is moved and no lifecycle line is written anywhere else.
//!
//! Reading order: `model` (events of one version, the request path's among them), `daemon`
//! (events of the whole process), `throttle` (keeps a broken model from flooding the log).

mod daemon;
mod model;
mod throttle;

use std::time::Duration;

pub use daemon::{
    Swap, SwapPhases, connection_closed, connection_opened, connection_refused, draining,
    http_refused, inflight_bytes, listening, listening_stopped, ready_changed, ready_now,
    reload_refused, reloaded, reloading, started, stopped, swapped, warning,
};
pub(super) use daemon::{daemon, spans_exported, spans_lost};
pub use model::{LayoutChosen, LoadedVersion, ModelEvents, RequestRefused};

/// How a request ended; the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    /// The request was wrong (400).
    Invalid,
    /// The queue was full, or the version takes no more requests (429, 503).
    Rejected,
    /// Its deadline passed (504).
    Expired,
    /// The client went away (499).
    Cancelled,
    /// The model failed (500).
    Failed,
}

impl Outcome {
    /// In the order of declaration: `outcome as usize` is its place here.
    pub const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Invalid,
        Outcome::Rejected,
        Outcome::Expired,
        Outcome::Cancelled,
        Outcome::Failed,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Invalid => "invalid",
            Outcome::Rejected => "rejected",
            Outcome::Expired => "expired",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        }
    }
}

/// One run of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRan {
    pub requests: usize,
    pub rows: usize,
    pub assembly: Duration,
    pub inference: Duration,
    pub split: Duration,
    pub failed: bool,
}
