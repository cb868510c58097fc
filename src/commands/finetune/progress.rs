//! A run as it is watched: a bar on a terminal, plain lines elsewhere, every step in a file, and
//! checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::folder::{Metrics, RunFolder};
use crate::commands::output::say;
use crate::process::Signals;
use crate::train::{Checkpoint, EpochRecord, Observer, StepRecord, TrainError};

/// Steps between two looks at how fast it goes.
const SHOWN_EVERY: u64 = 10;

#[derive(Serialize)]
struct StepLine {
    step: u64,
    epoch: u64,
    loss: f64,
    learning_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_norm: Option<f64>,
    seconds: f64,
}

#[derive(Serialize)]
struct EpochLine<'a> {
    epoch: u64,
    step: u64,
    validation: &'a crate::train::Metrics,
    best: bool,
}

/// Watches a run.
pub struct Watch<'a> {
    folder: &'a RunFolder,
    metrics: Metrics,
    bar: ProgressBar,
    /// Steps between checkpoints; `None` for one at the end of each epoch.
    every: Option<u64>,
    epoch_ended: bool,
    stop: Arc<AtomicBool>,
    since: Instant,
}

impl<'a> Watch<'a> {
    /// Begins after `done` steps of `steps`.
    ///
    /// # Errors
    /// The metrics cannot be written, or signals not be had.
    pub fn new(
        folder: &'a RunFolder,
        (done, steps): (u64, u64),
        every: Option<u64>,
    ) -> Result<Watch<'a>> {
        let bar = ProgressBar::new(steps);
        let style = "{bar:30} step {pos}/{len} · {msg} · {per_sec} · {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a sound template"));
        bar.set_position(done);
        // Before there is anything that says that the run has begun.
        let stop = stop_flag()?;
        Ok(Watch {
            folder,
            metrics: folder.metrics(done)?,
            bar,
            every,
            epoch_ended: false,
            stop,
            since: Instant::now(),
        })
    }

    /// The last words to the file; the bar goes.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub fn finish(mut self) -> Result<()> {
        self.bar.finish_and_clear();
        self.metrics.flush().map_err(anyhow::Error::msg)
    }
}

fn unwritable(reason: String) -> TrainError {
    TrainError::Record { reason }
}

impl Observer for Watch<'_> {
    fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.epoch_ended = false;
        if record.step.is_multiple_of(SHOWN_EVERY) {
            self.bar.set_position(record.step);
            self.bar.set_message(format!("epoch {} · loss {:.4}", record.epoch, record.loss));
        }
        let line = StepLine {
            step: record.step,
            epoch: record.epoch,
            loss: record.loss,
            learning_rate: record.learning_rate,
            gradient_norm: record.norm,
            seconds,
        };
        self.metrics.write(&line).map_err(unwritable)
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.epoch_ended = true;
        let validation = &record.validation;
        let mut text = format!("epoch {}", record.epoch);
        if validation.samples > 0 {
            text.push_str(&format!(" · validation loss {:.4}", validation.loss));
        }
        if let Some(accuracy) = validation.accuracy.filter(|accuracy| accuracy.is_finite()) {
            text.push_str(&format!(" · accuracy {:.2}%", accuracy * 100.0));
        }
        if let Some(error) = validation.mean_absolute_error.filter(|error| error.is_finite()) {
            text.push_str(&format!(" · mean absolute error {error:.4}"));
        }
        if record.best {
            text.push_str(" · best");
        }
        self.bar.suspend(|| say(format_args!("{text}")));
        let EpochRecord { epoch, step, ref validation, best } = *record;
        let line = EpochLine { epoch, step, validation, best };
        self.metrics.write(&line).and_then(|()| self.metrics.flush()).map_err(unwritable)?;
        // What the epoch took is not the next step's.
        self.since = Instant::now();
        Ok(())
    }

    fn is_checkpoint_due(&mut self, step: u64) -> bool {
        match self.every {
            Some(every) => step.is_multiple_of(every),
            None => self.epoch_ended,
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        // The file must not say less than the checkpoint: it is cut back to it, never filled up.
        self.metrics.flush().map_err(unwritable)?;
        checkpoint.save(&self.folder.checkpoint())
    }

    fn is_stop_wanted(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Set by SIGINT or SIGTERM; a second one ends the process.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _guard = runtime.enter();
        Signals::new().context("listening for signals")?
    };
    let watch = move || {
        runtime.block_on(async {
            signals.next_stop().await;
            set.store(true, Ordering::Relaxed);
            say(format_args!("stopping after this step; a checkpoint is kept"));
            signals.next_stop().await;
        });
        std::process::exit(1);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(flag)
}
