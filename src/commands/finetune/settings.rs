//! From options to settings: defaults, bounds, and all that is wrong at once.

use std::path::{Path, PathBuf};

use crate::cli::FinetuneOptions;
use crate::config::{ConfigProblems, Problem};
use crate::data::SplitSettings;
use crate::engine::{DeviceChoice, EngineChoice};
use crate::train::{Algorithm, Clipping, Loss, OptimizerSettings, Schedule, Trainable};

const DEFAULT_BATCH_SIZE: usize = 32;
const DEFAULT_EPOCHS: u64 = 20;
const DEFAULT_FRACTION: f64 = 0.1;
/// Classes' shares and rates above this are typing errors.
const MOST_RATE: f64 = 1e3;
/// Batches of one step.
const MOST_PARTS: usize = 65_536;

/// A run, as it was asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    pub model: PathBuf,
    pub data: PathBuf,
    pub target: String,
    pub header: Option<bool>,
    pub head: Option<String>,
    pub loss: Option<Loss>,
    pub label_smoothing: f64,
    pub balance_classes: bool,
    pub optimizer: OptimizerSettings,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: u64,
    pub batch_size: usize,
    pub accumulate: usize,
    pub length: Length,
    pub clipping: Clipping,
    pub trainable: Trainable,
    pub patience: Option<u64>,
    pub seed: u64,
    pub shuffle: bool,
    pub split: SplitSettings,
    pub checkpoint_every: Option<u64>,
    pub output: Option<PathBuf>,
    pub engine: EngineChoice,
    pub device: DeviceChoice,
    pub onnxruntime: Option<PathBuf>,
    pub threads: usize,
    pub kernels: bool,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Epochs(u64),
    Steps(u64),
}

/// Settings from options.
///
/// # Errors
/// Names every option that is missing or out of its bounds.
pub fn settings(options: FinetuneOptions) -> Result<Settings, ConfigProblems> {
    let mut problems = Vec::new();
    let optimizer = optimizer(&options, &mut problems);
    check_bounds(&options, &mut problems);
    let validation = options.validation.unwrap_or(DEFAULT_FRACTION);
    let test = options.test.unwrap_or(DEFAULT_FRACTION);
    let algorithm = optimizer.algorithm;
    let usual_rate = if algorithm == Algorithm::Sgd { 0.01 } else { 0.001 };
    let epochs = options.epochs.unwrap_or(DEFAULT_EPOCHS);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seed = options.seed.unwrap_or(0);
    let settings = Settings {
        model: options.model.unwrap_or_default(),
        data: options.data.unwrap_or_default(),
        target: options.target.unwrap_or_default(),
        header: options.header,
        head: options.head,
        loss: options.loss,
        label_smoothing: options.label_smoothing.unwrap_or(0.0),
        balance_classes: options.balance_classes.unwrap_or(false),
        optimizer,
        learning_rate: options.learning_rate.unwrap_or(usual_rate),
        schedule: options.schedule.unwrap_or(Schedule::Cosine),
        warmup: options.warmup.unwrap_or(0),
        batch_size: options.batch_size.unwrap_or(DEFAULT_BATCH_SIZE),
        accumulate: options.accumulate.unwrap_or(1),
        length: options.steps.map_or(Length::Epochs(epochs), Length::Steps),
        clipping: Clipping { norm: options.clip_norm, value: options.clip_value },
        trainable: Trainable { patterns: options.trainable },
        patience: options.patience,
        seed,
        shuffle: !options.no_shuffle.unwrap_or(false),
        split: SplitSettings { validation, test, seed, stratified: true },
        checkpoint_every: options.checkpoint_every,
        output: options.output,
        engine: options.engine.unwrap_or_default(),
        device: options.device.unwrap_or_default(),
        onnxruntime: options.onnxruntime,
        threads: options.threads.unwrap_or(cores),
        kernels: !options.no_kernels.unwrap_or(false),
    };
    ConfigProblems::none_or(problems, settings)
}

/// What is missing, or out of its bounds.
fn check_bounds(options: &FinetuneOptions, problems: &mut Vec<Problem>) {
    let mut needed = |option: &str, given: bool| {
        if !given {
            problems.push(Problem::on_command_line(option, "is needed"));
        }
    };
    needed("--model", options.model.is_some());
    needed("--data", options.data.is_some());
    needed("--target", options.target.is_some());
    let positive =
        |number: Option<f64>| number.is_none_or(|number| number > 0.0 && number.is_finite());
    let share = |number: Option<f64>| number.is_none_or(|number| (0.0..1.0).contains(&number));
    let rate = |number: Option<f64>| positive(number) && number.is_none_or(|it| it <= MOST_RATE);
    let count = |number: Option<u64>| number.is_none_or(|number| number > 0);
    let mut bounded = |option: &str, fits: bool, expected: &str| {
        if !fits {
            problems.push(Problem::on_command_line(option, format!("expected {expected}")));
        }
    };
    bounded("--label-smoothing", share(options.label_smoothing), "a share from 0 to below 1");
    bounded("--learning-rate", rate(options.learning_rate), "a number above 0, at most 1000");
    bounded("--batch-size", options.batch_size != Some(0), "at least 1");
    let accumulate = options.accumulate.unwrap_or(1);
    bounded("--accumulate", (1..=MOST_PARTS).contains(&accumulate), "from 1 to 65536");
    bounded("--epochs", count(options.epochs), "at least 1");
    bounded("--steps", count(options.steps), "at least 1");
    bounded("--patience", count(options.patience), "at least 1");
    bounded("--checkpoint-every", count(options.checkpoint_every), "at least 1");
    bounded("--threads", options.threads != Some(0), "at least 1");
    bounded("--clip-norm", positive(options.clip_norm), "a number above 0");
    bounded("--clip-value", positive(options.clip_value), "a number above 0");
    bounded("--validation", share(options.validation), "a fraction from 0 to below 1");
    bounded("--test", share(options.test), "a fraction from 0 to below 1");
    let both = options.epochs.is_some() && options.steps.is_some();
    bounded("--steps", !both, "either this or --epochs, not both");
    let validation = options.validation.unwrap_or(DEFAULT_FRACTION);
    let test = options.test.unwrap_or(DEFAULT_FRACTION);
    bounded("--validation", validation + test < 1.0, "less than 1 together with --test");
}

