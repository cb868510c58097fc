//! Every version's state and whether it is desired. Pure: what happens outside is told to it,
//! what to do next is asked of it, and the time is an argument. The manager acts on it, and the
//! tests turn its crank by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::LoadError;
use super::policy::{Action, RetryPolicy, Snapshot, next_action};
use super::state::{Event, State};

/// Names one generation of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct VersionKey {
    pub(super) model: String,
    pub(super) number: u64,
    pub(super) generation: u64,
}

/// What is known of one generation of a version.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) state: State,
    pub(super) desired: bool,
    /// Why the last attempt to load it failed.
    pub(super) failure: Option<LoadError>,
    attempts: u32,
    /// Before then it is not tried again.
    not_before: Option<Instant>,
}

/// What is known of one model.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// By number and generation.
    pub(super) versions: BTreeMap<(u64, u64), Version>,
    /// Why nothing of it is desired, or why what was desired could not even be tried.
    pub(super) reason: String,
    /// What was desired could not even be tried.
    refused: bool,
    /// Nobody lists it any more: it is forgotten when its last version is gone.
    leaving: bool,
}

impl Model {
    /// The newest ready generation of each number.
    pub(super) fn ready(&self) -> BTreeMap<u64, u64> {
        let ready = self.versions.iter().filter(|(_, version)| version.state == State::Ready);
        ready.map(|(&key, _)| key).collect()
    }

    /// The version that answers where a request names none: the highest of those that are
    /// desired, else the highest that is there. One whose next generation is desired counts as
    /// desired, or reloading all versions would let a lower one answer for a while.
    pub(super) fn current(&self) -> Option<u64> {
        let desired: BTreeSet<u64> = self.desired().map(|(number, _)| number).collect();
        self.ready().into_keys().max_by_key(|number| (desired.contains(number), *number))
    }

    fn desired(&self) -> impl Iterator<Item = (u64, &Version)> {
        self.versions
            .iter()
            .filter(|(_, version)| version.desired)
            .map(|(&(number, _), version)| (number, version))
    }

    /// Whether it should serve and nothing of it does. What was taken out of service, or is not
    /// asked for yet, should not.
    pub(super) fn is_missing(&self) -> bool {
        let is_wanted = self.refused || self.desired().next().is_some();
        is_wanted && self.ready().is_empty()
    }

    /// Whether nothing that is desired is still on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.desired().all(|(_, version)| !version.state.is_pending())
    }

    /// Numbers of the desired versions that are ready.
    pub(super) fn desired_ready(&self) -> Vec<u64> {
        let ready = self.desired().filter(|(_, version)| version.state == State::Ready);
        ready.map(|(number, _)| number).collect()
    }

    /// The desired versions that failed for good, and why.
    pub(super) fn failures(&self) -> Vec<(u64, LoadError)> {
        self.desired()
            .filter(|(_, version)| version.state == State::Failed)
            .filter_map(|(number, version)| Some((number, version.failure.clone()?)))
            .collect()
    }

    /// Records of versions that are gone and that a newer generation or nobody speaks for.
    fn forget(&mut self, on_disk: &BTreeSet<u64>) {
        let newest: BTreeMap<u64, u64> = self.versions.keys().copied().collect();
        self.versions.retain(|(number, generation), version| {
            let is_newest = newest.get(number) == Some(generation);
            !version.state.is_final() || (is_newest && on_disk.contains(number))
        });
    }
}

/// All models.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    models: BTreeMap<String, Model>,
    generations: u64,
}

/// What a model's desired versions shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Desire {
    /// To be loaded, whether or not a version of the number serves now.
    pub(super) load: BTreeSet<u64>,
    /// To stay as they are.
    pub(super) keep: BTreeSet<u64>,
    /// On disk, desired or not: what is gone from there is forgotten.
    pub(super) on_disk: BTreeSet<u64>,
}

impl Catalog {
    pub(super) fn models(&self) -> &BTreeMap<String, Model> {
        &self.models
    }

    pub(super) fn get(&self, model: &str) -> Option<&Model> {
        self.models.get(model)
    }

    /// A model that nothing is desired of, with the reason; one that serves is left as it is.
    pub(super) fn note(&mut self, model: &str, reason: String) {
        let entry = self.models.entry(model.to_owned()).or_default();
        entry.reason = reason;
        entry.refused = false;
        entry.leaving = false;
    }

    /// A model that was to serve and cannot even be tried, with the reason.
    pub(super) fn refuse(&mut self, model: &str, reason: String) {
        self.note(model, reason);
        self.models.entry(model.to_owned()).or_default().refused = true;
    }

