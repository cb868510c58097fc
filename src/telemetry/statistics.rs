//! Sums since a version was loaded: what the protocol's statistics extension shows, and what the
//! `nv_*` names are rendered from. Not distributions; those are Prometheus histograms.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::events::{BatchRan, Outcome};

/// Distinct batch sizes that are kept apart: clients choose their requests' rows, and must not
/// choose how much is remembered. Runs of further sizes still count in the totals.
const MAX_BATCH_SIZES: usize = 1024;

/// How often something happened, and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub ns: u64,
}

impl Sum {
    fn add(&mut self, count: u64, each: Duration) {
        self.count += count;
        self.ns = self.ns.saturating_add(nanoseconds(each).saturating_mul(count));
    }

    fn merge(&mut self, other: Sum) {
        self.count += other.count;
        self.ns = self.ns.saturating_add(other.ns);
    }
}

/// Runs of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSum {
    pub compute_input: Sum,
    pub compute_infer: Sum,
    pub compute_output: Sum,
}

/// Failures in Triton's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Refused by a full queue, or expired in it.
    pub rejected: u64,
    pub cancelled: u64,
    /// The engine failed.
    pub backend: u64,
    /// The request itself was wrong.
    pub other: u64,
}

/// The sums at one moment, as plain values. Stage sums count requests, each with the whole time
/// of the batch it was in; batch sums count runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsSnapshot {
    /// Milliseconds since the Unix epoch; 0 before the first run.
    pub last_inference_ms: u64,
    /// Rows.
    pub inference_count: u64,
    /// Runs.
    pub execution_count: u64,
    pub success: Sum,
    pub fail: Sum,
    pub queue: Sum,
    pub compute_input: Sum,
    pub compute_infer: Sum,
    pub compute_output: Sum,
    /// By batch size.
    pub batches: BTreeMap<usize, BatchSum>,
    pub failures: Failures,
    /// Requests that wait now.
    pub pending: u64,
    /// What loading the version took of the host's memory; `None` where it could not be measured.
    pub memory_bytes: Option<u64>,
}

impl StatisticsSnapshot {
    /// Adds another's sums; what is not a sum takes the later or larger.
    pub fn merge(&mut self, other: &StatisticsSnapshot) {
        self.last_inference_ms = self.last_inference_ms.max(other.last_inference_ms);
        self.inference_count += other.inference_count;
        self.execution_count += other.execution_count;
        self.success.merge(other.success);
        self.fail.merge(other.fail);
        self.queue.merge(other.queue);
        self.compute_input.merge(other.compute_input);
        self.compute_infer.merge(other.compute_infer);
        self.compute_output.merge(other.compute_output);
        for (size, batch) in &other.batches {
            let mine = self.batches.entry(*size).or_default();
            mine.compute_input.merge(batch.compute_input);
            mine.compute_infer.merge(batch.compute_infer);
            mine.compute_output.merge(batch.compute_output);
        }
        self.failures.rejected += other.failures.rejected;
        self.failures.cancelled += other.failures.cancelled;
        self.failures.backend += other.failures.backend;
        self.failures.other += other.failures.other;
        self.pending += other.pending;
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
    }
}

#[derive(Default)]
struct AtomicSum {
    count: AtomicU64,
    ns: AtomicU64,
}

impl AtomicSum {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.ns.fetch_add(nanoseconds(time), Relaxed);
    }

    fn load(&self) -> Sum {
        Sum { count: self.count.load(Relaxed), ns: self.ns.load(Relaxed) }
    }
}

/// What changes once a run; a lock of its own, because a run costs far more than the lock.
#[derive(Default)]
struct Runs {
    last_inference_ms: u64,
    inference_count: u64,
    execution_count: u64,
    compute_input: Sum,
    compute_infer: Sum,
    compute_output: Sum,
    batches: BTreeMap<usize, BatchSum>,
}

/// The sums of one loaded version. Requests add to atomics, runs take a short lock.
#[derive(Default)]
pub struct Statistics {
    ended: [AtomicSum; Outcome::ALL.len()],
    queue: AtomicSum,
    pending: AtomicU64,
    memory_bytes: OnceLock<u64>,
    runs: Mutex<Runs>,
}

impl Statistics {
    pub(super) fn request_finished(&self, outcome: Outcome, total: Duration) {
        self.ended[outcome as usize].add(total);
    }

    pub(super) fn request_dequeued(&self, queue: Duration) {
        self.queue.add(queue);
    }

    pub(super) fn queue_depth(&self, depth: usize) {
        self.pending.store(depth as u64, Relaxed);
    }

    /// Said once, when the version begins to serve.
    pub(super) fn memory(&self, bytes: u64) {
        let _ = self.memory_bytes.set(bytes);
    }

