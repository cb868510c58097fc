//! What the drivers of one version share: the queue, the settings that decisions follow, and the
//! way a request goes in and comes out.
//!
//! Two drivers take batches out of here: instance threads (`instance`), and the waiting requests
//! themselves (`inline`). Both call [`Shared::next`] and [`Shared::execute`]: one batching.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::plan::{Admission, GroupKey, Plan};
use super::policy::{Decision, Policy};
use super::queue::{Queue, Waiting};
use super::{BatchingSettings, Reply, Request, RequestError, SessionOpener};
use crate::engine::Signature;
use crate::telemetry::ModelEvents;

/// No batch waits longer for company, whatever is configured: times must stay on the clock.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// A request in the queue, and where its answer goes.
#[derive(Debug)]
pub(super) struct Pending {
    pub request: Request,
    /// Dropped unanswered only where an instance panicked: the waiting side reads it as that.
    pub reply: oneshot::Sender<Result<Reply, RequestError>>,
}

impl Pending {
    pub fn answer(self, result: Result<Reply, RequestError>) {
        // A send fails where the client went away: then nobody wants the answer.
        let _ = self.reply.send(result);
    }

    pub fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What `next` found to do.
pub(super) enum Work {
    Batch(Vec<Waiting<Pending>>),
    WaitUntil(Instant),
    Idle,
}

/// What the queue's lock guards.
pub(super) struct State {
    pub queue: Queue<GroupKey, Pending>,
    pub policy: Policy,
    /// Takes no more requests; set once.
    pub closed: bool,
    /// Batches taken and not finished.
    running: usize,
}

impl State {
    /// Nothing waits and nothing runs.
    pub fn drained(&self) -> bool {
        self.queue.is_empty() && self.running == 0
    }
}

/// Settings that a request meets on its way in.
struct Entrance {
    priority_levels: u32,
    default_priority: u32,
    default_timeout: Option<Duration>,
    allow_timeout_override: bool,
}

impl Entrance {
    /// The queue's level for a request's priority: 1 is the most urgent.
    fn level(&self, priority: u32) -> u32 {
        if self.priority_levels == 0 {
            return 1;
        }
        let wanted = if priority == 0 { self.default_priority } else { priority };
        // Without a default, the middle leaves room on both sides.
        let level = if wanted == 0 { self.priority_levels.div_ceil(2) } else { wanted };
        level.min(self.priority_levels)
    }

    fn deadline(&self, request: &Request) -> Option<Instant> {
        let own = request.deadline;
        let Some(timeout) = self.default_timeout else { return own };
        // A timeout beyond the clock's range never passes.
        let standard = request.arrived.checked_add(timeout);
        match (own, standard) {
            (Some(own), Some(standard)) if !self.allow_timeout_override => Some(own.min(standard)),
            (own, standard) => own.or(standard),
        }
    }
}

/// What all drivers of a version share.
pub(super) struct Shared {
    pub signature: Arc<Signature>,
    pub plan: Option<Plan>,
    pub opener: SessionOpener,
    pub events: Arc<ModelEvents>,
    state: Mutex<State>,
    /// Instances wait here for work; whoever queues or closes notifies.
    work: Condvar,
    /// `join` waits here until all is drained; who ends a batch or gives up waiting notifies.
    drained: Condvar,
    entrance: Entrance,
    /// Rows per batch at most, as `policy.max_rows` but readable without the lock.
    max_rows: AtomicUsize,
    /// Whether waiting requests run the batches themselves. Turns false at most once.
    inline: AtomicBool,
}

/// What a version starts from.
pub(super) struct Start {
    pub signature: Arc<Signature>,
    /// `None`: every request runs alone.
    pub plan: Option<Plan>,
    pub opener: SessionOpener,
    pub events: Arc<ModelEvents>,
    pub max_rows: usize,
    pub inline: bool,
}

impl Shared {
    pub fn new(start: Start, settings: &BatchingSettings) -> Shared {
        let max_rows = if start.plan.is_some() { start.max_rows.max(1) } else { 1 };
        let mut preferred = settings.preferred_batch_sizes.clone();
        preferred.sort_unstable();
        let max_delay = settings.max_queue_delay.min(LONGEST_DELAY);
        let policy = Policy { max_rows, max_delay, preferred };
        // Everybody waits for a moment: a queue that takes nobody would refuse all.
        let queue = Queue::new(settings.max_queue_size.max(1));
        Shared {
            signature: start.signature,
            plan: start.plan,
            opener: start.opener,
            events: start.events,
            state: Mutex::new(State { queue, policy, closed: false, running: 0 }),
            work: Condvar::new(),
            drained: Condvar::new(),
            entrance: Entrance {
                priority_levels: settings.priority_levels,
                default_priority: settings.default_priority,
                default_timeout: settings.default_timeout,
                allow_timeout_override: settings.allow_timeout_override,
            },
            max_rows: AtomicUsize::new(max_rows),
            inline: AtomicBool::new(start.inline),
        }
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// The version is closed, the queue is full, or the inputs disagree on their rows.
    pub fn submit(&self, request: Request) -> Result<Queued<'_>, RequestError> {
        debug_assert_eq!(request.inputs.len(), self.signature.inputs.len());
        let admission = match &self.plan {
            Some(plan) => plan.admit(&self.signature, &request)?,
            None => Admission::alone(),
        };
        let level = self.entrance.level(request.priority);
        let deadline = self.entrance.deadline(&request);
        let arrived = request.arrived;
        let (reply, receiver) = oneshot::channel();
        let pending = Pending { request, reply };
        let entry = Waiting::new(admission.rows, arrived, deadline, pending);
        let (ticket, depth) = self.enqueue(level, admission.key, entry)?;
        self.events.queue_depth(depth);
        self.work.notify_one();
        let waiting = Place { shared: self, ticket, taken: false };
        Ok(Queued { receiver, deadline, place: waiting })
    }

