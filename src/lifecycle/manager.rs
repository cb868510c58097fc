//! The one owner of every version's state. Others send it commands; it alone replaces the active
//! table. A plain thread: it decides in microseconds, and the long work happens on loader
//! threads. Reading a folder and a configuration file it does itself, so that a command sees the
//! disk of its own moment; requests never wait for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::oneshot;

use super::catalog::{Catalog, VersionKey};
use super::handle::{Command, IndexCommand, Message};
use super::index::{NOT_LOADED, UNLOADED, index};
use super::loader::LoadJob;
use super::plan::{Listing, find_in_repositories};
use super::retirement::Retirement;
use super::turn::{Serving, Waiter};
use super::{
    ActiveModels, ActiveVersion, LoadOutcome, LoadOverrides, ManageError, ManagerHandle,
    ManagerSettings, StopReport,
};
use crate::repository::{ModelPlace, place_model};

/// Commands and events that may wait for the manager; commands beyond are refused.
const MAX_MESSAGES: usize = 256;
/// Loads of one model that may wait for one another; more are refused.
const MAX_QUEUED_LOADS: usize = 16;
/// Why nothing serves during the stop.
pub(super) const STOPPING: &str = "the daemon is stopping";

/// A load that waits until an earlier one of the same model has ended.
pub(super) struct QueuedLoad {
    overrides: LoadOverrides,
    reply: oneshot::Sender<Result<(), ManageError>>,
}

/// A stop under way.
struct Stop {
    deadline: Instant,
    replies: Vec<oneshot::Sender<StopReport>>,
}

/// The owner of all state.
pub struct Manager {
    pub(super) settings: ManagerSettings,
    pub(super) listing: Listing,
    pub(super) catalog: Catalog,
    /// What each version that is not gone was or is to be loaded from.
    pub(super) jobs: HashMap<VersionKey, LoadJob>,
    pub(super) ready: HashMap<VersionKey, Serving>,
    /// Taken out of service, to be handed to the retirement thread once the table says so too.
    pub(super) retiring: Vec<(VersionKey, Arc<ActiveVersion>)>,
    /// Models whose entry in the table is to be made anew.
    pub(super) changed: BTreeSet<String>,
    /// Loads under way.
    pub(super) loading: usize,
    /// The load under way has been the only one since it began: what the process grew by is its.
    pub(super) loads_alone: bool,
    pub(super) waiters: Vec<Waiter>,
    pub(super) queued: HashMap<String, VecDeque<QueuedLoad>>,
    /// How the initial loads ended, once they have.
    pub(super) initial: Option<Vec<LoadOutcome>>,
    pub(super) initial_replies: Vec<oneshot::Sender<Vec<LoadOutcome>>>,
    /// Taken out of the channel, and still to be dealt with.
    backlog: VecDeque<Message>,
    stop: Option<Stop>,
    pub(super) active: Arc<ActiveModels>,
    pub(super) retirement: Retirement,
    /// Given to each loader thread; the threads send, this manager receives.
    pub(super) sender: SyncSender<Message>,
}

