//! Subcommands and options: what may be typed, and nothing of what it does.
//!
//! clap is known here only. Reading order: [`Command`], then `serving` (the options of `serve`, and
//! what `check` shares with it), `tools` (everything else), `generate` (completions and manual
//! pages, made from the same definitions).
//!
//! Long options are whole words, the same word for the same thing in every subcommand. Wrong use
//! ends the process with exit code 2, as clap does by itself.

mod generate;
mod new;
mod serving;
mod tools;
mod training;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use generate::{completions, manual_pages};
pub use new::{NewCnnArguments, NewCommand, NewMlpArguments, NewOptions, NewTransformerArguments};
pub use serving::{CheckArguments, ServeArguments, ServingOptions};
pub use tools::{
    BenchArguments, CompletionsArguments, InspectArguments, InstallArguments, ManArguments,
    ModelsArguments, RuntimeCommand, Shell, ShowArguments,
};
pub use training::{FinetuneArguments, FinetuneOptions, GradientArguments};

/// onnxd serves ONNX models over HTTP: dynamic batches on an inference engine, the Open Inference
/// Protocol in front, Prometheus metrics beside.
#[derive(Debug, Parser)]
#[command(name = "onnxd", version, max_term_width = 100, infer_long_args = false)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(ServeArguments),
    Check(CheckArguments),
    /// Boxed: it has many options.
    Finetune(Box<FinetuneArguments>),
    Gradient(GradientArguments),
    #[command(subcommand)]
    New(NewCommand),
    Inspect(InspectArguments),
    Models(ModelsArguments),
    Bench(BenchArguments),
    /// Puts ONNX Runtime in place, or shows where it is looked for.
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// What was typed. Ends the process where that is no command: with 0 for help and version, else
/// with 2.
pub fn parse() -> Command {
    Arguments::parse().command
}

/// As [`parse`], from given words, the program's name first.
///
/// # Errors
/// The message that a person gets, and the exit code.
pub fn parse_from<W>(words: impl IntoIterator<Item = W>) -> Result<Command, (String, i32)>
where
    W: Into<OsString> + Clone,
{
    Arguments::try_parse_from(words)
        .map(|arguments| arguments.command)
        .map_err(|error| (error.to_string(), error.exit_code()))
}

#[cfg(test)]
mod tests;
