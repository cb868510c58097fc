//! What everybody else holds of a loaded version: submit a request, await the reply.

use std::sync::Arc;

use parking_lot::Mutex;

use super::axes::{Axes, input_candidates, output_guess};
use super::execute::Slot;
use super::inline::{SessionPool, answer, drive};
use super::instance::{self, Instance};
use super::plan::Plan;
use super::report::Report;
use super::shared::{Shared, Start};
use super::{BatchingMode, BatchingSettings, Layout, LayoutChoice, Reply, Request, RequestError};
use crate::engine::{EngineError, Placement, Session, Signature};
use crate::telemetry::ModelEvents;

/// Opens one more session of the model with this many CPU threads: for each instance, for the
/// measurement at load, and to rebuild an instance that panicked.
pub type SessionOpener = Arc<dyn Fn(usize) -> Result<Box<dyn Session>, EngineError> + Send + Sync>;

/// A loaded, warm, running version.
pub struct Batcher {
    shared: Arc<Shared>,
    placement: Placement,
    layout: Layout,
    pool: SessionPool,
    instances: Mutex<Vec<Instance>>,
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
        let session = opener(1)?;
        let signature = session.signature().clone();
        let placement = session.placement().clone();
        let inputs = input_candidates(&signature, settings).into_iter().next();
        let plan = inputs.filter(|_| settings.mode != BatchingMode::Off).map(|inputs| {
            let guess = |output| output_guess(&signature, settings, &inputs, output);
            let outputs = signature.outputs.iter().map(guess).collect();
            Plan::new(&signature, &Axes { inputs, outputs }, settings)
        });
        let inline = settings.layout != LayoutChoice::Threads;
        let max_rows = settings.max_batch_size.unwrap_or(super::settings::DEFAULT_MAX_BATCH_SIZE);
        let layout = Layout {
            inline,
            instances: 1,
            threads: 1,
            max_batch_size: if plan.is_some() { max_rows } else { 1 },
            origin: "configured",
        };
        let start =
            Start { signature, plan, opener, events, report: Report::default(), max_rows, inline };
        let shared = Arc::new(Shared::new(start, settings));
        let slot = Slot::new(session, 1);
        let mut slots = Vec::new();
        let mut instances = Vec::new();
        if inline {
            slots.push(slot);
        } else {
            let started = instance::start(shared.clone(), slot);
            instances.push(started.map_err(|error| EngineError::RunFailed {
                reason: format!("no thread for an instance: {error}"),
            })?);
        }
        Ok(Batcher {
            shared,
            placement,
            layout,
            pool: SessionPool::new(slots),
            instances: Mutex::new(instances),
        })
    }

    pub fn signature(&self) -> &Arc<Signature> {
        &self.shared.signature
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
        self.shared.max_batch_size()
    }

    /// Requests that wait now.
    pub fn queue_depth(&self) -> usize {
        self.shared.queue_depth()
    }

    /// Answers one request. Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// As [`RequestError`] says; one request's fault never fails another of the same batch.
    pub async fn infer(&self, request: Request) -> Result<Reply, RequestError> {
        let mut submitted = self.shared.submit(request)?;
        let result = if self.shared.inline() {
            drive(&self.shared, &self.pool, &mut submitted, |_| {}).await
        } else {
            answer(&mut submitted).await
        };
        submitted.place.settle(&result);
        result
    }

    /// Takes no more requests; those that wait are still answered.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Waits until nothing waits or runs, then ends the instances. Called on the retirement
    /// thread, never on a request's.
    pub fn join(&self) {
        self.close();
        self.shared.wait_drained();
        loop {
            // The lock is not held while waiting.
            let instance = self.instances.lock().pop();
            let Some(instance) = instance else { break };
            // An instance catches the panics of its runs; one that ends by a panic of its own has
            // nothing to give back.
            let _ = instance.join();
        }
        drop(self.pool.drain());
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.close();
    }
}
