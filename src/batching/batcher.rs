//! What everybody else holds of a loaded version: submit a request, await the reply.

use std::sync::Arc;
use std::thread::available_parallelism;

use super::layout::{Site, decide};
use super::measure::{Load, usual_sample};
use super::padding::prove_padding;
use super::plan::Plan;
use super::proof::{Finding, prove};
use super::report;
use super::running::Running;
use super::sample::Sample;
use super::shared::{Queued, Shared, Start};
use super::slot::Slot;
use super::verdict::Proof;
use super::{BatchingSettings, Layout, LayoutChoice, PaddingVerdict, Reply, Request, RequestError};
use crate::engine::{EngineError, Placement, Session, Signature};
use crate::telemetry::ModelEvents;
use crate::tensor::Tensor;

/// Opens one more session of the model with this many CPU threads: for each instance, for the
/// measurement at load, and to rebuild an instance that panicked.
pub type SessionOpener = Arc<dyn Fn(usize) -> Result<Box<dyn Session>, EngineError> + Send + Sync>;

/// A loaded, warm, running version.
pub struct Batcher {
    running: Arc<Running>,
    placement: Placement,
    proof: Proof,
    /// `None` where nothing could be made up that the model takes.
    sample: Option<Sample>,
    padding: Option<PaddingVerdict>,
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
        let mut slot = Slot::open(&opener, settings.threads.unwrap_or(1).max(1))?;
        let session = slot.session()?;
        let (signature, placement) = (session.signature().clone(), session.placement().clone());
        let Finding { proof, sample } = prove(&mut slot, &signature, settings);
        report::verdict(&events, &proof.verdict);
        let mut plan = proof.batched().then(|| Plan::new(&signature, &proof.axes, settings));
        let padding = plan.as_mut().and_then(|plan| {
            prove_padding(&mut slot, &signature, plan, sample.as_ref(), settings.mode)
        });
        if let Some(padding) = &padding {
            report::padding(&events, padding);
        }
        let sample = sample.map(|sample| usual_sample(&mut slot, sample));
        let site = Site {
            opener: &opener,
            placement: &placement,
            plan: plan.as_ref(),
            sample: sample.as_ref(),
            settings,
            events: &events,
            cores: available_parallelism().map_or(1, usize::from),
        };
        let decided = decide(&site, slot)?;
        report::layout(&events, &decided.layout);
        let may_move = settings.layout == LayoutChoice::Auto;
        let fallback = may_move.then(|| site.fallback());
        let start = Start {
            max_rows: decided.layout.max_batch_size,
            inline: decided.layout.inline,
            signature,
            plan,
            opener,
            events,
        };
        let shared = Arc::new(Shared::new(start, settings));
        let running = Arc::new(Running::start(shared, decided, fallback)?);
        Ok(Batcher { running, placement, proof, padding, sample })
    }

    pub fn signature(&self) -> &Arc<Signature> {
        &self.running.shared.signature
    }

    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Where runs happen now.
    pub fn layout(&self) -> &Layout {
        self.running.layout()
    }

    /// What was found out about batching at load, and where the batch lies.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// What was found out about padding at load; `None` where nothing is to be padded.
    pub fn padding(&self) -> Option<&PaddingVerdict> {
        self.padding.as_ref()
    }

    /// Rows that one batch may have, 0 where the version is served unbatched: Triton's
    /// `max_batch_size`.
    pub fn max_batch_size(&self) -> usize {
        self.running.shared.max_batch_size()
    }

    /// Inputs of one run that the model takes, with made-up values of the usual sizes: as many
    /// rows as said, or one request where the version is served unbatched. Equal seeds make equal
    /// inputs. `None` where none were found at load.
    pub fn made_up(&self, rows: usize, seed: u64) -> Option<Vec<Option<Tensor>>> {
        let sample = self.sample.as_ref()?;
        let load = Load::from_seed(sample, self.running.shared.plan.as_ref(), rows, seed)?;
        Some(load.into_inputs())
    }

    /// Requests that wait now.
    pub fn queue_depth(&self) -> usize {
        self.running.shared.queue_depth()
    }

    /// Answers one request. Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// As [`RequestError`] says; one request's fault never fails another of the same batch.
    pub async fn infer(&self, request: Request) -> Result<Reply, RequestError> {
        let mut queued = self.queue(request)?;
        self.reply(&mut queued).await
    }

    /// Puts a request into the queue; dropping what is returned takes it out again.
    ///
    /// # Errors
    /// As [`infer`](Self::infer), where it is not even queued.
    pub fn queue(&self, request: Request) -> Result<Queued<'_>, RequestError> {
        self.running.shared.submit(request)
    }

    /// Awaits the answer to a request that was queued here. Apart from [`queue`](Self::queue), so
    /// that the future need not have room for the request.
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    pub async fn reply(&self, queued: &mut Queued<'_>) -> Result<Reply, RequestError> {
        self.running.reply(queued).await
    }

    /// Takes no more requests; those that wait are still answered.
    pub fn close(&self) {
        self.running.shared.close();
    }

    /// Whether it takes no more requests and nothing of it runs any more: [`join`](Self::join)
    /// does not wait for a run.
    pub fn has_ended(&self) -> bool {
        self.running.has_ended()
    }

    /// Closes, waits until nothing waits or runs, then ends the instances. Called on the
    /// retirement thread, never on a request's.
    pub fn join(&self) {
        self.running.join();
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        // Instances that nobody joined end by themselves.
        self.close();
    }
}
