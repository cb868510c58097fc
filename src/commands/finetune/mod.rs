//! `onnxd finetune`: a model and data in, the same model with better weights out.
//!
//! Reading order: `settings` (what was asked for), `subject` (the model) and `setup` (model, data
//! and engine, brought together), `progress` (the run as it is watched), `folder` and `outcome`
//! (what it leaves).

mod folder;
mod outcome;
mod progress;
mod settings;
mod setup;
mod subject;

use std::time::Instant;

use anyhow::{Context, Result};

use self::folder::RunFolder;
use self::outcome::Outcome;
use self::progress::Watch;
use self::setup::Setup;
use super::Ending;
use super::output::{print, print_json, say};
use crate::cli::{FinetuneArguments, FinetuneOptions};
use crate::train::{Checkpoint, End};

/// Trains.
///
/// # Errors
/// Something in settings, model or data is wrong, or the run broke. What was kept until then is
/// in the run's folder.
pub(super) fn finetune(arguments: FinetuneArguments) -> Result<Ending> {
    let begun = Instant::now();
    let file = match &arguments.config {
        Some(path) => settings::read_file(path)?,
        None => FinetuneOptions::default(),
    };
    let settings = settings::settings(arguments.options.or(file))?;
    let setup = Setup::new(&settings)?;
    let mut trainer = setup.trainer()?;
    let folder = if arguments.resume {
        let path = settings.output.as_deref().context("--resume needs --output")?;
        let folder = RunFolder::resume(path)?;
        trainer.resume(Checkpoint::load(&folder.checkpoint())?)?;
        folder
    } else {
        RunFolder::create(settings.output.as_deref(), &setup.subject.name)?
    };
    let steps = (trainer.progress().step, trainer.settings.learning_rate.steps);
    setup.introduce(&settings, &folder, steps.1);
    let mut watch = Watch::new(&folder, steps, settings.checkpoint_every)?;
    let ended = trainer.run(&mut watch);
    watch.finish()?;
    let end = match ended {
        Ok(end) => end,
        Err(error) => {
            // The state is that of the last good step.
            trainer.checkpoint()?.save(&folder.checkpoint())?;
            return Err(setup.explain(&trainer, error));
        }
    };
    if end == End::Stopped {
        let step = trainer.progress().step;
        say(format_args!(
            "stopped after step {step}; go on with --resume --output {}",
            folder.path().display()
        ));
        return Ok(Ending::Failed);
    }
    let outcome = Outcome::of(&setup, &settings, &mut trainer, end, begun.elapsed())?;
    outcome.write(&setup, &settings, &folder)?;
    if arguments.json {
        print_json(&outcome.summary(&folder))?;
    } else {
        print(outcome.text(&folder).as_bytes())?;
    }
    Ok(Ending::Done)
}
