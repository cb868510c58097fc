//! From the daemon's settings to what the manager serves, and what of it is a reason not to
//! start.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

use crate::config::{self, ConfigProblems, Problem, Settings};
use crate::engine::EngineError;
use crate::lifecycle::{LoadError, LoadOutcome, ServedModels, SettingsReader};
use crate::repository::{place_model, read_repository};

/// Refuses what is named and not there, before anything is bound or loaded.
///
/// # Errors
/// Every such name.
pub(in crate::commands) fn require_places(settings: &Settings) -> Result<(), ConfigProblems> {
    let models = settings.models.iter().map(|model| {
        let place = place_model(model.name.as_deref(), &model.path);
        place.map(drop).map_err(|error| Problem::on_command_line("--model", error.to_string()))
    });
    let repositories = settings.repositories.iter().map(|folder| {
        let read = read_repository(folder).map(drop);
        read.map_err(|error| Problem::on_command_line("--repository", error.to_string()))
    });
    ConfigProblems::none_or(models.chain(repositories).filter_map(Result::err).collect(), ())
}

/// The models that these settings name.
pub(in crate::commands) fn served(settings: &Settings) -> ServedModels {
    ServedModels {
        models: settings.models.clone(),
        repositories: settings.repositories.clone(),
        load_repositories: settings.loading.at_start,
        settings: reader(settings),
    }
}

fn reader(settings: &Settings) -> SettingsReader {
    let defaults = settings.model_defaults.clone();
    Arc::new(move |folder: &Path, json: Option<&str>| {
        let read = match json {
            None => config::model_settings(folder, &defaults),
            Some(json) => config::model_settings_from_json(json, folder, &defaults),
        };
        read.map_err(|problems| problems.to_string())
    })
}

/// Refuses to start where something that was asked for by name cannot be had: a device or an
/// engine of a model on the command line, or every model there is. A broken model beside others
/// is only reported.
///
/// # Errors
/// Says which model, and why.
pub(in crate::commands) fn refuse_start(outcomes: &[LoadOutcome]) -> anyhow::Result<()> {
    for outcome in outcomes.iter().filter(|outcome| outcome.named) {
        for (_, error) in &outcome.failures {
            if let LoadError::Engine(error) = error
                && is_missing(error)
            {
                bail!("model {:?}: {error}", outcome.model);
            }
        }
    }
    let all_named = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.named);
    if all_named && outcomes.iter().all(|outcome| outcome.ready.is_empty()) {
        let reasons: Vec<String> = outcomes
            .iter()
            .flat_map(|outcome| {
                let reason = |error: &LoadError| format!("model {:?}: {error}", outcome.model);
                outcome.failures.iter().map(move |(_, error)| reason(error))
            })
            .collect();
        bail!("no model can be served: {}", reasons.join("; "));
    }
    Ok(())
}

/// Whether the machine lacks what was asked for, as opposed to the model being at fault.
fn is_missing(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::DeviceUnavailable { .. }
            | EngineError::LibraryMissing { .. }
            | EngineError::LibraryUnusable { .. }
    )
}
