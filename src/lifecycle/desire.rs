//! The manager's deciding half: from a command to what is desired. Everything that can be wrong
//! is found before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::catalog::{Desire, VersionKey};
use super::loader::LoadJob;
use super::manager::Manager;
use super::plan::{Listed, Listing, Plan, plan_model};
use super::state::State;
use super::turn::{Waiter, WaiterReply};
use super::{LoadError, LoadOutcome, LoadOverrides, ManageError, ReconfigureError, ServedModels};
use crate::repository::{ModelPlace, RepositoryError, check_name};
use crate::telemetry::events;

/// Why a model that the configuration no longer lists does not serve.
const NO_LONGER_LISTED: &str = "the configuration no longer lists it";

type Reply<T, E> = oneshot::Sender<Result<T, E>>;

impl Manager {
    /// Desires what is to be loaded at the start.
    pub(super) fn take_up_initial(&mut self) {
        let listing = Listing::read(&self.settings.served);
        let early = listing.problems.iter().map(problem_outcome).collect();
        let plans = self.plan_all(&listing);
        self.take_up(listing, plans, early, WaiterReply::Initial);
    }

    /// Desires what another configuration lists, or refuses it whole.
    pub(super) fn reconfigure(
        &mut self,
        served: ServedModels,
        reply: Reply<Vec<LoadOutcome>, ReconfigureError>,
    ) {
        let listing = Listing::read(&served);
        let before = std::mem::replace(&mut self.settings.served, served);
        let plans = self.plan_all(&listing);
        let mut problems: Vec<LoadError> =
            listing.problems.iter().map(|(_, _, error)| error.clone()).collect();
        problems.extend(plans.iter().filter_map(|(name, plan)| {
            let error = plan.as_ref().err()?;
            // A folder of a repository that holds nothing yet is nobody's mistake.
            let is_named = listing.models.get(name).is_some_and(|listed| listed.named);
            let is_configuration =
                matches!(error, LoadError::Settings { .. } | LoadError::Panicked { .. });
            (is_named || is_configuration).then(|| error.clone())
        }));
        if problems.is_empty() {
            self.take_up(listing, plans, Vec::new(), WaiterReply::Reconfigure(reply));
        } else {
            self.settings.served = before;
            let _ = reply.send(Err(ReconfigureError::Invalid { problems }));
        }
    }

    /// A plan of each model that is to serve: because it is listed so, or because it does now.
    fn plan_all(&self, listing: &Listing) -> BTreeMap<String, Result<Plan, LoadError>> {
        let is_wanted = |name: &str, listed: &Listed| listed.load || self.is_desired(name);
        listing
            .models
            .iter()
            .filter(|(name, listed)| is_wanted(name, listed) && !self.is_overridden(name))
            .map(|(name, listed)| {
                (name.clone(), plan_model(&listed.place, &self.settings.served.settings, None))
            })
            .collect()
    }

    fn take_up(
        &mut self,
        listing: Listing,
        plans: BTreeMap<String, Result<Plan, LoadError>>,
        mut early: Vec<LoadOutcome>,
        reply: WaiterReply,
    ) {
        self.leave_unlisted(&listing);
        for name in listing.models.keys() {
            self.note_not_loaded(name);
        }
        listing.warnings.iter().for_each(|text| events::warning(text));
        for (name, named, error) in &listing.problems {
            // A path where no name is known is no model that a request could mean.
            if !listing.models.contains_key(name) && check_name(name).is_ok() {
                self.could_not_plan(name, *named, error);
            }
        }
        self.listing = listing;
        let mut models = BTreeSet::new();
        for (name, plan) in plans {
            match plan {
                Ok(plan) => {
                    let keep = self.unchanged(&name, &plan);
                    self.desire(&name, &plan, &keep, None);
                    models.insert(name);
                }
                Err(error) => {
                    let named = self.listing.models.get(&name).is_some_and(|it| it.named);
                    self.could_not_plan(&name, named, &error);
                    early.push(problem_outcome(&(name, named, error)));
                }
            }
        }
        self.waiters.push(Waiter { models, early, reply });
    }

    /// Takes the models out of service that nobody lists any more. What serves from the files of
    /// a load request was never listed, and stays.
    fn leave_unlisted(&mut self, listing: &Listing) {
        let names: Vec<String> = self.catalog.models().keys().cloned().collect();
        for name in names {
            if !listing.models.contains_key(&name) && !self.is_overridden(&name) {
                self.catalog.remove(&name, NO_LONGER_LISTED);
                self.changed.insert(name);
            }
        }
    }

