//! What an operator decides about one model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::batching::BatchingSettings;
use crate::engine::{EngineChoice, SessionSettings};

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The N highest.
    Latest(usize),
    All,
    Specific(Vec<u64>),
}

/// One warm-up run before a version is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmUp {
    pub batch_size: usize,
    /// Runs of this sample.
    pub count: usize,
    /// Size of every open axis, by input; what is not named takes the loader's guess.
    pub shapes: BTreeMap<String, Vec<usize>>,
}

/// Settings of one model, from `model.toml` or `config.pbtxt`, over the daemon's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSettings {
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
