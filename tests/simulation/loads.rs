//! What happens to the models: new versions, broken ones, loads and unloads, and what each command
//! must lead to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use onnxd::batching::BatchingSettings;
use onnxd::engine::Engine;
use onnxd::lifecycle::{
    ActiveModels, LoadOverrides, ManageError, Manager, ManagerHandle, ManagerSettings,
    ModelSettings, RetryPolicy, ServedModels, VersionPolicy,
};
use tempfile::TempDir;

use super::stage::{Memory, Stage};
use super::world::{Answer, MODELS, STUCK, World, poll_once};
use crate::support::models;

/// A load or unload on its way.
pub struct Command {
    model: usize,
    kind: CommandKind,
    /// The opposite was asked for after it: what serves in the end is not its doing.
    pub overruled: bool,
    answer: Answer<Result<(), ManageError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandKind {
    Load { succeeds: bool },
    Unload,
}

/// What lies on disk and should serve of one model.
pub struct Model {
    pub newest: u64,
    /// Of the newest version's file.
    pub stamp: u32,
    /// A version above the newest cannot be opened.
    pub broken: bool,
    /// A load has succeeded, and no unload was asked for since.
    pub serves: bool,
}

impl World {
    pub async fn poll_commands(&mut self) {
        for mut command in std::mem::take(&mut self.commands) {
            match poll_once(&mut command.answer).await {
                Poll::Ready(result) => self.ended(&command, &result),
                Poll::Pending => self.commands.push(command),
            }
        }
        self.mend();
    }

    fn ended(&mut self, command: &Command, result: &Result<(), ManageError>) {
        if command.overruled {
            return;
        }
        let name = MODELS[command.model];
        let model = &mut self.models[command.model];
        let current = self.active.get(name, None).map(|version| version.number);
        match command.kind {
            CommandKind::Load { succeeds: true } => {
                assert_eq!(*result, Ok(()), "{name}");
                assert_eq!(current, Ok(model.newest), "{name}");
                model.serves = true;
            }
            CommandKind::Load { succeeds: false } => {
                assert!(matches!(result, Err(ManageError::LoadFailed { .. })), "{result:?}");
            }
            CommandKind::Unload => {
                assert_eq!(*result, Ok(()), "{name}");
                assert!(current.is_err(), "{name} is unloaded and serves {current:?}");
            }
        }
    }

    /// Takes away what cannot be opened, once nobody is about to.
    fn mend(&mut self) {
        for model in 0..MODELS.len() {
            if self.models[model].broken && self.is_still(model) {
                let version = self.models[model].newest + 1;
                std::fs::remove_dir_all(self.version_folder(model, version))
                    .expect("it was written");
                self.models[model].broken = false;
            }
        }
    }

    pub fn is_still(&self, model: usize) -> bool {
        !self.commands.iter().any(|command| command.model == model)
    }

    pub async fn wait_for_commands(&mut self) {
        let until = Instant::now() + STUCK;
        while !self.commands.is_empty() {
            assert!(Instant::now() < until, "commands that never end");
            self.poll_commands().await;
            std::thread::yield_now();
        }
    }

    fn version_folder(&self, model: usize, version: u64) -> PathBuf {
        self.folder.path().join(MODELS[model]).join(version.to_string())
    }

    /// The model of which the disk may change: one that nobody is about to load.
    fn still_model(&mut self) -> Option<usize> {
        let model = self.below(MODELS.len());
        (self.is_still(model) && self.memory == Memory::Enough).then_some(model)
    }

    /// A new version, or another file in place of the newest.
    pub async fn load_new(&mut self) {
        let Some(model) = self.still_model() else { return };
        let newest = self.models[model].newest;
        let version = newest + self.random.below(2);
        if version > 2 {
            // Under a policy of all versions, few are to be loaded again and again.
            let _ = std::fs::remove_dir_all(self.version_folder(model, version - 2));
        }
        write(&self.version_folder(model, version), &answering(self.next_stamp));
        // What is not the newest any more will be taken away.
        self.replaced.insert(self.models[model].stamp);
        self.models[model].newest = version;
        self.models[model].stamp = self.next_stamp;
        self.next_stamp += 1;
        self.load(model, true).await;
    }

    pub async fn load_broken(&mut self) {
        let Some(model) = self.still_model() else { return };
        let text = if self.below(2) == 0 { "rubbish" } else { "panics" };
        write(&self.version_folder(model, self.models[model].newest + 1), text);
        self.models[model].broken = true;
        self.load(model, false).await;
    }

    /// What lies on disk already, also while it is loaded for somebody else.
    pub async fn load_again(&mut self) {
        let model = self.below(MODELS.len());
        if self.memory == Memory::Enough && self.commands.len() < 8 {
            self.load(model, !self.models[model].broken).await;
        }
    }

    async fn load(&mut self, model: usize, succeeds: bool) {
        let handle = self.handle.clone();
        let answer = async move { handle.load(MODELS[model], LoadOverrides::default()).await };
        self.command(model, CommandKind::Load { succeeds }, Box::pin(answer)).await;
    }

    pub async fn unload(&mut self) {
        let model = self.below(MODELS.len());
        self.models[model].serves = false;
        let handle = self.handle.clone();
        let answer = async move { handle.unload(MODELS[model]).await };
        self.command(model, CommandKind::Unload, Box::pin(answer)).await;
    }

    async fn command(
        &mut self,
        model: usize,
        kind: CommandKind,
        answer: Answer<Result<(), ManageError>>,
    ) {
        let is_unload = kind == CommandKind::Unload;
        for earlier in self.commands.iter_mut().filter(|earlier| earlier.model == model) {
            earlier.overruled |= (earlier.kind == CommandKind::Unload) != is_unload;
        }
        self.commands.push(Command { model, kind, overruled: false, answer });
        // Polled once, a command is on its way.
        self.poll_commands().await;
    }
}

/// A file whose answers bear the stamp. Each has a length of its own: the clock of files is coarse.
pub fn answering(stamp: u32) -> String {
    format!("answers {stamp}{}", "\n".repeat(stamp as usize))
}

pub fn write(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), text).expect("a file");
}

/// The manager over a repository, with all that lies there loaded.
pub async fn start(
    folder: &TempDir,
    stage: &Stage,
    batching: BatchingSettings,
    versions: VersionPolicy,
) -> (ManagerHandle, Arc<ActiveModels>) {
    let settings = ModelSettings { batching, versions, ..models::settings() };
    let engine: Arc<dyn Engine> = Arc::new(stage.clone());
    let settings = ManagerSettings {
        served: ServedModels {
            models: Vec::new(),
            repositories: vec![folder.path().to_owned()],
            load_repositories: true,
            settings: Arc::new(move |_, _| Ok(settings.clone())),
        },
        engines: Arc::new(move |_| Ok(engine.clone())),
        golden: Arc::new(|_, _| Err("there are none".to_owned())),
        load_threads: 2,
        retry: RetryPolicy { retries: 0, delay: Duration::ZERO, delay_max: Duration::ZERO },
    };
    let (handle, active) = Manager::start(settings).expect("the manager starts");
    let outcomes = handle.initial_loads().await;
    assert!(outcomes.iter().all(|outcome| outcome.failures.is_empty()), "{outcomes:?}");
    (handle, active)
}
