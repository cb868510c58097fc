//! An engine that does what a model's file says, and a repository to put such files in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::batching::BatchingSettings;
use crate::engine::EngineChoice;
use crate::engine::{
    Device, Engine, EngineError, ModelSource, Placement, Session, SessionSettings, Signature,
};
use crate::lifecycle::{
    ActiveModels, EngineProvider, LoadOutcome, Manager, ManagerHandle, ManagerSettings,
    ModelSettings, NamedModel, RetryPolicy, ServedModels, SettingsReader, VersionPolicy,
};
use crate::tensor::Tensor;

/// What the test and the engine's threads share.
#[derive(Default)]
pub(super) struct Stage {
    state: Mutex<StageState>,
    changed: Condvar,
}

#[derive(Default)]
struct StageState {
    /// Loads of files that say `wait` go on.
    released: bool,
    /// Names of the threads that sessions were dropped on.
    dropped_on: Vec<String>,
    waiting: usize,
}

impl Stage {
    pub(super) fn release(&self) {
        self.state.lock().unwrap().released = true;
        self.changed.notify_all();
    }

    /// Blocks until a load of a file that says `wait` has begun.
    pub(super) fn until_waiting(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.waiting < count).unwrap());
    }

    pub(super) fn dropped_on(&self) -> Vec<String> {
        self.state.lock().unwrap().dropped_on.clone()
    }

    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.released).unwrap());
    }
}

struct StageEngine {
    stage: Arc<Stage>,
}

impl Engine for StageEngine {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn open(
        &self,
        source: &ModelSource,
        _settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        let path = source.path.clone();
        let text = fs::read_to_string(&path).map_err(|error| EngineError::ModelUnreadable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        match text.trim() {
            "ok" => {}
            "wait" => self.stage.wait(),
            "panic" => panic!("the engine broke"),
            "unsupported" => {
                return Err(EngineError::OperatorUnsupported {
                    path,
                    engine: "scripted",
                    node: "node 7".to_owned(),
                    operator: "Frobnicate".to_owned(),
                    reason: "unknown".to_owned(),
                });
            }
            other => {
                let reason = format!("{other:?} is no script");
                return Err(EngineError::ModelInvalid { path, reason });
            }
        }
        let placement = Placement {
            engine: "scripted",
            engine_version: "1".to_owned(),
            device: Device::Cpu,
            nodes: Vec::new(),
            fallback_reason: None,
        };
        let signature = Arc::new(Signature::default());
        Ok(Box::new(StageSession { signature, placement, stage: self.stage.clone() }))
    }
}

struct StageSession {
    signature: Arc<Signature>,
    placement: Placement,
    stage: Arc<Stage>,
}

impl Session for StageSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn run(
        &mut self,
        _inputs: &[Option<Tensor>],
        _outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        Ok(Vec::new())
    }
}

impl Drop for StageSession {
    fn drop(&mut self) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.stage.state.lock().unwrap().dropped_on.push(thread);
    }
}

/// A repository in a fresh folder, and the manager over it once started.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) stage: Arc<Stage>,
    pub(super) load_threads: usize,
    pub(super) retry: RetryPolicy,
}

impl Fixture {
    /// Files (`model/version/model.onnx`) and what they say.
    pub(super) fn new(files: &[(&str, &str)]) -> Fixture {
        let fixture = Fixture {
            folder: tempfile::tempdir().unwrap(),
            stage: Arc::new(Stage::default()),
            load_threads: 2,
            retry: RetryPolicy {
                retries: 0,
                delay: Duration::from_millis(1),
                delay_max: Duration::from_millis(10),
            },
        };
        files.iter().for_each(|(file, text)| fixture.write(file, text));
        fixture
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn served(&self) -> ServedModels {
        ServedModels {
            models: Vec::new(),
            repositories: vec![self.folder.path().to_owned()],
            load_repositories: true,
            settings: reader(),
        }
    }

    /// The served models where these are named one by one.
    pub(super) fn named(&self, paths: &[&str]) -> ServedModels {
        let named = |path: &&str| NamedModel { name: None, path: self.path(path) };
        ServedModels {
            models: paths.iter().map(named).collect(),
            repositories: Vec::new(),
            ..self.served()
        }
    }

    pub(super) fn start(&self, served: ServedModels) -> Running {
        let stage = self.stage.clone();
        let engine: Arc<dyn Engine> = Arc::new(StageEngine { stage });
        let engines: EngineProvider = Arc::new(move |_| Ok(engine.clone()));
        let settings =
            ManagerSettings { served, engines, load_threads: self.load_threads, retry: self.retry };
        let (handle, active) = Manager::start(settings).unwrap();
        Running { handle, active }
    }

    /// Starts over the repository and waits for the initial loads.
    pub(super) fn run(&self) -> (Running, Vec<LoadOutcome>) {
        let running = self.start(self.served());
        let outcomes = running.handle.wait_initial_loads();
        (running, outcomes)
    }
}

/// A manager that runs.
pub(super) struct Running {
    pub(super) handle: ManagerHandle,
    pub(super) active: Arc<ActiveModels>,
}

impl Running {
    pub(super) fn stop(&self) -> crate::lifecycle::StopReport {
        block_on(self.handle.stop(Instant::now() + Duration::from_secs(20)))
    }

    /// The index as lines such as `m/1 Ready reason`.
    pub(super) fn index(&self) -> Vec<String> {
        let line = |entry: crate::lifecycle::IndexEntry| {
            let version = entry.version.map_or("-".to_owned(), |number| number.to_string());
            let line = format!("{}/{version} {:?} {}", entry.model, entry.state, entry.reason);
            line.trim_end().to_owned()
        };
        block_on(self.handle.index()).into_iter().map(line).collect()
    }

    /// Number of the version that answers where a request names none.
    pub(super) fn current(&self, model: &str) -> Result<u64, String> {
        let version = self.active.get(model, None);
        version.map(|version| version.number).map_err(|error| error.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(super) fn standard_settings() -> ModelSettings {
    ModelSettings {
        engine: EngineChoice::Auto,
        session: SessionSettings::cpu(),
        batching: BatchingSettings::standard(),
        versions: VersionPolicy::Latest(1),
        warm_up: Vec::new(),
        labels: Default::default(),
        warnings: Vec::new(),
    }
}

/// Reads settings that consist of a version policy: `all`, or how many of the newest.
pub(super) fn reader() -> SettingsReader {
    Arc::new(|folder: &Path, config: Option<&str>| {
        let on_disk = fs::read_to_string(folder.join("model.toml")).ok();
        let text = config.map(str::to_owned).or(on_disk).unwrap_or_else(|| "1".to_owned());
        let versions = match text.trim() {
            "all" => VersionPolicy::All,
            count => VersionPolicy::Latest(
                count.parse().map_err(|_| format!("versions: expected a count, got {count:?}"))?,
            ),
        };
        Ok(ModelSettings { versions, ..standard_settings() })
    })
}