    /// Replaces what is desired of a model; returns the generation of what is to be loaded.
    pub(super) fn desire(&mut self, model: &str, desire: &Desire) -> u64 {
        self.generations += 1;
        let generation = self.generations;
        let entry = self.models.entry(model.to_owned()).or_default();
        entry.reason = String::new();
        entry.refused = false;
        entry.leaving = false;
        for (&(number, _), version) in &mut entry.versions {
            version.desired = version.desired && desire.keep.contains(&number);
        }
        for &number in &desire.load {
            let version = Version {
                state: State::Waiting,
                desired: true,
                failure: None,
                attempts: 0,
                not_before: None,
            };
            entry.versions.insert((number, generation), version);
        }
        entry.forget(&desire.on_disk);
        generation
    }

    /// Nothing of the model is desired any more; it stays known.
    pub(super) fn withdraw(&mut self, model: &str, reason: &str) {
        if let Some(entry) = self.models.get_mut(model) {
            entry.reason = reason.to_owned();
            entry.refused = false;
            entry.versions.values_mut().for_each(|version| version.desired = false);
        }
    }

    /// Nothing of the model is desired any more, and it is forgotten when all of it is gone.
    pub(super) fn remove(&mut self, model: &str, reason: &str) {
        self.withdraw(model, reason);
        if let Some(entry) = self.models.get_mut(model) {
            entry.leaving = true;
        }
    }

    /// Drops the models that have left. Returns their names.
    pub(super) fn sweep(&mut self) -> Vec<String> {
        let has_left = |model: &Model| {
            model.leaving && model.versions.values().all(|version| version.state.is_final())
        };
        let left = self.models.iter().filter(|(_, model)| has_left(model));
        let names: Vec<String> = left.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.models.remove(name);
        }
        names
    }

    /// The one next thing to do, if there is any.
    pub(super) fn next_action(&self, now: Instant, may_load: bool) -> Option<(String, Action)> {
        self.models.iter().find_map(|(name, model)| {
            let snapshots: Vec<Snapshot> = model
                .versions
                .iter()
                .map(|(&(number, generation), version)| Snapshot {
                    number,
                    generation,
                    state: version.state,
                    desired: version.desired,
                    due: version.not_before.is_none_or(|time| time <= now),
                })
                .collect();
            Some((name.clone(), next_action(&snapshots, may_load)?))
        })
    }

    /// Model and number of what takes up memory.
    pub(super) fn unfreed(&self) -> impl Iterator<Item = (&str, u64)> {
        let versions = self.models.iter().flat_map(|(name, model)| {
            model.versions.iter().map(move |(&(number, _), version)| (name, number, version))
        });
        versions
            .filter(|(.., version)| matches!(version.state, State::Ready | State::Unloading))
            .map(|(name, number, _)| (name.as_str(), number))
    }

    /// When the next attempt is due that is not due yet.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let versions = self.models.values().flat_map(|model| model.versions.values());
        versions
            .filter(|version| version.desired && version.state == State::Waiting)
            .filter_map(|version| version.not_before)
            .filter(|time| *time > now)
            .min()
    }

    /// Takes note of what happened to a version.
    ///
    /// # Panics
    /// The event cannot happen in the version's state: the caller lost track.
    pub(super) fn record(&mut self, key: &VersionKey, event: Event) {
        let version = self.version_mut(key);
        let state = version.state.after(event);
        version.state = state.unwrap_or_else(|| panic!("{event:?} of {key:?} in {version:?}"));
        if event == Event::LoadStarted {
            version.attempts += 1;
        }
    }

    /// Takes note that a load failed, and decides whether it is tried again. Returns when.
    pub(super) fn record_failure(
        &mut self,
        key: &VersionKey,
        error: LoadError,
        retry: &RetryPolicy,
        now: Instant,
    ) -> Option<Instant> {
        let version = self.version_mut(key);
        let delay = retry.delay_after(version.attempts);
        // What nobody wants any more is not tried again.
        let delay = delay.filter(|_| version.desired && error.may_pass());
        version.failure = Some(error);
        version.not_before = delay.map(|delay| now + delay);
        let not_before = version.not_before;
        let event = if delay.is_some() { Event::LoadDeferred } else { Event::LoadFailed };
        self.record(key, event);
        not_before
    }

    fn version_mut(&mut self, key: &VersionKey) -> &mut Version {
        self.models
            .get_mut(&key.model)
            .and_then(|model| model.versions.get_mut(&(key.number, key.generation)))
            .expect("a version that is not final is never forgotten")
    }
}
