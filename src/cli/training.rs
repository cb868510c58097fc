//! The options of `gradient` and `finetune`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use crate::engine::{DeviceChoice, EngineChoice};
use crate::train::{Algorithm, Loss, Schedule};

/// Writes the gradient of a model's loss as a model of its own, which any ONNX runtime can compute.
///
/// Its inputs are the model's and `target`; its outputs are `loss`, and NAME.gradient for each
/// parameter.
#[derive(Debug, Args)]
pub struct GradientArguments {
    /// An .onnx file, or a folder with numbered versions, of which the highest is taken.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// cross-entropy, binary-cross-entropy, mean-squared, l1 or huber; found out where it is not
    /// said.
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<Loss>,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Parameters to take the gradient for; * stands for any characters. Several are allowed; all
    /// where none is given.
    #[arg(long, value_name = "PATTERN")]
    pub trainable: Vec<String>,
    /// The model's output that the loss is of, where it is not the first.
    #[arg(long, value_name = "NAME")]
    pub head: Option<String>,
    /// Engine that the model is run on to see its shapes: auto, onnxruntime or tract.
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,
    /// ONNX Runtime's library, instead of looking for it.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
}

/// Trains a model on data and writes the same file with better weights.
///
/// At the end the output folder holds model.onnx, metrics.jsonl, report.html, manifest.toml and
/// checkpoints. Ctrl-C keeps a checkpoint, from which --resume goes on.
#[derive(Debug, Args)]
pub struct FinetuneArguments {
    /// A TOML file with these options; what is said here wins over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: FinetuneOptions,
    /// Go on with the run in the output folder, from its last checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What may be said on the command line and in a file, under the same names.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FinetuneOptions {
    /// An .onnx file, or a folder with numbered versions, of which the highest is taken.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// A .csv or .npz file.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The column or array that the model should answer with.
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Whether the first line of a .csv file names its columns; found out where it is not said.
    #[arg(long, value_name = "BOOL")]
    pub header: Option<bool>,
    /// The model's output that the loss is of, where it is not the first.
    #[arg(long, value_name = "NAME")]
    pub head: Option<String>,
    /// cross-entropy, binary-cross-entropy, mean-squared, l1 or huber; found out where it is not
    /// said.
    #[arg(long, value_name = "LOSS")]
    #[serde(deserialize_with = "word")]
    pub loss: Option<Loss>,
    /// Share of each target that is spread over all classes [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Weigh classes in the loss so that all count the same, however rare.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub balance_classes: Option<bool>,
    /// sgd, adam or adamw [default: adamw].
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "word")]
    pub optimizer: Option<Algorithm>,
    /// The highest rate [default: 0.001; sgd 0.01].
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Of parameters with two axes or more [default: 0.01 for adamw, else 0].
    #[arg(long, value_name = "SHARE")]
    pub weight_decay: Option<f64>,
    /// Of sgd [default: 0.9].
    #[arg(long, value_name = "SHARE")]
    pub momentum: Option<f64>,
    /// Nesterov's form of momentum.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub nesterov: Option<bool>,
    /// constant, linear, cosine or one-cycle [default: cosine].
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "word")]
    pub schedule: Option<Schedule>,
    /// Steps in which the rate rises to its highest [default: 0].
    #[arg(long, value_name = "STEPS")]
    pub warmup: Option<u64>,
    /// Samples of a batch [default: 32].
    #[arg(long, value_name = "SAMPLES")]
    pub batch_size: Option<usize>,
    /// Batches a step, whose gradients are averaged: for steps of more samples than memory takes at
    /// once [default: 1].
    #[arg(long, value_name = "BATCHES")]
    pub accumulate: Option<usize>,
    /// Times that the training data is gone through [default: 20].
    #[arg(long, value_name = "COUNT")]
    pub epochs: Option<u64>,
    /// Steps of the whole run, instead of epochs.
    #[arg(long, value_name = "COUNT")]
    pub steps: Option<u64>,
    /// Bound on the norm of all gradients together.
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,
    /// Bound on each element of a gradient.
    #[arg(long, value_name = "VALUE")]
    pub clip_value: Option<f64>,
    /// Parameters to train; * stands for any characters. Several are allowed; all where none is
    /// given.
    #[arg(long, value_name = "PATTERN")]
    pub trainable: Vec<String>,
    /// End after so many epochs without a better loss on the validation data.
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u64>,
    /// Of all that is random [default: 0].
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Keep the order of the data.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub no_shuffle: Option<bool>,
    /// Share of the data that chooses the best weights and is not trained on [default: 0.1].
    #[arg(long, value_name = "FRACTION")]
    pub validation: Option<f64>,
    /// Share of the data that is looked at once, at the end [default: 0.1].
    #[arg(long, value_name = "FRACTION")]
    pub test: Option<f64>,
    /// Steps between checkpoints [default: one at the end of each epoch].
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<u64>,
    /// The folder for the result, which must be new [default: runs/MODEL-NUMBER].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// auto, onnxruntime or tract [default: auto].
    #[arg(long, value_name = "ENGINE")]
    #[serde(deserialize_with = "word")]
    pub engine: Option<EngineChoice>,
    /// auto, cpu or cuda[:N] [default: auto].
    #[arg(long, value_name = "DEVICE")]
    #[serde(deserialize_with = "word")]
    pub device: Option<DeviceChoice>,
    /// ONNX Runtime's library, instead of looking for it.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Compute in the model's own operators alone, without onnxd's kernels.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub no_kernels: Option<bool>,
    /// Threads of a step on the CPU [default: one per core].
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
}

/// A value as it is typed.
fn word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err = String>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

macro_rules! or_else {
    ($one:ident, $other:ident; $($field:ident),* $(,)?) => {
        FinetuneOptions {
            trainable: if $one.trainable.is_empty() { $other.trainable } else { $one.trainable },
            $($field: $one.$field.or($other.$field),)*
        }
    };
}

impl FinetuneOptions {
    /// These, and others where nothing is said here.
    pub fn or(self, other: FinetuneOptions) -> FinetuneOptions {
        or_else!(self, other;
            model, data, target, header, head, loss, label_smoothing, balance_classes, optimizer,
            learning_rate, weight_decay, momentum, nesterov, schedule, warmup, batch_size, accumulate, epochs,
            steps, clip_norm, clip_value, patience, seed, no_shuffle, validation, test,
            checkpoint_every, output, engine, device, onnxruntime, threads,
            no_kernels,
        )
    }
}