    fn enqueue(
        &self,
        level: u32,
        key: GroupKey,
        entry: Waiting<Pending>,
    ) -> Result<(u64, usize), RequestError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(RequestError::Closed);
        }
        let limit = state.queue.limit();
        if state.queue.len() >= limit {
            let expired = state.queue.purge(Instant::now(), Pending::abandoned);
            expired.into_iter().for_each(|entry| entry.item.answer(Err(RequestError::Expired)));
        }
        let ticket =
            state.queue.push(level, key, entry).map_err(|_| RequestError::QueueFull { limit })?;
        Ok((ticket, state.queue.len()))
    }

    /// Takes the batch that is due now, if any. Whoever gets one must call [`Shared::execute`].
    pub fn next(&self) -> Work {
        self.next_locked(&mut self.state.lock())
    }

    /// Waits for a batch on the calling thread; `None` once the version is closed and drained.
    pub fn wait_next(&self) -> Option<Vec<Waiting<Pending>>> {
        let mut state = self.state.lock();
        loop {
            match self.next_locked(&mut state) {
                Work::Batch(batch) => return Some(batch),
                Work::WaitUntil(due) => {
                    self.work.wait_until(&mut state, due);
                }
                Work::Idle if state.closed => return None,
                Work::Idle => self.work.wait(&mut state),
            }
        }
    }

    fn next_locked(&self, state: &mut MutexGuard<'_, State>) -> Work {
        loop {
            if state.queue.is_empty() {
                return Work::Idle;
            }
            let now = Instant::now();
            let groups = state.queue.snapshots(state.policy.count_to());
            match state.policy.decide(&groups, now, state.closed) {
                Decision::Idle => return Work::Idle,
                Decision::WaitUntil(due) => return Work::WaitUntil(due),
                Decision::Run { group, rows } => {
                    let taken = state.queue.take(group, rows, now, Pending::abandoned);
                    self.events.queue_depth(state.queue.len());
                    for entry in taken.expired {
                        entry.item.answer(Err(RequestError::Expired));
                    }
                    if !taken.batch.is_empty() {
                        state.running += 1;
                        return Work::Batch(taken.batch);
                    }
                }
            }
            // All that was taken had expired or gone: look at what remains.
            self.notify_if_drained(state);
        }
    }

    /// A batch taken by `next` has ended.
    pub fn finished(&self) {
        let mut state = self.state.lock();
        state.running -= 1;
        self.notify_if_drained(&state);
    }

    fn notify_if_drained(&self, state: &State) {
        if state.closed && state.drained() {
            self.drained.notify_all();
        }
    }

    /// Takes no more requests.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.notify_if_drained(&state);
        drop(state);
        self.work.notify_all();
    }

    pub fn closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Whether nothing waits or runs, and nothing more comes.
    pub fn has_drained(&self) -> bool {
        let state = self.state.lock();
        state.closed && state.drained()
    }

    /// Blocks until nothing waits or runs.
    pub fn wait_drained(&self) {
        let mut state = self.state.lock();
        while !state.drained() {
            self.drained.wait(&mut state);
        }
    }

    pub fn queue_depth(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Rows per batch at most, 0 where every request runs alone.
    pub fn max_batch_size(&self) -> usize {
        match self.max_rows.load(Ordering::Relaxed) {
            _ if self.plan.is_none() => 0,
            rows => rows,
        }
    }

    /// From now on every request runs alone: a run has shown that the model cannot be batched.
    /// Returns whether this call is the one that found out.
    pub fn stop_batching(&self) -> bool {
        self.state.lock().policy.max_rows = 1;
        self.max_rows.swap(0, Ordering::Relaxed) != 0
    }

    pub fn inline(&self) -> bool {
        self.inline.load(Ordering::Acquire)
    }

    /// Leaves the running to instance threads. Waiting requests that still run a batch finish it;
    /// all that is queued is the threads' from now on.
    pub fn leave_inline(&self) {
        self.inline.store(false, Ordering::Release);
        self.work.notify_all();
    }
}

/// A request in the queue as the waiting side holds it.
pub struct Queued<'a> {
    pub(super) receiver: oneshot::Receiver<Result<Reply, RequestError>>,
    pub(super) deadline: Option<Instant>,
    pub(super) place: Place<'a>,
}

/// A place in the queue: dropped, it is given up, so that a client that went away leaves nothing
/// behind.
pub(super) struct Place<'a> {
    shared: &'a Shared,
    ticket: u64,
    /// The answer came: nothing is left to give up.
    taken: bool,
}

impl Place<'_> {
    /// Notes how waiting ended. Only the clock ends it while the request is still queued.
    pub fn settle(&mut self, result: &Result<Reply, RequestError>) {
        self.taken = !matches!(result, Err(RequestError::Expired));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.shared.state.lock();
        let removed = state.queue.remove(self.ticket);
        if removed.is_some() {
            self.shared.events.queue_depth(state.queue.len());
            self.shared.notify_if_drained(&state);
        }
        drop(state);
        // `removed` is dropped here: freeing a request's memory needs no lock.
    }
}
