//! What a batcher tells telemetry, in the words of its events.

use std::path::Path;
use std::time::Duration;

use super::split::SplitError;
use super::{Layout, PaddingVerdict, Verdict};
use crate::engine::EngineError;
use crate::telemetry::{LayoutChosen, ModelEvents};

/// What the proof found.
pub(super) fn verdict(events: &ModelEvents, verdict: &Verdict) {
    match verdict {
        Verdict::Differs { output, difference } => events.batching_refused(output, *difference),
        Verdict::Unproven { reason } => {
            events.warning(&format_args!("served unbatched, batching is not proven: {reason}"));
        }
        Verdict::Forced { doubt: Some(_) } => {
            events.warning(&format_args!("batching is {verdict}"));
        }
        Verdict::Forced { doubt: None } | Verdict::Proven | Verdict::Off | Verdict::NoBatchAxis => {
        }
    }
}

/// What was found about padding.
pub(super) fn padding(events: &ModelEvents, verdict: &PaddingVerdict) {
    match verdict {
        PaddingVerdict::Proven => {}
        PaddingVerdict::Forced { .. } => events.warning(&format_args!("padding is {verdict}")),
        PaddingVerdict::Differs { .. } | PaddingVerdict::Unproven { .. } => {
            events.warning(&format_args!(
                "requests of unlike shapes are batched apart, padding is not proven: {verdict} \
                 (batching = \"force\" overrides)"
            ));
        }
    }
}

/// A run has shown that the model cannot be batched after all.
pub(super) fn not_batchable(events: &ModelEvents, error: &SplitError) {
    events.warning(&format_args!("served unbatched from now on: {error}"));
    if let SplitError::Rows { output, .. } = error {
        events.batching_refused(output, f64::INFINITY);
    }
}

/// Where runs happen.
pub(super) fn layout(events: &ModelEvents, layout: &Layout) {
    events.layout_chosen(&LayoutChosen {
        inline: layout.inline,
        instances: layout.instances,
        threads: layout.threads,
        max_batch_size: layout.max_batch_size,
        origin: layout.origin,
    });
}

/// Runs have become too long for a network thread.
pub(super) fn moved(events: &ModelEvents, average: Duration, moved_to: &Layout) {
    events.warning(&format_args!(
        "runs take {} µs on average, too long for network threads: they moved to {} instances",
        average.as_micros(),
        moved_to.instances
    ));
    layout(events, moved_to);
}

/// Runs are too long for a network thread and have to stay there.
pub(super) fn move_failed(events: &ModelEvents, error: &EngineError) {
    events.warning(&format_args!(
        "runs are too long for network threads and stay there: no instance could be opened: {error}"
    ));
}

/// A session that panicked could not be opened again.
pub(super) fn rebuild_failed(events: &ModelEvents, error: &EngineError) {
    events.warning(&format_args!(
        "a session could not be opened again, the next batch tries once more: {error}"
    ));
}

/// A layout cache of no use.
pub(super) fn cache_unusable(events: &ModelEvents, path: &Path, reason: &str) {
    events.warning(&format_args!("layout cache {} is not used: {reason}", path.display()));
}
