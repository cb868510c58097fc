//! The manager's acting half: does what the policy says until it says nothing more, makes the
//! table say so, and tells those who wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::catalog::{Model, VersionKey};
use super::handle::Message;
use super::index::UNLOADED;
use super::loader::{LoadTools, Loaded, start_load};
use super::manager::{Manager, unloaded_meanwhile};
use super::policy::Action;
use super::state::{Event, State};
use super::{ActiveModel, ActiveVersion, LoadError, LoadOutcome, ManageError, ReconfigureError};
use crate::telemetry::{LoadedVersion, ModelEvents, Swap, SwapPhases, events};

/// A version that is in the table.
pub(super) struct Serving {
    pub(super) version: Arc<ActiveVersion>,
    /// What loading took, until the version has become the one that answers.
    phases: Option<SwapPhases>,
}

/// Somebody who waits until no load of these models is under way.
pub(super) struct Waiter {
    pub(super) models: BTreeSet<String>,
    /// How the loads ended that could not even begin.
    pub(super) early: Vec<LoadOutcome>,
    pub(super) reply: WaiterReply,
}

/// How the one who waits is told.
pub(super) enum WaiterReply {
    Load(oneshot::Sender<Result<(), ManageError>>),
    Initial,
    Reconfigure(oneshot::Sender<Result<Vec<LoadOutcome>, ReconfigureError>>),
}

impl Waiter {
    /// Tells that the daemon stops. Those who wait for the initial loads see them dropped.
    pub(super) fn stop(self) {
        match self.reply {
            WaiterReply::Load(reply) => drop(reply.send(Err(ManageError::Stopping))),
            WaiterReply::Initial => {}
            WaiterReply::Reconfigure(reply) => drop(reply.send(Err(ReconfigureError::Stopping))),
        }
    }
}

impl Manager {
    /// Closes the gap between what is desired and what is there, as far as that goes now.
    pub(super) fn turn(&mut self, now: Instant) {
        loop {
            self.load_queued();
            while let Some((model, action)) = self.next_action(now) {
                self.act(model, action, now);
            }
            self.publish();
            if !self.tell_waiters() {
                return;
            }
        }
    }

    fn next_action(&self, now: Instant) -> Option<(String, Action)> {
        let may_load = self.loading < self.settings.load_threads.max(1);
        self.catalog.next_action(now, may_load)
    }

    fn act(&mut self, model: String, action: Action, now: Instant) {
        self.changed.insert(model.clone());
        match action {
            Action::Load(number, generation) => {
                self.start_load(VersionKey { model, number, generation }, now);
            }
            Action::Unload(number, generation) => {
                let key = VersionKey { model, number, generation };
                self.catalog.record(&key, Event::UnloadStarted);
                match self.ready.remove(&key) {
                    Some(Serving { version, .. }) => {
                        version.events.unloading();
                        self.retiring.push((key, version));
                    }
                    // It had not been begun.
                    None => drop(self.jobs.remove(&key)),
                }
            }
        }
    }

    fn start_load(&mut self, key: VersionKey, now: Instant) {
        self.catalog.record(&key, Event::LoadStarted);
        self.loading += 1;
        self.loads_alone = self.loading == 1;
        let job = self.jobs.get(&key).expect("a version that waits has a job").clone();
        let (sender, loaded_key) = (self.sender.clone(), key.clone());
        let done = Box::new(move |result: Result<Loaded, LoadError>| {
            let message = Message::Loaded { key: loaded_key, result: Box::new(result) };
            // The manager has ended without waiting: the version is freed on this thread.
            let _ = sender.send(message);
        });
        let tools = LoadTools {
            engines: self.settings.engines.clone(),
            golden: self.settings.golden.clone(),
        };
        if let Err(error) = start_load(job, tools, done) {
            self.loaded(&key, Err(error), now);
        }
    }

