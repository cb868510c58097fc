//! What a batcher has to say in the log. One function per event, called from where it happens.

use super::Layout;
use super::verdict::Verdict;

/// Log lines of one batcher.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {}

impl Report {
    /// A version is served unbatched although batching was wanted.
    pub fn unbatched(&self, reason: &str) {
        tracing::warn!(reason, "served unbatched");
    }

    /// Batching was forced although the proof speaks against it.
    pub fn forced(&self, doubt: &str) {
        tracing::warn!(doubt, "batched by configuration, unproven");
    }

    /// An instance panicked; its session is rebuilt.
    pub fn instance_panicked(&self, error: &str) {
        tracing::error!(error, "an instance panicked and is rebuilt");
    }

    /// A session could not be rebuilt.
    pub fn rebuild_failed(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "a session could not be rebuilt; the next batch tries again");
    }

    /// A batch failed as a whole; its requests are run one by one.
    pub fn batch_retried(&self, requests: usize, error: &dyn std::fmt::Display) {
        tracing::debug!(requests, %error, "a batch failed and is run one by one");
    }

    /// What the proof found.
    pub fn verdict(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Proven | Verdict::Off | Verdict::NoBatchAxis => {}
            Verdict::Forced { doubt: None } => {}
            Verdict::Forced { doubt: Some(doubt) } => self.forced(doubt),
            Verdict::Differs { .. } | Verdict::Unproven { .. } => {
                self.unbatched(&verdict.to_string());
            }
        }
    }

    /// Where runs happen.
    pub fn layout(&self, layout: &Layout) {
        tracing::info!(?layout, "layout chosen");
    }

    /// Runs have become too long for a network thread.
    pub fn moved_to_threads(&self, run: std::time::Duration, layout: &Layout) {
        let run_us = run.as_micros();
        tracing::info!(run_us, ?layout, "runs moved from network threads to instances");
    }

    /// The move to instance threads failed; runs stay where they are.
    pub fn move_failed(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "instances could not be opened; runs stay on network threads");
    }

    /// The layout cache was of no use.
    pub fn layout_cache(&self, path: &std::path::Path, note: &str) {
        tracing::info!(path = %path.display(), note, "layout cache not used");
    }
}