    /// Loads a model because somebody asked for it.
    pub(super) fn load_now(
        &mut self,
        model: String,
        overrides: &LoadOverrides,
        reply: Reply<(), ManageError>,
    ) {
        match self.desire_override(&model, overrides) {
            Ok(()) => self.waiters.push(Waiter {
                models: BTreeSet::from([model]),
                early: Vec::new(),
                reply: WaiterReply::Load(reply),
            }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn desire_override(
        &mut self,
        model: &str,
        overrides: &LoadOverrides,
    ) -> Result<(), ManageError> {
        if overrides.config.is_none() && !overrides.files.is_empty() {
            let reason = "files of a load request need a configuration beside them".to_owned();
            return Err(ManageError::Refused { model: model.to_owned(), reason });
        }
        let failed = |error: LoadError| ManageError::LoadFailed {
            model: model.to_owned(),
            reason: error.to_string(),
        };
        let files = overrides.write().map_err(failed)?.map(Arc::new);
        let place = match &files {
            Some(folder) => {
                check_name(model).map_err(|error| failed(error.into()))?;
                Some(ModelPlace { name: model.to_owned(), path: folder.path().to_owned() })
            }
            None => self.place_of(model),
        };
        let unknown = || ManageError::UnknownModel { model: model.to_owned() };
        let place = place.ok_or_else(unknown)?;
        let config = overrides.config.as_deref();
        match plan_model(&place, &self.settings.served.settings, config) {
            Ok(plan) => {
                let brought = (!overrides.is_empty()).then_some(files);
                self.desire(model, &plan, &BTreeSet::new(), brought);
                Ok(())
            }
            Err(error) => {
                // Whoever asks for it by its name wants it to serve.
                self.could_not_plan(model, true, &error);
                Err(failed(error))
            }
        }
    }

    /// Desires the planned versions: loads all of them but those to `keep`. `brought` is there
    /// where a load request brought something, with the folder of its files if it brought any.
    fn desire(
        &mut self,
        model: &str,
        plan: &Plan,
        keep: &BTreeSet<u64>,
        brought: Option<Option<Arc<tempfile::TempDir>>>,
    ) {
        let numbers = plan.versions.iter().map(|version| version.number);
        let load: BTreeSet<u64> = numbers.filter(|number| !keep.contains(number)).collect();
        let desire = Desire { load, keep: keep.clone(), on_disk: plan.on_disk.clone() };
        let generation = self.catalog.desire(model, &desire);
        for version in plan.versions.iter().filter(|it| desire.load.contains(&it.number)) {
            let key = VersionKey { model: model.to_owned(), number: version.number, generation };
            let job = LoadJob {
                key: key.clone(),
                file: version.file.clone(),
                file_bytes: version.file_bytes,
                modified: version.modified,
                settings: plan.settings.clone(),
                warnings: plan.warnings.clone(),
                _files: brought.clone().flatten(),
                overridden: brought.is_some(),
            };
            self.jobs.insert(key, job);
        }
        self.changed.insert(model.to_owned());
    }

    /// Of the planned versions, those that serve already, or are on their way, as planned.
    fn unchanged(&self, model: &str, plan: &Plan) -> BTreeSet<u64> {
        let Some(entry) = self.catalog.get(model) else { return BTreeSet::new() };
        let job = |number: u64, generation: u64| {
            self.jobs.get(&VersionKey { model: model.to_owned(), number, generation })
        };
        let is_unchanged = |number: u64, generation: u64| {
            let planned = plan.versions.iter().find(|version| version.number == number)?;
            let job = job(number, generation)?;
            let same_file = job.file == planned.file
                && job.file_bytes == planned.file_bytes
                && job.modified == planned.modified;
            Some(same_file && !job.overridden && job.settings == plan.settings)
        };
        entry
            .versions
            .iter()
            .filter(|(_, version)| version.desired)
            .filter(|(_, version)| version.state == State::Ready || version.state.is_pending())
            .filter(|((number, generation), _)| is_unchanged(*number, *generation).unwrap_or(false))
            .map(|((number, _), _)| *number)
            .collect()
    }

    /// Whether anything of the model is desired now.
    fn is_desired(&self, model: &str) -> bool {
        let entry = self.catalog.get(model);
        entry.is_some_and(|entry| entry.versions.values().any(|version| version.desired))
    }

    /// Whether the model serves what a load request brought.
    fn is_overridden(&self, model: &str) -> bool {
        let Some(entry) = self.catalog.get(model) else { return false };
        entry.versions.iter().any(|(&(number, generation), version)| {
            let key = VersionKey { model: model.to_owned(), number, generation };
            let counts = version.desired || version.state == State::Ready;
            counts && self.jobs.get(&key).is_some_and(|job| job.overridden)
        })
    }

    /// What served before serves on; where nothing does, the reason is kept for who asks.
    fn could_not_plan(&mut self, model: &str, named: bool, error: &LoadError) {
        events::warning(&format_args!("model {model:?} cannot be loaded: {error}"));
        if self.is_desired(model) {
            return;
        }
        // A folder of a repository that holds nothing yet is no model that should serve.
        let holds_nothing = matches!(
            error,
            LoadError::Repository(
                RepositoryError::NotAModel { .. } | RepositoryError::NoVersions { .. }
            )
        );
        if holds_nothing && !named {
            self.catalog.note(model, error.to_string());
        } else {
            self.catalog.refuse(model, error.to_string());
        }
        self.changed.insert(model.to_owned());
    }
}

fn problem_outcome((model, named, error): &(String, bool, LoadError)) -> LoadOutcome {
    LoadOutcome {
        model: model.clone(),
        named: *named,
        ready: Vec::new(),
        failures: vec![(None, error.clone())],
    }
}
