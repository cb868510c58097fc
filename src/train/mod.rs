//! Training: a model file and data go in, the same file with better weights comes out.
//!
//! Reading order: `parameters` (what is trained), `head` and `loss`, `optimizer` and
//! `learning_rate` (by what formulas), `differentiable`, `training_form`, `dropout`, `update` and
//! `step_graph` (all of it as one graph), `observe` (types and shapes of every value, by running
//! the model once), `open` (from a graph in memory to a session), `stepper` (steps), `order`
//! (which samples), `evaluate` and `scores` (how good it is), `checkpoint`, `trainer` (the loop),
//! `report` (a run, drawn). Beside them `gradient_file` (the gradient as a model of its own) and
//! `sample` (inputs made up for it).

mod broken;
mod checkpoint;
mod differentiable;
mod dropout;
mod error;
mod evaluate;
mod gradient_file;
mod head;
mod learning_rate;
mod loss;
mod numbers;
mod observe;
mod open;
mod optimizer;
mod order;
mod parameters;
pub mod report;
mod sample;
mod scores;
mod step_graph;
mod stepper;
mod trainer;
mod training_form;
mod update;

pub use broken::first_broken;
pub use checkpoint::{Checkpoint, Progress};
pub use error::TrainError;
pub use evaluate::{Evaluator, weights_as_inputs};
pub use gradient_file::{GradientPlan, gradient_file};
pub use head::{Head, head};
pub use learning_rate::{LearningRate, Schedule};
pub use loss::{Loss, LossSettings};
pub use observe::{Observed, observe};
pub use open::open;
pub use optimizer::{
    Algorithm, Lookup, OptimizerSettings, Scalars, Stepped, Updated, write_update,
};
pub use order::Order;
pub use parameters::{Trainable, parameters};
pub use scores::{Metrics, Tally};
pub use step_graph::{
    Carried, LOSS, Prepared, StepGraph, StepPlan, TARGET, WithLoss, prepare, step_graph,
};
pub use stepper::{StepReport, Stepper};
pub use trainer::{End, EpochRecord, Observer, RunSettings, StepRecord, Trainer, TrainerParts};
pub use update::Clipping;

/// The operators that a checkpoint claims to be written in; it has none.
const CHECKPOINT_OPSET: i64 = 17;
