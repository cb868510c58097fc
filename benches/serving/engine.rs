//! The engine's limit: the same model in a bare loop, over sessions × threads × batch size.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use onnxd::engine::{DeviceChoice, Engine, ModelSource, SessionSettings};
use onnxd::tensor::Tensor;

/// One way to lay a model out on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    pub sessions: usize,
    pub threads: usize,
    pub batch: usize,
}

/// Rows a second of one way. `inputs` makes the inputs of a batch of that many rows; it is called
/// with 0, 1, 2, … so that a mix of lengths is run in turn.
pub fn rows_per_second(
    engine: &Arc<dyn Engine>,
    model: &Path,
    device: DeviceChoice,
    way: Loop,
    inputs: &(dyn Fn(usize, usize) -> Vec<Option<Tensor>> + Sync),
    mix: usize,
    duration: Duration,
) -> f64 {
    let stop = AtomicBool::new(false);
    let rows = AtomicUsize::new(0);
    let warm = Barrier::new(way.sessions + 1);
    let settings = SessionSettings { device, threads: way.threads, ..SessionSettings::cpu() };
    let source = ModelSource { path: model.to_owned() };
    let mut elapsed = 0.0;
    std::thread::scope(|scope| {
        for _ in 0..way.sessions {
            scope.spawn(|| {
                let mut session = engine.open(&source, &settings).expect("the model opens");
                let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
                let batches: Vec<_> = (0..mix).map(|turn| inputs(turn, way.batch)).collect();
                for batch in &batches {
                    session.run(batch, &outputs).expect("the model runs");
                }
                warm.wait();
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    session.run(&batches[turn % mix], &outputs).expect("the model runs");
                    rows.fetch_add(way.batch, Ordering::Relaxed);
                }
            });
        }
        warm.wait();
        let begin = Instant::now();
        std::thread::sleep(duration);
        let counted = rows.load(Ordering::Relaxed) as f64;
        elapsed = begin.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        elapsed = counted / elapsed;
    });
    elapsed
}

/// The ways worth trying on this many cores: one session with all threads, one thread each.
pub fn ways(cores: usize, batches: &[usize]) -> Vec<Loop> {
    let mut ways = Vec::new();
    for &batch in batches {
        ways.push(Loop { sessions: 1, threads: cores, batch });
        if cores > 1 {
            ways.push(Loop { sessions: cores, threads: 1, batch });
        }
    }
    ways
}
