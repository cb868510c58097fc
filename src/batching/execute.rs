//! One batch from the queue to its replies: join, run, split, and what is done where that fails.
//!
//! A batch of several that the engine refuses is run again one by one, so that only the request
//! at fault fails. A panic fails the whole batch: the session may be broken, and is rebuilt.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::join::{JoinError, alone, join};
use super::queue::{ALONE, Waiting};
use super::shared::{Pending, Shared};
use super::split::{Answer, Share, SplitError, split, whole};
use super::{Reply, Request, RequestError, Timing};
use crate::engine::{EngineError, Session};
use crate::telemetry::BatchRan;
use crate::tensor::Tensor;

/// A session and what is needed to open it again.
pub(super) struct Slot {
    /// `None` after a panic, until it is opened again.
    session: Option<Box<dyn Session>>,
    threads: usize,
}

impl Slot {
    pub fn new(session: Box<dyn Session>, threads: usize) -> Slot {
        Slot { session: Some(session), threads }
    }

    /// Forgets the session: it may be broken.
    fn discard(&mut self, shared: &Shared) {
        // Freeing a broken session may panic as well.
        let session = self.session.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(session))) {
            shared.report.instance_panicked(&panic_text(&*panic));
        }
    }

    fn open(&mut self, shared: &Shared) -> Result<&mut Box<dyn Session>, EngineError> {
        if self.session.is_none() {
            let opened = (shared.opener)(self.threads);
            self.session = Some(opened.inspect_err(|error| shared.report.rebuild_failed(error))?);
        }
        Ok(self.session.as_mut().expect("it was opened above"))
    }
}

type Batch = Vec<Waiting<Pending>>;

/// A run that came to its end.
struct Ran {
    replies: Vec<Vec<Tensor>>,
    stages: Stages,
}

/// Why a batch of several did not; each request is run by itself then.
enum Failure {
    /// The engine refused or failed: one of the requests may be at fault.
    Together(EngineError),
    /// The outputs do not hold the rows that went in: never together again.
    NotBatchable(SplitError),
    NotJoinable(JoinError),
}

impl Shared {
    /// Runs a batch that [`Shared::next`] gave and answers each of its requests. Returns how long
    /// the engine ran.
    pub fn execute(&self, slot: &mut Slot, batch: Batch) -> Duration {
        let begun = Instant::now();
        for entry in &batch {
            self.events.request_dequeued(begun.saturating_duration_since(entry.arrived));
        }
        let inference = catch_unwind(AssertUnwindSafe(|| self.run_or_retry(slot, batch, begun)))
            .unwrap_or_else(|panic| {
                // The batch went down with the panic: its dropped senders tell the waiting side.
                self.report.instance_panicked(&panic_text(&*panic));
                slot.discard(self);
                if let Err(error) = slot.open(self) {
                    drop(error); // Reported; the next batch tries again.
                }
                Duration::ZERO
            });
        self.finished();
        inference
    }

    fn run_or_retry(&self, slot: &mut Slot, mut batch: Batch, begun: Instant) -> Duration {
        if batch.len() == 1 {
            let entry = batch.pop().expect("its length is one");
            return self.run_alone(slot, entry, begun);
        }
        match self.run_together(slot, &batch, begun) {
            Ok(ran) => {
                let rows = rows(&batch);
                for (entry, outputs) in batch.into_iter().zip(ran.replies) {
                    let timing = ran.stages.timing(entry.arrived, rows);
                    entry.item.answer(Ok(Reply { outputs, timing }));
                }
                ran.stages.ran - ran.stages.joined
            }
            Err(failure) => {
                self.note(failure, batch.len());
                batch.into_iter().map(|entry| self.run_again(slot, entry)).sum()
            }
        }
    }

    fn note(&self, failure: Failure, requests: usize) {
        match failure {
            Failure::Together(error) => self.report.batch_retried(requests, &error),
            Failure::NotJoinable(error) => self.report.batch_retried(requests, &error),
            Failure::NotBatchable(error) => {
                if self.stop_batching() {
                    self.report.unbatched(&error.to_string());
                }
            }
        }
    }

