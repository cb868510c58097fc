//! The options of everything but `serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::engine::{DeviceChoice, EngineChoice};

/// Shows what a model is and which engine can run it.
///
/// Inputs, outputs, operator sets, operators, parameters, and each engine's answer when it opens
/// the file. Exits with 1 where the file is no model, or no engine that was asked can run it, and
/// with 2 where there is no file.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// An .onnx file, or a folder with numbered versions, of which the highest is shown.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Ask only this engine: onnxruntime or tract; auto asks all.
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,
    /// Open the model for this device: auto, cpu, cuda[:N] or tensorrt[:N].
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// ONNX Runtime's library, instead of looking for it.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Lists the models of a repository and their versions.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    /// The folder of models.
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Print them as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Measures a model: bare on its engine, and served.
///
/// The engine's best is looked for over sessions, threads and batch sizes; then the daemon serves
/// the model with what it chose itself, and a client on the same machine asks as fast as it is
/// answered. Inputs are made up, the same in every run; model.toml's sample_shapes sets their
/// sizes. Needs a machine that does nothing else.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// An .onnx file, or a folder with numbered versions, of which those are loaded that serve.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Engine that runs the model: auto, onnxruntime or tract.
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<EngineChoice>,
    /// Device that it runs on: auto, cpu, cuda[:N] or tensorrt[:N].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// ONNX Runtime's library, instead of looking for it.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// How long each measurement takes; parts of a second are allowed.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// Connections that ask at the same time. Several are allowed, each is measured.
    #[arg(long, value_name = "COUNT", default_values_t = [1, 32])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub connections: Vec<u32>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Long enough for a run, short enough for a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.05..=3600.0).contains(seconds));
    let expected = || format!("expected a number of seconds from 0.05 to 3600, got {text:?}");
    seconds.map(Duration::from_secs_f64).ok_or_else(expected)
}

/// What `runtime` can do.
#[derive(Debug, Subcommand)]
pub enum RuntimeCommand {
    Install(InstallArguments),
    Show(ShowArguments),
}

/// Installs ONNX Runtime where the daemon looks for it.
///
/// Downloads a pinned version with pip and checks its digest, or takes a file.
#[derive(Debug, Args)]
pub struct InstallArguments {
    /// Install the build with CUDA and TensorRT.
    #[arg(long)]
    pub cuda: bool,
    /// Install from this file (wheel, .tgz, .deb or the library) instead of downloading.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// Shows each place where ONNX Runtime's library is looked for, and what was found there.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// Look here first.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Prints a script that makes a shell complete onnxd's commands and options.
///
/// For bash: onnxd completions bash > ~/.local/share/bash-completion/completions/onnxd
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Shells that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// Prints the manual page, or writes one for each subcommand.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Write onnxd.1, onnxd-serve.1 and so on into this folder.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
