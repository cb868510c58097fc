//! What runs take: of one session, and of several at the same time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::join::{alone, join};
use super::plan::Plan;
use super::sample::Sample;
use super::slot::Slot;
use crate::tensor::Tensor;

/// A run that takes longer than this is measured by itself alone.
const LONG_RUN: Duration = Duration::from_millis(50);
/// Runs, and time for them, that a median is taken of.
const TIMED_RUNS: usize = 15;
const TIMED_TOTAL: Duration = Duration::from_millis(20);
/// Runs of each session that a throughput is taken of, at least.
const MIN_RUNS: usize = 3;

/// Inputs of one run, made up.
pub(super) struct Load {
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<usize>,
    pub rows: usize,
}

impl Load {
    /// `rows` rows in one run; without a plan, one request as it is.
    pub fn new(sample: &Sample, plan: Option<&Plan>, rows: usize) -> Option<Load> {
        let first = sample.request(1);
        let outputs = first.outputs.to_vec();
        let Some(plan) = plan.filter(|_| rows > 1) else {
            return Some(Load { inputs: alone(&first), outputs, rows: 1 });
        };
        let requests: Vec<_> = (1..=rows as u64).map(|seed| sample.request(seed)).collect();
        let inputs = join(plan, &requests.iter().collect::<Vec<_>>()).ok()?;
        Some(Load { inputs, outputs, rows })
    }

    /// Runs once; whether the model took it.
    pub fn run(&self, slot: &mut Slot) -> bool {
        slot.run(&self.inputs, &self.outputs).is_ok()
    }
}

/// The median run of one session by itself, after one that warms it up; `None` where it fails.
pub(super) fn run_time(slot: &mut Slot, load: &Load) -> Option<Duration> {
    let timed = |slot: &mut Slot| {
        let begun = Instant::now();
        load.run(slot).then(|| begun.elapsed())
    };
    let begun = Instant::now();
    let first = timed(slot)?;
    if first > LONG_RUN {
        return Some(first);
    }
    let mut runs = Vec::with_capacity(TIMED_RUNS);
    while runs.len() < TIMED_RUNS && (runs.is_empty() || begun.elapsed() < TIMED_TOTAL) {
        runs.push(timed(slot)?);
    }
    runs.sort_unstable();
    Some(runs[runs.len() / 2])
}

/// What several sessions do that run at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Throughput {
    pub rows_per_second: f64,
    /// An average run.
    pub run: Duration,
}

/// Runs the load on all sessions at once, each on its own thread, for about `window`; `None`
/// where a run fails.
pub(super) fn throughput(slots: &mut [Slot], load: &Load, window: Duration) -> Option<Throughput> {
    let barrier = Barrier::new(slots.len());
    let barrier = &barrier;
    let measured: Vec<Option<(usize, Duration)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = slots
            .iter_mut()
            .map(|slot| scope.spawn(move || run_for(slot, load, window, barrier)))
            .collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    let mut total = Throughput { rows_per_second: 0.0, run: Duration::ZERO };
    let sessions = u32::try_from(slots.len()).ok()?;
    for session in measured {
        let (runs, elapsed) = session?;
        let runs = u32::try_from(runs).ok()?;
        total.rows_per_second +=
            load.rows as f64 * f64::from(runs) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        total.run += elapsed / runs.max(1) / sessions;
    }
    Some(total)
}

fn run_for(
    slot: &mut Slot,
    load: &Load,
    window: Duration,
    barrier: &Barrier,
) -> Option<(usize, Duration)> {
    let warm = load.run(slot);
    // Also where the warm-up failed: the others wait for everybody.
    barrier.wait();
    if !warm {
        return None;
    }
    let begun = Instant::now();
    let mut runs = 0;
    while runs < MIN_RUNS || begun.elapsed() < window {
        if !load.run(slot) {
            return None;
        }
        runs += 1;
    }
    Some((runs, begun.elapsed()))
}