    /// Runs one request of a batch that failed, unless nobody waits for it any more.
    fn run_again(&self, slot: &mut Slot, entry: Waiting<Pending>) -> Duration {
        let now = Instant::now();
        if entry.item.abandoned() {
            return Duration::ZERO;
        }
        if entry.expired(now) {
            entry.item.answer(Err(RequestError::Expired));
            return Duration::ZERO;
        }
        self.run_alone(slot, entry, now)
    }

    fn run_together(&self, slot: &mut Slot, batch: &Batch, begun: Instant) -> Result<Ran, Failure> {
        let plan = self.plan.as_ref().expect("only versions with a plan have batches of several");
        let requests: SmallVec<[&Request; 32]> =
            batch.iter().map(|entry| &entry.item.request).collect();
        let inputs = join(plan, &requests).map_err(Failure::NotJoinable)?;
        let wanted = union_of_outputs(&requests);
        let session = slot.open(self).map_err(Failure::Together)?;
        let joined = Instant::now();
        let run = session.run(&inputs, &wanted);
        let ran = Instant::now();
        let replies = run.map_err(Failure::Together).and_then(|tensors| {
            let shares: SmallVec<[Share<'_>; 32]> = batch
                .iter()
                .map(|entry| Share { request: &entry.item.request, rows: entry.rows })
                .collect();
            split(plan, &self.signature, &Answer { wanted: &wanted, tensors }, &shares)
                .map_err(Failure::NotBatchable)
        });
        let stages = Stages { begun, joined, ran, done: Instant::now() };
        self.events.batch_ran(&stages.event(batch.len(), rows(batch), replies.is_err()));
        Ok(Ran { replies: replies?, stages })
    }

    fn run_alone(&self, slot: &mut Slot, entry: Waiting<Pending>, begun: Instant) -> Duration {
        let request = &entry.item.request;
        let rows = rows(std::slice::from_ref(&entry));
        let inputs = alone(request);
        let wanted = union_of_outputs(&[request]);
        let session = match slot.open(self) {
            Ok(session) => session,
            Err(error) => {
                entry.item.answer(Err(error.into()));
                return Duration::ZERO;
            }
        };
        let joined = Instant::now();
        let run = session.run(&inputs, &wanted);
        let ran = Instant::now();
        let outputs = run.and_then(|tensors| {
            whole(request, Answer { wanted: &wanted, tensors })
                .map_err(|error| EngineError::RunFailed { reason: error.to_string() })
        });
        let stages = Stages { begun, joined, ran, done: Instant::now() };
        self.events.batch_ran(&stages.event(1, rows, outputs.is_err()));
        let timing = stages.timing(entry.arrived, rows);
        let result = outputs.map(|outputs| Reply { outputs, timing });
        entry.item.answer(result.map_err(RequestError::from));
        timing.inference
    }
}

/// When the stages of one run ended.
struct Stages {
    begun: Instant,
    joined: Instant,
    ran: Instant,
    done: Instant,
}

impl Stages {
    fn event(&self, requests: usize, rows: usize, failed: bool) -> BatchRan {
        BatchRan {
            requests,
            rows,
            assembly: self.joined - self.begun,
            inference: self.ran - self.joined,
            split: self.done - self.ran,
            failed,
        }
    }

    fn timing(&self, arrived: Instant, batch_size: usize) -> Timing {
        Timing {
            queue: self.begun.saturating_duration_since(arrived),
            assembly: self.joined - self.begun,
            inference: self.ran - self.joined,
            split: self.done - self.ran,
            batch_size,
        }
    }
}

/// Rows of a batch; a request that belongs to no batch counts as one.
fn rows(batch: &[Waiting<Pending>]) -> usize {
    batch.iter().map(|entry| if entry.rows == ALONE { 1 } else { entry.rows }).sum()
}

/// Every output that one of the requests wants, each once.
fn union_of_outputs(requests: &[&Request]) -> SmallVec<[usize; 8]> {
    let mut union: SmallVec<[usize; 8]> = SmallVec::new();
    for output in requests.iter().flat_map(|request| &request.outputs) {
        if !union.contains(output) {
            union.push(*output);
        }
    }
    union
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
