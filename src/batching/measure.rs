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
/// A sample of which one row takes longer than this is too large to measure with.
const LONG_SAMPLE: Duration = Duration::from_millis(300);
/// Runs, and time for them, that a median is taken of.
const TIMED_RUNS: usize = 15;
const TIMED_TOTAL: Duration = Duration::from_millis(20);

/// Inputs of one run, made up.
pub(super) struct Load {
    inputs: Vec<Option<Tensor>>,
    outputs: Vec<usize>,
    pub rows: usize,
}

impl Load {
    /// `rows` rows in one run; without a plan, one request as it is.
    pub fn new(sample: &Sample, plan: Option<&Plan>, rows: usize) -> Option<Load> {
        Load::from_seed(sample, plan, rows, 1)
    }

    /// The same with rows of other values: those of `seed` and the seeds after it.
    pub fn from_seed(sample: &Sample, plan: Option<&Plan>, rows: usize, seed: u64) -> Option<Load> {
        let first = sample.request(seed);
        let outputs = first.outputs.to_vec();
        let Some(plan) = plan.filter(|_| rows > 1) else {
            return Some(Load { inputs: alone(&first), outputs, rows: 1 });
        };
        let seeds = seed..seed.wrapping_add(rows as u64);
        let requests: Vec<_> = seeds.map(|seed| sample.request(seed)).collect();
        let inputs = join(plan, &requests.iter().collect::<Vec<_>>()).ok()?;
        Some(Load { inputs, outputs, rows })
    }

    pub fn into_inputs(self) -> Vec<Option<Tensor>> {
        self.inputs
    }

    /// Runs once; whether the model took it.
    pub fn run(&self, slot: &mut Slot) -> bool {
        slot.run(&self.inputs, &self.outputs).is_ok()
    }
}

/// The sample to measure with: of the usual size where the model takes that, and not for long.
pub(super) fn usual_sample(slot: &mut Slot, sample: Sample) -> Sample {
    let Some(usual) = sample.of_usual_size() else { return sample };
    let begun = Instant::now();
    let taken = Load::new(&usual, None, 1).is_some_and(|load| load.run(slot));
    if taken && begun.elapsed() < LONG_SAMPLE { usual } else { sample }
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

/// Runs the load on all sessions at once, each on its own thread, for at least `window` and once
/// each; `None` where a run fails.
pub(super) fn throughput(slots: &mut [Slot], load: &Load, window: Duration) -> Option<Throughput> {
    let barrier = &Barrier::new(slots.len());
    let measured: Vec<Option<(u32, Duration)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = slots
            .iter_mut()
            .map(|slot| scope.spawn(move || run_for(slot, load, window, barrier)))
            .collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    let sessions = u32::try_from(slots.len()).ok()?;
    let mut total = Throughput { rows_per_second: 0.0, run: Duration::ZERO };
    for session in measured {
        let (runs, elapsed) = session?;
        let run = (elapsed / runs.max(1)).max(Duration::from_nanos(1));
        total.rows_per_second += load.rows as f64 / run.as_secs_f64();
        total.run += run / sessions;
    }
    Some(total)
}

fn run_for(
    slot: &mut Slot,
    load: &Load,
    window: Duration,
    barrier: &Barrier,
) -> Option<(u32, Duration)> {
    barrier.wait();
    let begun = Instant::now();
    let mut runs = 0;
    while runs == 0 || begun.elapsed() < window {
        if !load.run(slot) {
            return None;
        }
        runs += 1;
    }
    Some((runs, begun.elapsed()))
}
