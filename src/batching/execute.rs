//! One batch from the queue to its replies: join, run, split, and what is done where that fails.
//!
//! A batch of several that the engine refuses is run again one by one, so that only the request
//! at fault fails. A panic fails the whole batch: the session may be broken, and is opened again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::join::{alone, join};
use super::queue::{ALONE, Waiting};
use super::report;
use super::shared::{Pending, Shared};
use super::slot::{RunError, Slot};
use super::split::{Answer, Share, SplitError, split, whole};
use super::{Reply, Request, RequestError, Timing};
use crate::engine::{EngineError, panic_text};
use crate::telemetry::BatchRan;
use crate::tensor::Tensor;

type Batch = Vec<Waiting<Pending>>;

/// Why a batch of several got no answers together.
enum Failure {
    /// The engine refused or failed: one of the requests may be at fault.
    Engine,
    Panicked(String),
    /// The outputs do not hold the rows that went in: never together again.
    NotBatchable(SplitError),
    /// The requests are too unlike to be padded into one.
    NotJoinable,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Engine(_) => Failure::Engine,
            RunError::Panicked(text) => Failure::Panicked(text),
        }
    }
}

impl Shared {
    /// Runs a batch that [`Shared::next`] gave and answers each of its requests. Returns how long
    /// the engine ran.
    pub fn execute(&self, slot: &mut Slot, batch: Batch) -> Duration {
        let begun = Instant::now();
        for entry in &batch {
            self.events.request_dequeued(begun.saturating_duration_since(entry.arrived));
        }
        // The engine's panics are caught in the slot; this one is for our own, because nobody
        // else would answer, or count the batch as finished.
        let run = catch_unwind(AssertUnwindSafe(|| self.run_batch(slot, batch, begun)));
        let inference = run.unwrap_or_else(|panic| {
            // The batch went down with the panic: its dropped senders tell the waiting side.
            self.rebuild(slot, panic_text(&*panic));
            Duration::ZERO
        });
        self.finished();
        inference
    }

    fn rebuild(&self, slot: &mut Slot, panic: &str) {
        self.events.instance_rebuilt(panic);
        slot.discard();
        if let Err(error) = slot.session() {
            report::rebuild_failed(&self.events, &error);
        }
    }

    fn run_batch(&self, slot: &mut Slot, mut batch: Batch, begun: Instant) -> Duration {
        if batch.len() == 1 {
            let entry = batch.pop().expect("its length is one");
            return self.run_alone(slot, entry, begun);
        }
        let failure = match self.run_together(slot, &batch, begun) {
            Ok((replies, stages)) => {
                let rows = rows(&batch);
                for (entry, outputs) in batch.into_iter().zip(replies) {
                    let timing = stages.timing(entry.arrived, rows);
                    entry.item.answer(Ok(Reply { outputs, timing }));
                }
                return stages.inference();
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Panicked(text) => {
                let answer = |entry: Waiting<Pending>| {
                    entry.item.answer(Err(RequestError::InstanceFailed));
                };
                batch.into_iter().for_each(answer);
                self.rebuild(slot, &text);
                return Duration::ZERO;
            }
            Failure::NotBatchable(error) => {
                if self.stop_batching() {
                    report::not_batchable(&self.events, &error);
                }
            }
            // Counted as a failed batch; whose fault it was shows below.
            Failure::Engine | Failure::NotJoinable => {}
        }
        batch.into_iter().map(|entry| self.run_again(slot, entry)).sum()
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

    fn run_together(
        &self,
        slot: &mut Slot,
        batch: &Batch,
        begun: Instant,
    ) -> Result<(Vec<Vec<Tensor>>, Stages), Failure> {
        let plan = self.plan.as_ref().expect("only versions with a plan have batches of several");
        let requests: SmallVec<[&Request; 32]> =
            batch.iter().map(|entry| &entry.item.request).collect();
        let inputs = join(plan, &requests).map_err(|_| Failure::NotJoinable)?;
        let wanted = union_of_outputs(&requests);
        let joined = Instant::now();
        let run = slot.run(&inputs, &wanted);
        let ran = Instant::now();
        let replies = run.map_err(Failure::from).and_then(|tensors| {
            let shares: SmallVec<[Share<'_>; 32]> = batch
                .iter()
                .map(|entry| Share { request: &entry.item.request, rows: entry.rows })
                .collect();
            split(plan, &self.signature, &Answer { wanted: &wanted, tensors }, &shares)
                .map_err(Failure::NotBatchable)
        });
        let stages = Stages { begun, joined, ran, done: Instant::now() };
        self.events.batch_ran(&stages.event(batch.len(), rows(batch), replies.is_err()));
        Ok((replies?, stages))
    }

    fn run_alone(&self, slot: &mut Slot, entry: Waiting<Pending>, begun: Instant) -> Duration {
        let request = &entry.item.request;
        let rows = rows(std::slice::from_ref(&entry));
        let inputs = alone(request);
        let wanted = union_of_outputs(&[request]);
        let joined = Instant::now();
        let run = slot.run(&inputs, &wanted);
        let ran = Instant::now();
        let outputs = run.and_then(|tensors| {
            whole(request, Answer { wanted: &wanted, tensors })
                .map_err(|error| EngineError::RunFailed { reason: error.to_string() }.into())
        });
        let stages = Stages { begun, joined, ran, done: Instant::now() };
        self.events.batch_ran(&stages.event(1, rows, outputs.is_err()));
        match outputs {
            Ok(outputs) => {
                let timing = stages.timing(entry.arrived, rows);
                entry.item.answer(Ok(Reply { outputs, timing }));
            }
            Err(RunError::Engine(error)) => entry.item.answer(Err(error.into())),
            Err(RunError::Panicked(text)) => {
                entry.item.answer(Err(RequestError::InstanceFailed));
                self.rebuild(slot, &text);
            }
        }
        stages.inference()
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
    fn inference(&self) -> Duration {
        self.ran - self.joined
    }

    fn event(&self, requests: usize, rows: usize, failed: bool) -> BatchRan {
        BatchRan {
            requests,
            rows,
            assembly: self.joined - self.begun,
            inference: self.inference(),
            split: self.done - self.ran,
            failed,
        }
    }

    fn timing(&self, arrived: Instant, batch_size: usize) -> Timing {
        Timing {
            queue: self.begun.saturating_duration_since(arrived),
            assembly: self.joined - self.begun,
            inference: self.inference(),
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