fn optimizer(options: &FinetuneOptions, problems: &mut Vec<Problem>) -> OptimizerSettings {
    let algorithm = options.optimizer.unwrap_or(Algorithm::AdamW);
    let usual = OptimizerSettings::of(algorithm);
    let sgd = algorithm == Algorithm::Sgd;
    let mut refuse = |option: &str, reason: &str| {
        problems.push(Problem::on_command_line(option, reason));
    };
    if !sgd && options.momentum.is_some() {
        refuse("--momentum", "only sgd has it");
    }
    if !sgd && options.nesterov == Some(true) {
        refuse("--nesterov", "only sgd has it");
    }
    let share = |number: f64| (0.0..1.0).contains(&number);
    if options.momentum.is_some_and(|momentum| !share(momentum)) {
        refuse("--momentum", "expected a share from 0 to below 1");
    }
    if options.weight_decay.is_some_and(|decay| !share(decay)) {
        refuse("--weight-decay", "expected a share from 0 to below 1");
    }
    OptimizerSettings {
        momentum: options.momentum.unwrap_or(if sgd { 0.9 } else { 0.0 }),
        nesterov: options.nesterov.unwrap_or(false),
        weight_decay: options.weight_decay.unwrap_or(usual.weight_decay),
        ..usual
    }
}

/// The options in a file; paths in it are relative to its folder.
///
/// # Errors
/// It cannot be read, or says what is not known.
pub fn read_file(path: &Path) -> Result<FinetuneOptions, ConfigProblems> {
    let problem = |reason: String| {
        Problem::on_command_line("--config", format!("{}: {}", path.display(), reason.trim_end()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    let mut options: FinetuneOptions =
        toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in [&mut options.model, &mut options.data, &mut options.output] {
        *path = path.take().map(|path| folder.join(path));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enough() -> FinetuneOptions {
        FinetuneOptions {
            model: Some("m.onnx".into()),
            data: Some("d.csv".into()),
            target: Some("y".to_owned()),
            ..FinetuneOptions::default()
        }
    }

    fn refusal(options: FinetuneOptions) -> String {
        settings(options).expect_err("something is wrong").to_string()
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let options = FinetuneOptions {
            data: Some("d.csv".into()),
            epochs: Some(0),
            validation: Some(1.5),
            momentum: Some(0.9),
            ..FinetuneOptions::default()
        };
        let text = refusal(options);
        for option in ["--model", "--target", "--epochs", "--validation", "--momentum"] {
            assert!(text.contains(option), "{option}: {text}");
        }
    }

    #[test]
    fn a_run_is_as_long_as_epochs_or_steps_say_and_not_both() {
        let of = |epochs, steps| FinetuneOptions { epochs, steps, ..enough() };
        let length = |options| settings(options).expect("sound").length;
        assert_eq!(length(of(None, None)), Length::Epochs(20));
        assert_eq!(length(of(None, Some(7))), Length::Steps(7));
        assert!(refusal(of(Some(1), Some(7))).contains("not both"));
    }

    #[test]
    fn fractions_leave_something_to_train_on() {
        let options = FinetuneOptions { validation: Some(0.6), test: Some(0.4), ..enough() };
        assert!(refusal(options).contains("less than 1 together with --test"));
    }

    #[test]
    fn a_file_says_the_same_as_the_command_line_which_wins() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        let text = "model = \"m.onnx\"\ndata = \"/d.csv\"\ntarget = \"y\"\nbatch-size = 8\n\
                    optimizer = \"sgd\"\ntrainable = [\"a*\"]\n";
        std::fs::write(&path, text).expect("the folder is writable");
        let typed = FinetuneOptions { batch_size: Some(4), ..FinetuneOptions::default() };
        let settings = settings(typed.or(read_file(&path).expect("sound"))).expect("sound");
        assert_eq!(settings.model, folder.path().join("m.onnx"));
        assert_eq!(settings.data, PathBuf::from("/d.csv"));
        assert_eq!((settings.batch_size, settings.learning_rate), (4, 0.01));
        assert_eq!(settings.trainable.patterns, ["a*"]);
        std::fs::write(&path, "batchsize = 8").expect("the folder is writable");
        let error = read_file(&path).expect_err("no such key").to_string();
        assert!(error.contains("unknown field `batchsize`"), "{error}");
    }
}
