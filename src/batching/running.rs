//! What runs of a version: its sessions, on loan to waiting requests or owned by instances, and
//! the move from the one to the other when runs become long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::inline::{SessionPool, answer, drive};
use super::instance::{self, Instance};
use super::layout::Decided;
use super::report;
use super::shared::{Queued, Shared};
use super::slot::Slot;
use super::{Layout, Reply, RequestError};
use crate::engine::EngineError;

/// The drivers of a version.
pub(super) struct Running {
    pub shared: Arc<Shared>,
    pool: SessionPool,
    instances: Mutex<Vec<Instance>>,
    layout: Layout,
    /// Where runs go when they become too long for network threads; `None` where configuration
    /// keeps them inline.
    fallback: Option<Layout>,
    /// The layout after the move.
    moved: OnceLock<Layout>,
    /// Set by the first who finds runs too long: only one moves them.
    moving: AtomicBool,
    mover: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    /// Puts the sessions to work.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        shared: Arc<Shared>,
        decided: Decided,
        fallback: Option<Layout>,
    ) -> Result<Running, EngineError> {
        let Decided { layout, slots } = decided;
        let (pooled, owned) = if layout.inline { (slots, Vec::new()) } else { (Vec::new(), slots) };
        let running = Running {
            shared,
            pool: SessionPool::new(pooled),
            instances: Mutex::default(),
            layout,
            fallback,
            moved: OnceLock::new(),
            moving: AtomicBool::new(false),
            mover: Mutex::default(),
        };
        running.start_instances(owned).inspect_err(|_| running.shared.close())?;
        Ok(running)
    }

    fn start_instances(&self, slots: Vec<Slot>) -> Result<(), EngineError> {
        for slot in slots {
            let started = instance::start(self.shared.clone(), slot);
            let instance = started.map_err(|error| no_thread(&error))?;
            self.instances.lock().push(instance);
        }
        Ok(())
    }

    pub fn layout(&self) -> &Layout {
        self.moved.get().unwrap_or(&self.layout)
    }

    pub async fn reply(
        self: &Arc<Running>,
        queued: &mut Queued<'_>,
    ) -> Result<Reply, RequestError> {
        let result = if self.shared.inline() {
            let too_long = |average| self.move_once(average);
            drive(&self.shared, &self.pool, queued, too_long).await
        } else {
            answer(queued).await
        };
        queued.place.settle(&result);
        result
    }

    /// Begins the move to instance threads, unless it has begun. Opening sessions takes time:
    /// that happens on a thread of its own, while runs go on inline.
    fn move_once(self: &Arc<Running>, average: Duration) {
        let Some(fallback) = self.fallback.clone() else { return };
        if self.moving.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = self.clone();
        let mover = Builder::new().name("onnxd-mover".to_owned());
        match mover.spawn(move || running.move_to_threads(average, &fallback)) {
            Ok(handle) => *self.mover.lock() = Some(handle),
            Err(error) => report::move_failed(&self.shared.events, &no_thread(&error)),
        }
    }

    fn move_to_threads(&self, average: Duration, fallback: &Layout) {
        let Layout { instances, threads, .. } = *fallback;
        let opened: Result<Vec<Slot>, EngineError> =
            (0..instances).map(|_| Slot::open(&self.shared.opener, threads)).collect();
        let started = opened.and_then(|slots| {
            if self.shared.closed() { Ok(()) } else { self.start_instances(slots) }
        });
        // One instance is enough to answer everybody.
        if let Err(error) = started
            && self.instances.lock().is_empty()
        {
            report::move_failed(&self.shared.events, &error);
            return;
        }
        if self.shared.closed() {
            return;
        }
        let layout = Layout {
            instances: self.instances.lock().len(),
            max_batch_size: self.layout.max_batch_size,
            origin: "measured",
            ..fallback.clone()
        };
        report::moved(&self.shared.events, average, &layout);
        // Nobody else sets it: only one moves.
        let _ = self.moved.set(layout);
        self.shared.leave_inline();
        drop(self.pool.drain());
    }

    /// Whether nothing waits, runs or moves any more, nor ever will: instances then end at once.
    pub fn has_ended(&self) -> bool {
        self.shared.has_drained() && self.mover.lock().as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all is drained, then frees the sessions on the calling thread.
    pub fn join(&self) {
        self.shared.close();
        self.join_mover();
        self.shared.wait_drained();
        // Once more for one that the last requests have started.
        self.join_mover();
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

    fn join_mover(&self) {
        let mover = self.mover.lock().take();
        if let Some(mover) = mover {
            // A mover that panicked has left everything inline.
            let _ = mover.join();
        }
    }
}

fn no_thread(error: &std::io::Error) -> EngineError {
    EngineError::RunFailed { reason: format!("no thread for an instance: {error}") }
}
