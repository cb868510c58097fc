//! The driver without a thread: whoever waits for an answer runs what is due.
//!
//! For a model whose run is shorter than the hand-over to a thread. Every waiting request drives
//! by itself, so none is stranded when another goes away; no session is held across an await, so
//! none is lost with a dropped future.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::shared::{Queued, Shared, Work};
use super::slot::Slot;
use super::{Reply, RequestError};

/// Batches that one waiting request runs at a stretch: it serves others while its own client
/// waits, and the other connections of its thread wait as well.
const MAX_BATCHES_AT_A_STRETCH: usize = 32;

/// A batch that waits for company looks this often whether the version was closed, so that a
/// drain does not take as long as a queue delay may be.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// Runs longer than this, by the moving average, belong on instance threads. Four times the bound
/// of the decision at load, which looks at smaller batches: between the two nothing changes.
pub(super) const TOO_LONG: Duration = Duration::from_micros(800);
/// How much of the average one run moves.
const AVERAGE_SHARE: f64 = 1.0 / 16.0;
/// One run counts for at most this many times [`TOO_LONG`]: an interrupted thread is no reason to
/// move, five long runs in a row are.
const OUTLIER_FACTOR: f64 = 4.0;

/// The sessions that waiting requests run on.
pub(super) struct SessionPool {
    slots: Mutex<Vec<Slot>>,
    /// One permit per session.
    permits: Semaphore,
    /// Moving average of a run, in seconds.
    average: Mutex<f64>,
}

impl SessionPool {
    pub fn new(slots: Vec<Slot>) -> SessionPool {
        let permits = Semaphore::new(slots.len());
        SessionPool { slots: Mutex::new(slots), permits, average: Mutex::new(0.0) }
    }

    fn lease<'a>(&'a self, permit: SemaphorePermit<'a>) -> Lease<'a> {
        let slot = self.slots.lock().pop();
        Lease { pool: self, slot, _permit: permit }
    }

    /// Gives up the sessions that nobody holds.
    pub fn drain(&self) -> Vec<Slot> {
        std::mem::take(&mut *self.slots.lock())
    }

    /// The average run, with this one in it.
    fn note(&self, run: Duration) -> Duration {
        let bound = TOO_LONG.as_secs_f64() * OUTLIER_FACTOR;
        let mut average = self.average.lock();
        *average += (run.as_secs_f64().min(bound) - *average) * AVERAGE_SHARE;
        Duration::from_secs_f64(*average)
    }
}

/// A session on loan; it goes back before its permit does.
struct Lease<'a> {
    pool: &'a SessionPool,
    /// `None` where the sessions were drained: runs have moved to threads.
    slot: Option<Slot>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.pool.slots.lock().push(slot);
        }
    }
}

/// What to wait for after a stretch of running.
enum Next {
    Answered(Result<Reply, RequestError>),
    /// Only the answer: it is in work elsewhere, or instances took over.
    Answer,
    /// The answer, or the time when the next batch is due.
    Due(Instant),
    /// Others' turn.
    Yield,
    /// A session, or the answer from whoever has it.
    Session,
}

/// Awaits one answer, running what is due meanwhile. `too_long` is called when the average run
/// has become too long for the calling thread.
pub(super) async fn drive(
    shared: &Shared,
    pool: &SessionPool,
    queued: &mut Queued<'_>,
    too_long: impl Fn(Duration),
) -> Result<Reply, RequestError> {
    // Requests that are readable already join the queue, and so the batch.
    tokio::task::yield_now().await;
    let mut granted = None;
    loop {
        match stretch(shared, pool, queued, granted.take(), &too_long) {
            Next::Answered(result) => return result,
            Next::Answer => return answer(queued).await,
            Next::Yield => tokio::task::yield_now().await,
            // Boxed, and so is the other: rare waits need not make every request's future large.
            Next::Due(due) => {
                let look = due.min(Instant::now() + LONGEST_SLEEP);
                let answered = tokio::time::timeout_at(look.into(), answer(queued));
                if let Ok(result) = Box::pin(answered).await {
                    return result;
                }
            }
            Next::Session => match Box::pin(session_or_answer(pool, queued)).await {
                Either::Answer(result) => return result,
                Either::Session(permit) => granted = permit,
            },
        }
    }
}

enum Either<'a> {
    Answer(Result<Reply, RequestError>),
    /// Kept for the stretch that follows at once: given back, it would go to the next in line, and
    /// everybody would queue again without anybody running.
    Session(Option<SemaphorePermit<'a>>),
}

async fn session_or_answer<'a>(pool: &'a SessionPool, queued: &mut Queued<'_>) -> Either<'a> {
    tokio::select! {
        biased;
        result = answer(queued) => Either::Answer(result),
        permit = pool.permits.acquire() => Either::Session(permit.ok()),
    }
}

/// Runs batches until the own answer is there; synchronous, the session stays inside.
fn stretch<'a>(
    shared: &Shared,
    pool: &'a SessionPool,
    queued: &mut Queued<'_>,
    granted: Option<SemaphorePermit<'a>>,
    too_long: &impl Fn(Duration),
) -> Next {
    if let Some(result) = ready(queued) {
        return Next::Answered(result);
    }
    if !shared.inline() {
        return Next::Answer;
    }
    let Some(permit) = granted.or_else(|| pool.permits.try_acquire().ok()) else {
        return Next::Session;
    };
    let mut lease = pool.lease(permit);
    let Some(slot) = &mut lease.slot else { return Next::Answer };
    for _ in 0..MAX_BATCHES_AT_A_STRETCH {
        match shared.next() {
            Work::Idle => return Next::Answer,
            Work::WaitUntil(due) => return Next::Due(due),
            Work::Batch(batch) => {
                let average = pool.note(shared.execute(slot, batch));
                if average > TOO_LONG {
                    too_long(average);
                }
            }
        }
        if let Some(result) = ready(queued) {
            return Next::Answered(result);
        }
    }
    Next::Yield
}

/// The answer, where it has come.
fn ready(queued: &mut Queued<'_>) -> Option<Result<Reply, RequestError>> {
    match queued.receiver.try_recv() {
        Ok(result) => Some(result),
        Err(TryRecvError::Closed) => Some(Err(RequestError::InstanceFailed)),
        Err(TryRecvError::Empty) => None,
    }
}

/// Awaits the answer, until the deadline where there is one. Only a deadline needs a timer.
pub(super) async fn answer(queued: &mut Queued<'_>) -> Result<Reply, RequestError> {
    let receiver = &mut queued.receiver;
    let received = match queued.deadline {
        None => receiver.await,
        Some(deadline) => {
            match Box::pin(tokio::time::timeout_at(deadline.into(), receiver)).await {
                Ok(received) => received,
                Err(_) => return Err(RequestError::Expired),
            }
        }
    };
    received.unwrap_or(Err(RequestError::InstanceFailed))
}
