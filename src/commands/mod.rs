//! One file per subcommand; the only place where the parts meet.
//!
//! A subcommand prints its result to stdout and what else it has to say to stderr, and ends in an
//! [`Ending`] or an error. [`exit_code`] is the one place that turns either into a number.

pub mod bench;
mod check;
mod finetune;
mod generate;
mod gradient;
mod inspect;
pub mod models;
mod new;
mod output;
mod resolve;
pub mod runtime;
mod serve;

use anyhow::Result;

use crate::cli::{Command, RuntimeCommand};
use crate::config::{ConfigProblems, Problem};
use crate::engine::EngineSettings;
use crate::repository::RepositoryError;

/// How a subcommand ended that has said itself what there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// It ran, and the answer is no.
    Failed,
    /// The command line or the configuration is wrong.
    Misconfigured,
}

/// Does what was typed.
///
/// # Errors
/// It could not be done; [`ConfigProblems`] where the configuration is the reason.
pub fn run(command: Command) -> Result<Ending> {
    match command {
        Command::Check(arguments) => check::check(arguments),
        Command::Finetune(arguments) => finetune::finetune(*arguments),
        Command::Gradient(arguments) => gradient::gradient(arguments),
        Command::New(command) => new::new(command),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Models(arguments) => {
            models::models(&arguments.repository, arguments.json).map(|()| Ending::Done)
        }
        Command::Runtime(RuntimeCommand::Install(arguments)) => {
            let options = runtime::InstallOptions {
                cuda: arguments.cuda,
                from: arguments.from,
                ..Default::default()
            };
            runtime::install(&options).map(|()| Ending::Done)
        }
        Command::Runtime(RuntimeCommand::Show(arguments)) => {
            let onnxruntime_library = arguments.onnxruntime;
            let settings = EngineSettings { onnxruntime_library, ..Default::default() };
            runtime::show(&settings, arguments.json).map(|()| Ending::Done)
        }
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::manual(&arguments),
        Command::Serve(arguments) => serve::serve(arguments.options.into()),
        Command::Bench(arguments) => bench::bench(&arguments).map(|()| Ending::Done),
    }
}

/// The exit code of a result, and what is still to be said about it.
pub fn exit_code(result: &Result<Ending>) -> (u8, Option<String>) {
    match result {
        Ok(Ending::Done) => (0, None),
        Ok(Ending::Failed) => (1, None),
        Ok(Ending::Misconfigured) => (2, None),
        Err(error) => match error.downcast_ref::<ConfigProblems>() {
            Some(problems) => (2, Some(problems.to_string())),
            // The chain of causes, in one line.
            None => (1, Some(format!("{error:#}"))),
        },
    }
}

/// A path on the command line at which there is not what `option` asks for: wrong use, not a
/// failure, as `serve` has it.
fn misplaced(option: &str, error: &RepositoryError) -> ConfigProblems {
    Problem::on_command_line(option, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_exit_code() {
        let problems = ConfigProblems::from(Problem::on_command_line("--listen", "is wrong"));
        let wrong = anyhow::Error::from(problems).context("starting");
        let failed = anyhow::anyhow!("no space").context("writing x");
        let table = [
            (Ok(Ending::Done), 0, None),
            (Ok(Ending::Failed), 1, None),
            (Ok(Ending::Misconfigured), 2, None),
            (Err(failed), 1, Some("writing x: no space")),
            (Err(wrong), 2, Some("command line: --listen: is wrong")),
        ];
        for (result, code, message) in table {
            assert_eq!(exit_code(&result), (code, message.map(str::to_owned)));
        }
    }
}
