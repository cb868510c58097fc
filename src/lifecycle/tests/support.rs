//! An engine that does what a model's file says, and a repository to put such files in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use crate::batching::{BatchingSettings, Reply, Request, RequestError};
use crate::engine::scripted::ScriptedEngine;
use crate::engine::{
    Engine, EngineChoice, EngineError, GoldenSample, ModelSource, Session, SessionSettings,
    Signature, Tolerance,
};
use crate::lifecycle::{
    ActiveModels, ActiveVersion, EngineProvider, GoldenReader, IndexEntry, LoadOutcome, Manager,
    ManagerHandle, ManagerSettings, ModelSettings, NamedModel, RetryPolicy, ServedModels,
    SettingsReader, StopReport, VersionPolicy,
};
use crate::tensor::{DataType, Dimension, Tensor, TensorSpec};

/// Opens what the file allows; what it opens echoes its input.
#[derive(Clone)]
pub(super) struct StageEngine {
    pub(super) echo: ScriptedEngine,
    door: Arc<Door>,
}

/// Where the loads of files that say `wait` stand until the test lets them go on.
#[derive(Default)]
struct Door {
    state: Mutex<DoorState>,
    changed: Condvar,
}

#[derive(Default)]
struct DoorState {
    open: bool,
    waiting: usize,
}

impl StageEngine {
    fn new() -> StageEngine {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            data_type: DataType::Float32,
            shape: Some(vec![Dimension::Named("n".to_owned()), Dimension::Fixed(2)]),
            optional: false,
        };
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
        StageEngine { echo: ScriptedEngine::echo(signature), door: Arc::default() }
    }

    /// Lets the loads go on that wait, and those that come.
    pub(super) fn release(&self) {
        self.door.state.lock().open = true;
        self.door.changed.notify_all();
    }

    /// Blocks until so many loads of files that say `wait` have begun.
    pub(super) fn until_waiting(&self, count: usize) {
        let mut state = self.door.state.lock();
        self.door.changed.wait_while(&mut state, |state| state.waiting < count);
    }

    fn wait(&self) {
        let mut state = self.door.state.lock();
        state.waiting += 1;
        self.door.changed.notify_all();
        self.door.changed.wait_while(&mut state, |state| !state.open);
    }
}

impl Engine for StageEngine {
    fn name(&self) -> &'static str {
        self.echo.name()
    }

    fn version(&self) -> &str {
        self.echo.version()
    }

    fn open(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        let path = source.path.clone();
        let text = fs::read_to_string(&path).map_err(|error| EngineError::ModelUnreadable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        match text.trim() {
            "ok" => {}
            "wait" => self.wait(),
            "panic" => panic!("the engine broke"),
            "unsupported" => {
                return Err(EngineError::OperatorUnsupported {
                    path,
                    engine: self.name(),
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
        self.echo.open(source, settings)
    }
}

/// A repository in a fresh folder, and the manager over it once started.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) stage: StageEngine,
    pub(super) load_threads: usize,
    pub(super) retry: RetryPolicy,
}

impl Fixture {
    /// Files (`model/version/model.onnx`) and what they say.
    pub(super) fn new(files: &[(&str, &str)]) -> Fixture {
        let fixture = Fixture {
            folder: tempfile::tempdir().unwrap(),
            stage: StageEngine::new(),
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
        let engine: Arc<dyn Engine> = Arc::new(self.stage.clone());
        let engines: EngineProvider = Arc::new(move |_| Ok(engine.clone()));
        let settings = ManagerSettings {
            served,
            engines,
            golden: golden_reader(),
            load_threads: self.load_threads,
            retry: self.retry,
        };
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
    pub(super) fn stop(&self) -> StopReport {
        block_on(self.handle.stop(Instant::now() + Duration::from_secs(20)))
    }

    /// The index as lines such as `m/1 Ready reason`.
    pub(super) fn index(&self) -> Vec<String> {
        let line = |entry: IndexEntry| {
            let version = entry.version.map_or("-".to_owned(), |number| number.to_string());
            let line = format!("{}/{version} {:?} {}", entry.model, entry.state, entry.reason);
            line.trim_end().to_owned()
        };
        block_on(self.handle.index()).unwrap().into_iter().map(line).collect()
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

/// Asks the version to echo a row.
pub(super) async fn echo(version: &ActiveVersion) -> Result<Reply, RequestError> {
    let reply = version.batcher.infer(row()).await?;
    assert_eq!(reply.outputs.first(), row().inputs[0].as_ref());
    Ok(reply)
}

/// A request with one row.
pub(super) fn row() -> Request {
    Request {
        inputs: vec![Some(Tensor::from_f32(&[1, 2], &[1.5, -2.5]).unwrap())],
        outputs: [0].into_iter().collect(),
        priority: 0,
        deadline: None,
        arrived: Instant::now(),
    }
}

pub(super) fn standard_settings() -> ModelSettings {
    ModelSettings {
        model_file: None,
        engine: EngineChoice::Auto,
        session: SessionSettings::cpu(),
        batching: BatchingSettings {
            instances: Some(1),
            threads: Some(1),
            max_batch_size: Some(8),
            ..BatchingSettings::standard()
        },
        versions: VersionPolicy::Latest(1),
        warm_up: Vec::new(),
        labels: Default::default(),
        warnings: Vec::new(),
    }
}

/// Reads a row of two numbers from each file.
fn golden_reader() -> GoldenReader {
    Arc::new(|files, _| {
        let row = |bytes: &[u8]| {
            let numbers = std::str::from_utf8(bytes).unwrap().split_whitespace();
            let numbers: Result<Vec<f32>, _> = numbers.map(str::parse).collect();
            let numbers = numbers.map_err(|_| "expected numbers".to_owned())?;
            Ok::<Tensor, String>(Tensor::from_f32(&[1, numbers.len()], &numbers).unwrap())
        };
        Ok(GoldenSample {
            inputs: vec![Some(row(&files.inputs)?)],
            outputs: vec![(0, row(&files.outputs)?)],
            tolerance: Tolerance {
                relative: files.relative_tolerance,
                absolute: files.absolute_tolerance,
            },
        })
    })
}

/// Reads settings that consist of a version policy (`all`, or how many of the newest) or the name
/// of the model's file.
pub(super) fn reader() -> SettingsReader {
    Arc::new(|folder: &Path, config: Option<&str>| {
        let on_disk = fs::read_to_string(folder.join("model.toml")).ok();
        let text = config.map(str::to_owned).or(on_disk).unwrap_or_else(|| "1".to_owned());
        if text.ends_with(".onnx") {
            return Ok(ModelSettings { model_file: Some(text), ..standard_settings() });
        }
        let versions = match text.trim() {
            "all" => VersionPolicy::All,
            count => VersionPolicy::Latest(
                count.parse().map_err(|_| format!("versions: expected a count, got {count:?}"))?,
            ),
        };
        Ok(ModelSettings { versions, ..standard_settings() })
    })
}
