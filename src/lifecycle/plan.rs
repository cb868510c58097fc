//! From configuration and disk to what is to be loaded: which models there are, and which
//! versions of one, with which settings. Reads files; changes and loads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::policy::desired_versions;
use super::{LoadError, ModelSettings, ServedModels, SettingsReader};
use crate::engine::panic_text;
use crate::repository::{
    MODEL_FILE, ModelFiles, ModelPlace, VersionFiles, check_name, place_model, read_model,
    read_repository,
};

/// A model that the configuration speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) place: ModelPlace,
    /// Named one by one, not found in a repository.
    pub(super) named: bool,
    /// Loaded without being asked for.
    pub(super) load: bool,
}

/// All models that the configuration speaks of.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) models: BTreeMap<String, Listed>,
    /// What cannot be a model, by what it would have been called; whether it was named.
    pub(super) problems: Vec<(String, bool, LoadError)>,
    /// What is passed over.
    pub(super) warnings: Vec<String>,
}

impl Listing {
    pub(super) fn read(served: &ServedModels) -> Listing {
        let mut listing = Listing::default();
        for model in &served.models {
            match place_model(model.name.as_deref(), &model.path) {
                Ok(place) => listing.add(Listed { place, named: true, load: true }),
                Err(error) => {
                    let own_name = || model.path.display().to_string();
                    let name = model.name.clone().unwrap_or_else(own_name);
                    listing.problems.push((name, true, error.into()));
                }
            }
        }
        for path in &served.repositories {
            match read_repository(path) {
                Ok(repository) => {
                    for problem in repository.problems {
                        let (path, reason) = (problem.path.display(), problem.reason);
                        listing.warnings.push(format!("{path}: {reason}"));
                    }
                    for place in repository.models {
                        let load = served.load_repositories;
                        listing.add(Listed { place, named: false, load });
                    }
                }
                Err(error) => {
                    listing.problems.push((path.display().to_string(), true, error.into()));
                }
            }
        }
        listing
    }

    /// The first of a name stays.
    fn add(&mut self, listed: Listed) {
        let name = listed.place.name.clone();
        match self.models.get(&name) {
            None => {
                self.models.insert(name, listed);
            }
            Some(first) => {
                let error = LoadError::Duplicate {
                    model: name.clone(),
                    first: first.place.path.clone(),
                    second: listed.place.path,
                };
                self.problems.push((name, listed.named, error));
            }
        }
    }
}

/// The model of that name in the repositories as they are now.
pub(super) fn find_in_repositories(served: &ServedModels, name: &str) -> Option<ModelPlace> {
    // A name that holds a slash or dots only would lead elsewhere.
    check_name(name).ok()?;
    let folders = served.repositories.iter().map(|repository| repository.join(name));
    let path = folders.into_iter().find(|path| path.is_dir())?;
    Some(ModelPlace { name: name.to_owned(), path })
}

/// What is to be loaded of one model.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) settings: Arc<ModelSettings>,
    /// At least one, ascending.
    pub(super) versions: Vec<VersionFiles>,
    /// Numbers that lie there, desired or not.
    pub(super) on_disk: BTreeSet<u64>,
    /// What is passed over.
    pub(super) warnings: Vec<String>,
}

/// Reads a model's settings and picks its versions.
///
/// # Errors
/// The settings are wrong, or there is nothing to serve.
pub(super) fn plan_model(
    place: &ModelPlace,
    reader: &SettingsReader,
    config: Option<&str>,
) -> Result<Plan, LoadError> {
    let path = &place.path;
    let (settings, files) = read_files(place, reader, config)?;
    let on_disk: Vec<u64> = files.versions.iter().map(|version| version.number).collect();
    let desired = desired_versions(&settings.versions, &on_disk);
    if desired.is_empty() {
        return Err(LoadError::NoneDesired { path: path.clone(), on_disk });
    }
    let problems = files.problems.iter();
    let warnings = problems.map(|it| format!("{}: {}", it.path.display(), it.reason)).collect();
    let is_desired = |version: &VersionFiles| desired.contains(&version.number);
    Ok(Plan {
        settings: Arc::new(settings),
        versions: files.versions.into_iter().filter(is_desired).collect(),
        on_disk: on_disk.into_iter().collect(),
        warnings,
    })
}

/// A model's settings, and its versions as they lie on disk.
///
/// # Errors
/// The settings are wrong, or there is nothing to serve.
pub(super) fn read_files(
    place: &ModelPlace,
    reader: &SettingsReader,
    config: Option<&str>,
) -> Result<(ModelSettings, ModelFiles), LoadError> {
    let settings = read_settings(&place.path, reader, config)?;
    let files = read_model(place, settings.model_file.as_deref().unwrap_or(MODEL_FILE))?;
    Ok((settings, files))
}

fn read_settings(
    path: &Path,
    reader: &SettingsReader,
    config: Option<&str>,
) -> Result<ModelSettings, LoadError> {
    let read = catch_unwind(AssertUnwindSafe(|| reader(path, config)));
    let read =
        read.map_err(|panic| LoadError::Panicked { message: panic_text(&*panic).to_owned() })?;
    read.map_err(|reason| LoadError::Settings { path: path.to_owned(), reason })
}
