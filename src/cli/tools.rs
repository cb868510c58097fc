//! The options of everything but `serve`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::engine::{DeviceChoice, EngineChoice};

/// Shows what a model is and which engine can run it.
///
/// Inputs, outputs, operator sets, operators, parameters, and each engine's answer when it opens
/// the file. Exits with 1 where the file is no model, or no engine that was asked can run it.
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

/// Measures the daemon against the network's and the engine's own limits, in one run.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// An .onnx file or a model's folder; built-in models where none is given.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// How long each measurement takes.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
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
