//! What an operator decides about one model, and about all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::RetryPolicy;
use crate::batching::BatchingSettings;
use crate::engine::{
    Engine, EngineChoice, EngineError, GoldenSample, SessionSettings, Signature, WarmUp,
};
use crate::repository::GoldenFiles;

/// Models loaded at the same time: enough to use the machine while one of them reads its file,
/// few enough that their peaks of memory do not add up.
pub const DEFAULT_LOAD_THREADS: usize = 4;
/// A failed load is said at once; whoever copies models into place while the daemon runs asks for
/// more.
pub const DEFAULT_LOAD_RETRIES: u32 = 0;
/// Before the second attempt: about what a copy of a small file takes.
pub const DEFAULT_LOAD_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Attempts never lie further apart.
pub const DEFAULT_LOAD_RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The N highest.
    Latest(usize),
    All,
    Specific(Vec<u64>),
}

/// Settings of one model, from `model.toml` or `config.pbtxt`, over the daemon's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSettings {
    /// The model's file in each version's folder, where it is not `model.onnx`.
    pub model_file: Option<String>,
    pub engine: EngineChoice,
    pub session: SessionSettings,
    pub batching: BatchingSettings,
    pub versions: VersionPolicy,
    pub warm_up: Vec<WarmUp>,
    /// File with one class label a line, by output: for the classification extension.
    pub labels: BTreeMap<String, PathBuf>,
    /// What of the configuration is not honoured, in sentences; logged as warnings at load.
    pub warnings: Vec<String>,
}

/// Reads one model's settings: given its folder, or the bare file that it is, and the ModelConfig
/// as JSON that a load request brought. Lifecycle knows no configuration file.
pub type SettingsReader =
    Arc<dyn Fn(&Path, Option<&str>) -> Result<ModelSettings, String> + Send + Sync>;

/// Gives the engine of that choice, made on first use.
pub type EngineProvider =
    Arc<dyn Fn(EngineChoice) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync>;

/// Reads the files of a golden sample as a run of a session with this signature. Lifecycle knows no
/// form of tensors in files.
pub type GoldenReader =
    Arc<dyn Fn(&GoldenFiles, &Signature) -> Result<GoldenSample, String> + Send + Sync>;

/// A model that is named one by one (`--model [NAME=]PATH`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedModel {
    /// `None`: called as its folder or file.
    pub name: Option<String>,
    pub path: PathBuf,
}

/// Which models there are: what a change of the configuration replaces as one.
#[derive(Clone)]
pub struct ServedModels {
    /// Loaded at the start.
    pub models: Vec<NamedModel>,
    /// Folders of models; no name may come twice.
    pub repositories: Vec<PathBuf>,
    /// Whether the repositories' models are loaded at the start, or only when asked for.
    pub load_repositories: bool,
    pub settings: SettingsReader,
}

/// What the manager is started with.
#[derive(Clone)]
pub struct ManagerSettings {
    pub served: ServedModels,
    pub engines: EngineProvider,
    pub golden: GoldenReader,
    /// Loads at the same time; at least 1.
    pub load_threads: usize,
    pub retry: RetryPolicy,
}
