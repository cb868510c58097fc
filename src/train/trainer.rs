//! The loop: steps, epochs, validation, the best weights, and what happens when something breaks.

use super::checkpoint::{Checkpoint, Progress, is_better};
use super::evaluate::Evaluator;
use super::order::Order;
use super::scores::{Metrics, Tally};
use super::{LearningRate, Loss, StepReport, Stepper, TrainError};
use crate::data::Dataset;
use crate::tensor::Tensor;

/// What a run does and when it ends.
#[derive(Clone, Debug)]
pub struct RunSettings {
    pub loss: Loss,
    pub learning_rate: LearningRate,
    /// Epochs without a better loss on the validation data, after which a run ends; `None` never.
    pub patience: Option<u64>,
    /// What must be the same for a run to go on.
    pub fingerprint: String,
}

/// A step that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    pub loss: f64,
    pub norm: Option<f64>,
    pub learning_rate: f64,
    pub samples: usize,
}

/// An epoch that is done and was validated.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    pub epoch: u64,
    pub step: u64,
    pub validation: Metrics,
    /// Whether its weights are the best so far.
    pub best: bool,
}

/// Told what happens, and asked what should.
pub trait Observer {
    /// # Errors
    /// What happened cannot be written down.
    fn step(&mut self, record: &StepRecord) -> Result<(), TrainError>;

    /// # Errors
    /// What happened cannot be written down.
    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError>;

    /// Keeps a checkpoint; asked after every step whether one is due.
    fn is_checkpoint_due(&mut self, step: u64) -> bool;

    /// # Errors
    /// It cannot be written.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError>;

    /// Whether the run should stop now, to be resumed.
    fn is_stop_wanted(&mut self) -> bool;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    /// No better for as many epochs as patience allows.
    Early,
    /// It was asked to stop, and kept a checkpoint.
    Stopped,
}

/// A run under way.
pub struct Trainer<'a> {
    pub stepper: Stepper,
    pub evaluator: Evaluator,
    pub dataset: &'a Dataset,
    pub order: Order,
    pub validation: &'a [usize],
    pub settings: RunSettings,
    /// How many of the state's tensors are the model's own.
    pub weights: usize,
    progress: Progress,
    best: Vec<Tensor>,
}

/// What a trainer works with.
pub struct TrainerParts<'a> {
    pub stepper: Stepper,
    pub evaluator: Evaluator,
    pub dataset: &'a Dataset,
    pub order: Order,
    pub validation: &'a [usize],
    pub settings: RunSettings,
    pub weights: usize,
}

impl<'a> Trainer<'a> {
    pub fn new(parts: TrainerParts<'a>) -> Trainer<'a> {
        let TrainerParts { stepper, evaluator, dataset, order, validation, settings, weights } =
            parts;
        let progress =
            Progress { fingerprint: settings.fingerprint.clone(), ..Progress::default() };
        Trainer {
            stepper,
            evaluator,
            dataset,
            order,
            validation,
            settings,
            weights,
            progress,
            best: Vec::new(),
        }
    }

    /// Goes on from a checkpoint of the same run.
    ///
    /// # Errors
    /// It is of another run.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<(), TrainError> {
        if checkpoint.progress.fingerprint != self.settings.fingerprint {
            return Err(TrainError::OtherRun);
        }
        self.stepper.restore(&checkpoint.state)?;
        self.progress = checkpoint.progress;
        self.best = checkpoint.best;
        Ok(())
    }

    /// Runs to the end. The best parameters are then [`best`](Self::best).
    ///
    /// # Errors
    /// The engine failed, data cannot be read, or the loss is no number any more: then the state
    /// is that of the last good step.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<End, TrainError> {
        while self.progress.step < self.settings.learning_rate.steps {
            self.step(observer)?;
            if self.is_early() {
                return Ok(End::Early);
            }
            let step = self.progress.step;
            let stop = observer.is_stop_wanted() && step < self.settings.learning_rate.steps;
            if stop || observer.is_checkpoint_due(step) {
                observer.checkpoint(&self.checkpoint()?)?;
            }
            if stop {
                return Ok(End::Stopped);
            }
        }
        Ok(End::Finished)
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let step = self.progress.step + 1;
        let rate = self.settings.learning_rate.at(step);
        let parts = self.stepper.parts() as u64;
        let mut samples = 0;
        for part in (step - 1) * parts + 1..step * parts {
            let rows = self.order.batch(part);
            let batch = self.dataset.batch(&rows)?;
            let report = self.stepper.part(&batch.inputs, &batch.target, step)?;
            samples += rows.len();
            whole(step, &report, rows)?;
        }
        let rows = self.order.batch(step * parts);
        let batch = self.dataset.batch(&rows)?;
        let report = self.stepper.step(&batch.inputs, &batch.target, rate, step)?;
        samples += rows.len();
        whole(step, &report, rows)?;
        self.progress.step = step;
        let done = self.order.epochs_after(step * parts);
        let epoch = self.order.epochs_after((step - 1) * parts) + 1;
        observer.step(&StepRecord {
            step,
            epoch,
            loss: report.loss,
            norm: report.norm,
            learning_rate: rate,
            samples,
        })?;
        let last = step == self.settings.learning_rate.steps;
        if done > self.progress.epoch || last {
            self.validate(done.max(epoch), observer)?;
        }
        Ok(())
    }

    fn validate(&mut self, epoch: u64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        self.progress.epoch = epoch;
        let weights = self.stepper.state(0..self.weights)?;
        let validation = self.evaluate_with(&weights, self.validation)?;
        let best = is_better(&validation, self.progress.best_loss);
        if best {
            self.progress.best_loss = Some(validation.loss);
            self.progress.best_epoch = epoch;
            self.best = weights;
        }
        let step = self.progress.step;
        observer.epoch(&EpochRecord { epoch, step, validation, best })
    }

    fn is_early(&self) -> bool {
        let since = self.progress.epoch.saturating_sub(self.progress.best_epoch);
        self.settings.patience.is_some_and(|patience| since >= patience.max(1))
    }

    fn evaluate_with(&mut self, weights: &[Tensor], rows: &[usize]) -> Result<Metrics, TrainError> {
        let tally = Tally::new(self.settings.loss);
        self.evaluator.evaluate(weights, self.dataset, rows, tally)
    }

    /// How good the best parameters are on these rows.
    ///
    /// # Errors
    /// The data cannot be read, or the engine failed.
    pub fn evaluate_best(&mut self, rows: &[usize]) -> Result<Metrics, TrainError> {
        let best = self.best()?;
        self.evaluate_with(&best, rows)
    }

    /// The best parameters so far; those of now where none were validated.
    ///
    /// # Errors
    /// The engine does not give them out.
    pub fn best(&self) -> Result<Vec<Tensor>, TrainError> {
        match self.best.is_empty() {
            true => self.stepper.state(0..self.weights),
            false => Ok(self.best.clone()),
        }
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// # Errors
    /// The engine does not give the state out.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let state = self.stepper.whole_state()?;
        Ok(Checkpoint { progress: self.progress.clone(), state, best: self.best.clone() })
    }
}

/// Whether a step is one to go on from: its loss and norm are numbers. Else the stepper left
/// everything as it was.
fn whole(step: u64, report: &StepReport, rows: Vec<usize>) -> Result<(), TrainError> {
    let norm_broke = report.norm.is_some_and(|norm| !norm.is_finite());
    if report.loss.is_finite() && !norm_broke {
        return Ok(());
    }
    Err(TrainError::LossBroke { step, loss: report.loss, rows })
}
