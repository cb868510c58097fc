//! The engine's limit: a model in a bare loop, with so many sessions, threads and rows.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::figures::{Latency, Spread};
use crate::engine::{Engine, ModelSource, Session, SessionSettings};
use crate::tensor::Tensor;

/// How often it is looked whether every session has ended its first run, once time is up.
const LATE_POLL: Duration = Duration::from_millis(1);

/// One way to lay a model out on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub sessions: usize,
    pub threads: usize,
    pub batch: usize,
}

/// What is run.
#[derive(Clone)]
pub struct Subject {
    pub engine: Arc<dyn Engine>,
    pub source: ModelSource,
    /// As every session is opened; the threads are the way's.
    pub session: SessionSettings,
}

/// What one way did.
#[derive(Clone, Copy, Debug)]
pub struct Looped {
    pub rows_per_second: f64,
    /// Of one run.
    pub latency: Spread,
}

/// The ways worth trying on this many cores: one session with all threads, one thread each.
pub fn ways(cores: usize, batches: &[usize]) -> Vec<Way> {
    let mut ways = Vec::new();
    for &batch in batches {
        ways.push(Way { sessions: 1, threads: cores, batch });
        if cores > 1 {
            ways.push(Way { sessions: cores, threads: 1, batch });
        }
    }
    ways
}

/// Runs the subject in one way for `span`, and until every session has ended a run. `batches` are
/// inputs of `way.batch` rows each, run in turn: several, where lengths are mixed.
///
/// # Errors
/// The model cannot be opened so, or a run fails.
///
/// # Panics
/// `batches` is empty.
pub fn run(
    subject: &Subject,
    way: Way,
    batches: &[Vec<Option<Tensor>>],
    span: Duration,
) -> Result<Looped> {
    assert!(!batches.is_empty(), "a loop needs something to run");
    let course = &Course {
        start: Barrier::new(way.sessions + 1),
        stop: AtomicBool::new(false),
        begun: AtomicUsize::new(0),
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(way.sessions);
        for number in 0..way.sessions {
            let thread = std::thread::Builder::new().name(format!("loop-{number}"));
            let spawned = thread.spawn_scoped(scope, move || course.run(subject, way, batches));
            threads.push(spawned.expect("the system has a thread for each session"));
        }
        course.start.wait();
        std::thread::sleep(span);
        while course.begun.load(Ordering::Relaxed) < way.sessions {
            std::thread::sleep(LATE_POLL);
        }
        course.stop.store(true, Ordering::Relaxed);
        let mut total = 0.0;
        let mut latencies = Vec::new();
        for thread in threads {
            let session = thread.join().map_err(|_| anyhow!("the engine panicked"))??;
            total += session.runs_per_second;
            latencies.extend(session.latencies);
        }
        let rows_per_second = total * way.batch as f64;
        Ok(Looped { rows_per_second, latency: Spread::of(latencies) })
    })
}

/// What the threads of one measurement share.
struct Course {
    /// Passed when every session is open and warm, or has failed.
    start: Barrier,
    /// Set when time is up; what is running then does not count.
    stop: AtomicBool,
    /// Sessions that have ended a run, or have failed.
    begun: AtomicUsize,
}

/// What one session did.
struct Ran {
    runs_per_second: f64,
    latencies: Vec<Latency>,
}

impl Course {
    fn run(&self, subject: &Subject, way: Way, batches: &[Vec<Option<Tensor>>]) -> Result<Ran> {
        let opened = open(subject, way.threads, batches);
        self.start.wait();
        let ran = opened.and_then(|mut session| self.repeat(session.as_mut(), batches));
        if ran.is_err() {
            // Nobody waits for its first run any more.
            self.begun.fetch_add(1, Ordering::Relaxed);
        }
        ran
    }

    /// Runs until it is stopped, and counts up to the last run that had ended by then: the sessions
    /// disturb each other to the end, and no part of a run is counted.
    fn repeat(&self, session: &mut dyn Session, batches: &[Vec<Option<Tensor>>]) -> Result<Ran> {
        let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
        let mut latencies = Vec::new();
        let begin = Instant::now();
        let mut last = begin;
        for batch in batches.iter().cycle() {
            session.run(batch, &outputs)?;
            let now = Instant::now();
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if latencies.is_empty() {
                self.begun.fetch_add(1, Ordering::Relaxed);
            }
            latencies.push(Latency::of(now - last));
            last = now;
        }
        // At least one run was counted, and the coarsest clock may say that it took no time.
        let seconds = (last - begin).as_secs_f64().max(f64::MIN_POSITIVE);
        Ok(Ran { runs_per_second: latencies.len() as f64 / seconds, latencies })
    }
}

/// A session that has run every batch once.
fn open(
    subject: &Subject,
    threads: usize,
    batches: &[Vec<Option<Tensor>>],
) -> Result<Box<dyn Session>> {
    let settings = SessionSettings { threads, ..subject.session.clone() };
    let mut session = subject.engine.open(&subject.source, &settings)?;
    let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
    for batch in batches {
        session.run(batch, &outputs).context("the bare loop's first run")?;
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::ScriptedEngine;
    use crate::engine::{EngineError, Signature};

    fn subject(engine: ScriptedEngine) -> Subject {
        let source = ModelSource { path: "model.onnx".into() };
        Subject { engine: Arc::new(engine), source, session: SessionSettings::cpu() }
    }

    #[test]
    fn every_session_counts_its_runs() {
        let engine = ScriptedEngine::new(Signature::default(), |_| {
            std::thread::sleep(Duration::from_millis(2));
            Ok(Vec::new())
        });
        let way = Way { sessions: 2, threads: 1, batch: 4 };
        let looped = run(&subject(engine), way, &[Vec::new()], Duration::from_millis(50));
        let looped = looped.expect("it runs");
        // Two sessions, 4 rows, 2 ms or more each.
        assert!((1.0..=4000.0).contains(&looped.rows_per_second), "{looped:?}");
        assert!(looped.latency.median_us >= 2000.0, "{looped:?}");
    }

    #[test]
    fn a_run_that_takes_longer_than_the_time_given_is_still_counted() {
        let engine = ScriptedEngine::new(Signature::default(), |_| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(Vec::new())
        });
        let way = Way { sessions: 1, threads: 1, batch: 1 };
        let looped = run(&subject(engine), way, &[Vec::new()], Duration::from_millis(1));
        assert!(looped.expect("it runs").rows_per_second > 1.0);
    }

    #[test]
    fn a_model_that_fails_ends_the_loop() {
        let failed = |reason: &str| EngineError::RunFailed { reason: reason.to_owned() };
        let engine = ScriptedEngine::new(Signature::default(), move |_| Err(failed("no memory")));
        let way = Way { sessions: 2, threads: 1, batch: 1 };
        let error = run(&subject(engine), way, &[Vec::new()], Duration::from_secs(1)).unwrap_err();
        assert!(format!("{error:#}").contains("no memory"), "{error:#}");
    }

    #[test]
    fn ways_use_all_cores_together_and_apart() {
        let way = |sessions, threads, batch| Way { sessions, threads, batch };
        assert_eq!(ways(1, &[1, 2]), [way(1, 1, 1), way(1, 1, 2)]);
        assert_eq!(ways(4, &[8]), [way(1, 4, 8), way(4, 1, 8)]);
    }
}