    pub(super) fn batch_ran(&self, batch: &BatchRan) {
        if batch.failed {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let requests = batch.requests as u64;
        let mut runs = self.runs.lock();
        runs.last_inference_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        runs.inference_count += batch.rows as u64;
        runs.execution_count += 1;
        runs.compute_input.add(requests, batch.assembly);
        runs.compute_infer.add(requests, batch.inference);
        runs.compute_output.add(requests, batch.split);
        if runs.batches.len() < MAX_BATCH_SIZES || runs.batches.contains_key(&batch.rows) {
            let sums = runs.batches.entry(batch.rows).or_default();
            sums.compute_input.add(1, batch.assembly);
            sums.compute_infer.add(1, batch.inference);
            sums.compute_output.add(1, batch.split);
        }
    }

    /// The sums now. Requests that end meanwhile may be in one sum and not yet in another.
    pub fn snapshot(&self) -> StatisticsSnapshot {
        let ended = |outcome: Outcome| self.ended[outcome as usize].load();
        let mut fail = Sum::default();
        for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Ok) {
            fail.merge(ended(outcome));
        }
        let runs = self.runs.lock();
        StatisticsSnapshot {
            last_inference_ms: runs.last_inference_ms,
            inference_count: runs.inference_count,
            execution_count: runs.execution_count,
            success: ended(Outcome::Ok),
            fail,
            queue: self.queue.load(),
            compute_input: runs.compute_input,
            compute_infer: runs.compute_infer,
            compute_output: runs.compute_output,
            batches: runs.batches.clone(),
            failures: Failures {
                rejected: ended(Outcome::Rejected).count + ended(Outcome::Expired).count,
                cancelled: ended(Outcome::Cancelled).count,
                backend: ended(Outcome::Failed).count,
                other: ended(Outcome::Invalid).count,
            },
            pending: self.pending.load(Relaxed),
            memory_bytes: self.memory_bytes.get().copied(),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(requests: usize, rows: usize) -> BatchRan {
        BatchRan {
            requests,
            rows,
            assembly: Duration::from_nanos(3),
            inference: Duration::from_nanos(100),
            split: Duration::from_nanos(5),
            failed: false,
        }
    }

    #[test]
    fn stages_count_requests_and_batches_count_runs() {
        let statistics = Statistics::default();
        statistics.batch_ran(&run(3, 4));
        statistics.batch_ran(&run(1, 4));
        statistics.batch_ran(&BatchRan { failed: true, ..run(9, 9) });
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.inference_count, snapshot.execution_count), (8, 2));
        assert_eq!(snapshot.compute_infer, Sum { count: 4, ns: 400 });
        assert_eq!(snapshot.batches.keys().collect::<Vec<_>>(), [&4]);
        assert_eq!(snapshot.batches[&4].compute_output, Sum { count: 2, ns: 10 });
        assert!(snapshot.last_inference_ms > 1_600_000_000_000);
    }

    #[test]
    fn every_outcome_but_ok_is_a_failure_with_a_reason() {
        let statistics = Statistics::default();
        for outcome in Outcome::ALL {
            statistics.request_finished(outcome, Duration::from_nanos(10));
        }
        let snapshot = statistics.snapshot();
        assert_eq!(snapshot.success, Sum { count: 1, ns: 10 });
        assert_eq!(snapshot.fail, Sum { count: 5, ns: 50 });
        let Failures { rejected, cancelled, backend, other } = snapshot.failures;
        assert_eq!((rejected, cancelled, backend, other), (2, 1, 1, 1));
    }

    #[test]
    fn clients_cannot_grow_the_table_of_batch_sizes() {
        let statistics = Statistics::default();
        for rows in 1..=2 * MAX_BATCH_SIZES {
            statistics.batch_ran(&run(1, rows));
        }
        statistics.batch_ran(&run(1, 1));
        let snapshot = statistics.snapshot();
        assert_eq!(snapshot.batches.len(), MAX_BATCH_SIZES);
        assert_eq!(snapshot.batches[&1].compute_infer.count, 2);
        assert_eq!(snapshot.execution_count, 2 * MAX_BATCH_SIZES as u64 + 1);
    }

    #[test]
    fn merging_adds_what_a_reload_left_behind() {
        let statistics = Statistics::default();
        statistics.batch_ran(&run(2, 2));
        statistics.request_dequeued(Duration::from_nanos(7));
        let mut sum = statistics.snapshot();
        sum.merge(&statistics.snapshot());
        assert_eq!(sum.execution_count, 2);
        assert_eq!(sum.queue, Sum { count: 2, ns: 14 });
        assert_eq!(sum.batches[&2].compute_input.count, 2);
    }
}