impl Manager {
    /// Starts the manager and the loading of what is to be loaded at the start. The table knows
    /// every model from the beginning.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(settings: ManagerSettings) -> std::io::Result<(ManagerHandle, Arc<ActiveModels>)> {
        let (sender, receiver) = sync_channel(MAX_MESSAGES);
        let active = Arc::new(ActiveModels::default());
        let retirement = Retirement::start({
            let sender = sender.clone();
            // A failed send means that the manager did not wait for the end.
            Box::new(move |key| drop(sender.send(Message::Freed { key })))
        })?;
        let mut manager = Manager {
            settings,
            listing: Listing::default(),
            catalog: Catalog::default(),
            jobs: HashMap::new(),
            ready: HashMap::new(),
            retiring: Vec::new(),
            changed: BTreeSet::new(),
            loading: 0,
            loads_alone: false,
            waiters: Vec::new(),
            queued: HashMap::new(),
            initial: None,
            initial_replies: Vec::new(),
            backlog: VecDeque::new(),
            stop: None,
            active: active.clone(),
            retirement,
            sender: sender.clone(),
        };
        manager.take_up_initial();
        manager.publish();
        std::thread::Builder::new()
            .name("manager".to_owned())
            .spawn(move || manager.run(&receiver))?;
        Ok((ManagerHandle::new(sender), active))
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            self.turn(Instant::now());
            if self.is_stopped(Instant::now()) {
                break;
            }
            let message = match (self.backlog.pop_front(), self.next_time()) {
                (Some(message), _) => Ok(message),
                (None, None) => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (None, Some(time)) => {
                    receiver.recv_timeout(time.saturating_duration_since(Instant::now()))
                }
            };
            match message {
                Ok(Message::Command(command)) => self.obey(command, receiver),
                Ok(Message::Loaded { key, result }) => {
                    self.loaded(&key, *result, Instant::now());
                }
                Ok(Message::Freed { key }) => self.freed(&key),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.report_stop();
    }

    /// When there is something to do though no message comes.
    fn next_time(&self) -> Option<Instant> {
        let retry = self.catalog.next_due(Instant::now());
        let deadline = self.stop.as_ref().map(|stop| stop.deadline);
        [retry, deadline].into_iter().flatten().min()
    }

    fn obey(&mut self, command: Command, receiver: &Receiver<Message>) {
        // A reply whose receiver is gone is nobody's loss: the command was obeyed.
        match command {
            Command::Load { model, overrides, reply } => self.load(model, overrides, reply),
            Command::Unload { model, reply } => self.unload(&model, reply),
            Command::Index(command) => self.answer_index(command, receiver),
            Command::InitialLoads { reply } => match &self.initial {
                Some(outcomes) => drop(reply.send(outcomes.clone())),
                None => self.initial_replies.push(reply),
            },
            Command::Reconfigure { served, reply } => {
                if self.stop.is_some() {
                    let _ = reply.send(Err(super::ReconfigureError::Stopping));
                } else {
                    self.reconfigure(served, reply);
                }
            }
            Command::Stop { deadline, reply } => self.begin_stop(deadline, reply),
        }
    }

    /// One look at the disk answers all who wait for one by now. What else came meanwhile is
    /// dealt with next, in its order.
    fn answer_index(&mut self, first: IndexCommand, receiver: &Receiver<Message>) {
        let mut commands = vec![first];
        for message in receiver.try_iter().take(MAX_MESSAGES) {
            match message {
                Message::Command(Command::Index(command)) => commands.push(command),
                other => self.backlog.push_back(other),
            }
        }
        let entries = index(&self.catalog, &self.places(), &self.settings.served.settings);
        for IndexCommand { reply, .. } in commands {
            let _ = reply.send(entries.clone());
        }
    }

    fn load(
        &mut self,
        model: String,
        overrides: LoadOverrides,
        reply: oneshot::Sender<Result<(), ManageError>>,
    ) {
        if self.stop.is_some() {
            let _ = reply.send(Err(ManageError::Stopping));
            return;
        }
        if self.catalog.get(&model).is_none_or(|entry| entry.is_settled()) {
            self.load_now(model, &overrides, reply);
            return;
        }
        // Loads of one model happen one after the other, so that each one's reply is its own.
        let queue = self.queued.entry(model.clone()).or_default();
        if queue.len() < MAX_QUEUED_LOADS {
            queue.push_back(QueuedLoad { overrides, reply });
        } else {
            let reason = format!("{MAX_QUEUED_LOADS} loads of it wait already");
            let _ = reply.send(Err(ManageError::Refused { model, reason }));
        }
    }