    /// A loader thread is done.
    pub(super) fn loaded(
        &mut self,
        key: &VersionKey,
        result: Result<Loaded, LoadError>,
        now: Instant,
    ) {
        self.loading -= 1;
        let alone = std::mem::take(&mut self.loads_alone);
        self.changed.insert(key.model.clone());
        match result {
            Ok(loaded) => {
                self.catalog.record(key, Event::Loaded);
                tell_ready(&loaded, loaded.growth_bytes.filter(|_| alone));
                let Loaded { version, phases, .. } = loaded;
                let serving = Serving { version: Arc::new(version), phases: Some(phases) };
                self.ready.insert(key.clone(), serving);
            }
            Err(error) => {
                let events = ModelEvents::new(&key.model, key.number);
                let retry = self.settings.retry;
                match self.catalog.record_failure(key, error.clone(), &retry, now) {
                    Some(time) => {
                        let seconds = time.saturating_duration_since(now).as_secs_f64();
                        events.warning(&format_args!(
                            "loading failed and is tried again in {seconds} s: {error}"
                        ));
                    }
                    None => {
                        events.load_failed(&error);
                        self.jobs.remove(key);
                    }
                }
            }
        }
    }

    /// The retirement thread is done.
    pub(super) fn freed(&mut self, key: &VersionKey) {
        self.catalog.record(key, Event::Freed);
        self.jobs.remove(key);
        self.changed.insert(key.model.clone());
    }

    /// Makes the table say what the catalogue says, then lets go of what is no longer in it: in
    /// this order, so that nobody can take a new handle of what is retired.
    pub(super) fn publish(&mut self) {
        self.changed.extend(self.catalog.sweep());
        if !self.changed.is_empty() {
            let changes = std::mem::take(&mut self.changed);
            let entry = |name: &String| {
                let entry = self.catalog.get(name).map(|model| self.entry(name, model));
                (name.clone(), entry)
            };
            let before = self.active.snapshot();
            self.active.replace(changes.iter().map(entry).collect());
            for name in &changes {
                self.tell_swap(name, before.get(name).and_then(|entry| entry.current.as_deref()));
            }
        }
        for (key, version) in self.retiring.drain(..) {
            self.retirement.retire(key, version);
        }
    }

    /// Tells when another load of a model answers from now on.
    fn tell_swap(&mut self, name: &str, before: Option<&ActiveVersion>) {
        let table = self.active.snapshot();
        let Some(after) = table.get(name).and_then(|entry| entry.current.as_ref()) else { return };
        let is_current = |serving: &&mut Serving| Arc::ptr_eq(&serving.version, after);
        let serving = self.ready.values_mut().find(is_current);
        if let Some(phases) = serving.and_then(|serving| serving.phases.take()) {
            let from = before.map(|version| version.number);
            events::swapped(&Swap { model: name, from, to: after.number, phases });
        }
    }

    fn entry(&self, name: &str, model: &Model) -> ActiveModel {
        let version = |(number, generation): (u64, u64)| {
            let key = VersionKey { model: name.to_owned(), number, generation };
            Some((number, self.ready.get(&key)?.version.clone()))
        };
        let versions: BTreeMap<u64, Arc<ActiveVersion>> =
            model.ready().into_iter().filter_map(version).collect();
        let current = model.current().and_then(|number| versions.get(&number).cloned());
        let unready = unready(model);
        let reason = match (&current, model.reason.is_empty()) {
            (Some(_), _) => String::new(),
            (None, false) => model.reason.clone(),
            (None, true) => {
                let reason = unready.values().next_back().cloned();
                reason.unwrap_or_else(|| UNLOADED.to_owned())
            }
        };
        ActiveModel { current, versions, reason, unready, missing: model.is_missing() }
    }

