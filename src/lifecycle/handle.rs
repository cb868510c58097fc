//! How others speak to the manager: commands in, one reply each, and what its own threads tell it.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::catalog::VersionKey;
use super::loader::Loaded;
use super::{IndexEntry, LoadError, LoadOverrides, ManageError, ReconfigureError, ServedModels};

/// Who may wait in the manager's queue for the index. Anybody may ask, and as often as they like:
/// more wait on this side, so that commands find room.
const MAX_INDEXES: usize = 64;

/// How loading one model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOutcome {
    /// Its name, or its path where it has none.
    pub model: String,
    /// Whether it was named one by one (`--model`), not found in a repository.
    pub named: bool,
    /// The desired versions that serve.
    pub ready: Vec<u64>,
    /// Why others do not; without a version where the model could not even be looked at.
    pub failures: Vec<(Option<u64>, LoadError)>,
}

/// How the stop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Every version had answered its last request and was freed before the deadline.
    pub drained: bool,
    /// Model and version of what was not.
    pub unfinished: Vec<(String, u64)>,
}

/// What the manager may be asked for. The receiver of each reply waits for it; where it is
/// dropped, the command is obeyed all the same.
pub(super) enum Command {
    Load {
        model: String,
        overrides: LoadOverrides,
        reply: oneshot::Sender<Result<(), ManageError>>,
    },
    Unload {
        model: String,
        reply: oneshot::Sender<Result<(), ManageError>>,
    },
    Index(IndexCommand),
    InitialLoads {
        reply: oneshot::Sender<Vec<LoadOutcome>>,
    },
    Reconfigure {
        served: ServedModels,
        reply: oneshot::Sender<Result<Vec<LoadOutcome>, ReconfigureError>>,
    },
    Stop {
        deadline: Instant,
        reply: oneshot::Sender<StopReport>,
    },
}

/// Somebody who asks for the index.
pub(super) struct IndexCommand {
    pub(super) reply: oneshot::Sender<Vec<IndexEntry>>,
    /// Given back when the manager has answered, whether or not somebody still waits.
    pub(super) _place: OwnedSemaphorePermit,
}

/// What reaches the manager: commands from handles, events from loader threads and the retirement
/// thread. Only commands are refused when the channel is full; the threads wait, and the manager
/// never waits for them.
pub(super) enum Message {
    Command(Command),
    Loaded { key: VersionKey, result: Box<Result<Loaded, LoadError>> },
    Freed { key: VersionKey },
}

/// How others speak to the manager. Cheap to clone.
#[derive(Clone)]
pub struct ManagerHandle {
    /// Bounded; a command that finds it full is refused, never waited for.
    sender: SyncSender<Message>,
    indexes: Arc<Semaphore>,
}

/// Why a command did not reach the manager.
enum SendError {
    Busy,
    Stopping,
}

impl ManagerHandle {
    pub(super) fn new(sender: SyncSender<Message>) -> ManagerHandle {
        ManagerHandle { sender, indexes: Arc::new(Semaphore::new(MAX_INDEXES)) }
    }

    /// Loads or reloads a model; returns when it serves or failed. A failed reload leaves what
    /// served before.
    ///
    /// # Errors
    /// As [`ManageError`] says.
    pub async fn load(&self, model: &str, overrides: LoadOverrides) -> Result<(), ManageError> {
        let name = model.to_owned();
        let command = |reply| Command::Load { model: name, overrides, reply };
        self.ask(command).await.unwrap_or_else(|error| Err(error.into()))
    }

    /// Takes a model out of service; returns when no new request reaches it, without waiting for
    /// its memory to be freed.
    ///
    /// # Errors
    /// As [`ManageError`] says. Unloading what is not loaded is a success.
    pub async fn unload(&self, model: &str) -> Result<(), ManageError> {
        let name = model.to_owned();
        let command = |reply| Command::Unload { model: name, reply };
        self.ask(command).await.unwrap_or_else(|error| Err(error.into()))
    }

    /// Every model and version known, sorted by model then version.
    ///
    /// # Errors
    /// The manager has too much to do, or has stopped.
    pub async fn index(&self) -> Result<Vec<IndexEntry>, ManageError> {
        let place = self.indexes.clone().acquire_owned().await;
        let _place = place.expect("the semaphore is never closed");
        Ok(self.ask(|reply| Command::Index(IndexCommand { reply, _place })).await?)
    }

    /// Takes up another list of models and other settings; returns when all that changed serves
    /// or failed. What is listed and did not change is not touched.
    ///
    /// # Errors
    /// Something of it is wrong; then nothing was changed.
    pub async fn reconfigure(
        &self,
        served: ServedModels,
    ) -> Result<Vec<LoadOutcome>, ReconfigureError> {
        let asked = self.ask(|reply| Command::Reconfigure { served, reply }).await;
        asked.unwrap_or_else(|error| match error {
            SendError::Busy => Err(ReconfigureError::Busy),
            SendError::Stopping => Err(ReconfigureError::Stopping),
        })
    }

    /// How the loads that the manager was started with ended; returns when all have.
    pub async fn initial_loads(&self) -> Vec<LoadOutcome> {
        self.ask(|reply| Command::InitialLoads { reply }).await.unwrap_or_default()
    }

    /// The same, for a thread that may block.
    pub fn wait_initial_loads(&self) -> Vec<LoadOutcome> {
        let (reply, answer) = oneshot::channel();
        let command = Message::Command(Command::InitialLoads { reply });
        if self.sender.send(command).is_err() {
            return Vec::new();
        }
        answer.blocking_recv().unwrap_or_default()
    }

    /// Ends the manager: takes every version out of service, lets what waits be answered, frees
    /// the memory. Returns when that is done, or at the deadline. Stop the listeners before.
    pub async fn stop(&self, deadline: Instant) -> StopReport {
        let stopped = self.ask(|reply| Command::Stop { deadline, reply }).await;
        // Refused or unanswered: it has stopped already, or is beyond answering.
        stopped.unwrap_or_else(|error| StopReport {
            drained: matches!(error, SendError::Stopping),
            unfinished: Vec::new(),
        })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Message::Command(command(reply))).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Busy,
            TrySendError::Disconnected(_) => SendError::Stopping,
        })?;
        answer.await.map_err(|_| SendError::Stopping)
    }
}

impl From<SendError> for ManageError {
    fn from(error: SendError) -> ManageError {
        match error {
            SendError::Busy => ManageError::Busy,
            SendError::Stopping => ManageError::Stopping,
        }
    }
}