    /// Takes up the next load of every model whose earlier one has ended.
    pub(super) fn load_queued(&mut self) {
        let is_settled =
            |model: &&String| self.catalog.get(model).is_none_or(|entry| entry.is_settled());
        let models: Vec<String> = self.queued.keys().filter(is_settled).cloned().collect();
        for model in models {
            let mut queue = self.queued.remove(&model).expect("the name is a key of the map");
            let next = queue.pop_front();
            if !queue.is_empty() {
                self.queued.insert(model.clone(), queue);
            }
            if let Some(QueuedLoad { overrides, reply }) = next {
                self.load_now(model, &overrides, reply);
            }
        }
    }

    fn unload(&mut self, model: &str, reply: oneshot::Sender<Result<(), ManageError>>) {
        if self.place_of(model).is_none() && self.catalog.get(model).is_none() {
            let _ = reply.send(Err(ManageError::UnknownModel { model: model.to_owned() }));
            return;
        }
        self.catalog.withdraw(model, UNLOADED);
        self.changed.insert(model.to_owned());
        for QueuedLoad { reply, .. } in self.queued.remove(model).into_iter().flatten() {
            let _ = reply.send(Err(unloaded_meanwhile(model)));
        }
        // The turn makes the table say so before the reply goes.
        self.turn(Instant::now());
        let _ = reply.send(Ok(()));
    }

    /// Where the model of that name lies now.
    pub(super) fn place_of(&self, model: &str) -> Option<ModelPlace> {
        let listed = self.listing.models.get(model).filter(|listed| listed.named);
        match listed {
            Some(listed) => Some(listed.place.clone()),
            None => find_in_repositories(&self.settings.served, model)
                .or_else(|| self.named_later(model)),
        }
    }

    /// A model that was named in the configuration and was not there when that was read.
    fn named_later(&self, model: &str) -> Option<ModelPlace> {
        let named = &self.settings.served.models;
        let places = named.iter().filter_map(|it| place_model(it.name.as_deref(), &it.path).ok());
        places.into_iter().find(|place| place.name == model)
    }

    /// Every place that a model is known to lie at now.
    fn places(&self) -> Vec<ModelPlace> {
        let listing = Listing::read(&self.settings.served);
        listing.models.into_values().map(|listed| listed.place).collect()
    }

    pub(super) fn note_not_loaded(&mut self, model: &str) {
        if self.catalog.get(model).is_none() {
            self.catalog.note(model, NOT_LOADED.to_owned());
            self.changed.insert(model.to_owned());
        }
    }

    fn begin_stop(&mut self, deadline: Instant, reply: oneshot::Sender<StopReport>) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = stop.deadline.min(deadline);
            stop.replies.push(reply);
            return;
        }
        self.stop = Some(Stop { deadline, replies: vec![reply] });
        for QueuedLoad { reply, .. } in self.queued.drain().flat_map(|(_, queue)| queue) {
            let _ = reply.send(Err(ManageError::Stopping));
        }
        for waiter in self.waiters.drain(..) {
            waiter.stop();
        }
        let models: Vec<String> = self.catalog.models().keys().cloned().collect();
        for model in models {
            self.catalog.withdraw(&model, STOPPING);
            self.changed.insert(model);
        }
        self.retirement.close();
    }

    /// Whether everything that served is freed, or the deadline has passed.
    fn is_stopped(&self, now: Instant) -> bool {
        let is_over = |stop: &Stop| stop.deadline <= now || self.catalog.unfreed().next().is_none();
        self.stop.as_ref().is_some_and(is_over)
    }

    fn report_stop(self) {
        let Some(stop) = self.stop else { return };
        let mut unfinished: Vec<(String, u64)> =
            self.catalog.unfreed().map(|(model, number)| (model.to_owned(), number)).collect();
        unfinished.sort();
        let report = StopReport { drained: unfinished.is_empty(), unfinished };
        if report.drained {
            self.retirement.join();
        }
        for reply in stop.replies {
            let _ = reply.send(report.clone());
        }
    }
}

pub(super) fn unloaded_meanwhile(model: &str) -> ManageError {
    let reason = "it was unloaded before it was ready".to_owned();
    ManageError::Refused { model: model.to_owned(), reason }
}