    /// Tells those whose models have settled. Returns whether there were any: they may have left
    /// something to do.
    fn tell_waiters(&mut self) -> bool {
        let is_settled =
            |name: &String| self.catalog.get(name).is_none_or(|model| model.is_settled());
        let (settled, waiting): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.models.iter().all(is_settled));
        self.waiters = waiting;
        let any = !settled.is_empty();
        for waiter in settled {
            self.tell(waiter);
        }
        any
    }

    fn tell(&mut self, waiter: Waiter) {
        let mut outcomes = waiter.early;
        outcomes.extend(waiter.models.iter().map(|name| self.outcome(name)));
        match waiter.reply {
            WaiterReply::Load(reply) => {
                let outcome = outcomes.into_iter().next().expect("a load is of one model");
                let _ = reply.send(self.load_result(outcome));
            }
            WaiterReply::Initial => {
                for reply in self.initial_replies.drain(..) {
                    let _ = reply.send(outcomes.clone());
                }
                self.initial = Some(outcomes);
            }
            WaiterReply::Reconfigure(reply) => drop(reply.send(Ok(outcomes))),
        }
    }

    /// How the loads of one model ended.
    fn outcome(&self, name: &str) -> LoadOutcome {
        let model = self.catalog.get(name);
        let failures = model.map(Model::failures).unwrap_or_default();
        LoadOutcome {
            model: name.to_owned(),
            named: self.listing.models.get(name).is_some_and(|listed| listed.named),
            ready: model.map(Model::desired_ready).unwrap_or_default(),
            failures: failures.into_iter().map(|(number, it)| (Some(number), it)).collect(),
        }
    }

    fn load_result(&self, outcome: LoadOutcome) -> Result<(), ManageError> {
        let LoadOutcome { model, ready, failures, .. } = outcome;
        if failures.is_empty() {
            return if ready.is_empty() { Err(unloaded_meanwhile(&model)) } else { Ok(()) };
        }
        let texts: Vec<String> = failures
            .iter()
            .map(|(number, error)| match number {
                Some(number) => format!("version {number}: {error}"),
                None => error.to_string(),
            })
            .collect();
        let serving = self.catalog.get(&model).map(Model::ready).unwrap_or_default();
        let mut reason = texts.join("; ");
        if !serving.is_empty() {
            let numbers: Vec<u64> = serving.into_keys().collect();
            reason.push_str(&format!("; what serves now: versions {numbers:?}"));
        }
        Err(ManageError::LoadFailed { model, reason })
    }
}

/// Tells that a version begins to take requests.
fn tell_ready(loaded: &Loaded, memory_bytes: Option<u64>) {
    let placement = loaded.version.batcher.placement();
    let SwapPhases { open, warm, measure } = loaded.phases;
    let nodes: Vec<(&str, usize)> =
        placement.nodes.iter().map(|it| (it.provider.as_str(), it.nodes)).collect();
    loaded.version.events.ready(&LoadedVersion {
        load: open + warm + measure,
        engine: placement.engine,
        engine_version: &placement.engine_version,
        device: &placement.device.to_string(),
        fallback_reason: placement.fallback_reason.as_deref(),
        nodes: &nodes,
        memory_bytes,
    });
}

/// What does not serve, by version, and why.
fn unready(model: &Model) -> BTreeMap<u64, String> {
    let ready = model.ready();
    let text = |(&(number, _), version): (&(u64, u64), &super::catalog::Version)| {
        let failure = version.failure.as_ref().map(ToString::to_string);
        match version.state {
            _ if ready.contains_key(&number) => None,
            State::Waiting | State::Loading => {
                let before = failure.map(|error| format!(" again: {error}")).unwrap_or_default();
                Some((number, format!("version {number} is being loaded{before}")))
            }
            State::Failed => {
                let why = failure.unwrap_or_default();
                Some((number, format!("version {number} could not be loaded: {why}")))
            }
            State::Ready | State::Unloading | State::Unloaded => None,
        }
    };
    model.versions.iter().filter_map(text).collect()
}
