//! Makes a serving version of a model's file: engine, sessions, warm-up, proof, layout, labels.
//! All of it on a thread of its own: opening a model takes from milliseconds to many minutes.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;

use super::catalog::VersionKey;
use super::warm_up::warm_up;
use super::{ActiveVersion, EngineProvider, LoadError, ModelSettings};
use crate::batching::{Batcher, SessionOpener};
use crate::engine::{ModelSource, SessionSettings};
use crate::repository::{read_manifest, verify_digests};
use crate::telemetry::ModelEvents;

/// No file of class labels is longer.
const MAX_LABEL_BYTES: u64 = 64 * 1024 * 1024;

/// What one load needs to know.
#[derive(Clone, Debug)]
pub(super) struct LoadJob {
    pub(super) key: VersionKey,
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) settings: Arc<ModelSettings>,
    /// Files that came with a load request: deleted when the last that serves from them is gone.
    pub(super) files: Option<Arc<TempDir>>,
    /// A load request brought files or a configuration; the disk does not speak for it.
    pub(super) overridden: bool,
}

/// Told how a load ended, on the loader thread.
pub(super) type Done = Box<dyn FnOnce(Result<ActiveVersion, LoadError>) + Send>;

/// Loads on a new thread. A panic of the engine is an error of this load, no more.
///
/// # Errors
/// The system gave no thread; `done` is not called.
pub(super) fn start_load(
    job: LoadJob,
    engines: EngineProvider,
    done: Done,
) -> Result<(), LoadError> {
    let name = format!("load {}/{}", job.key.model, job.key.number);
    let thread = std::thread::Builder::new().name(name);
    let spawned = thread.spawn(move || {
        let loaded = catch_unwind(AssertUnwindSafe(|| load(&job, &engines)));
        done(loaded.unwrap_or_else(|panic| {
            Err(LoadError::Panicked { message: panic_message(panic.as_ref()) })
        }));
    });
    match spawned {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::NoThread { reason: error.to_string() }),
    }
}

/// The text that a panic was raised with.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}

fn load(job: &LoadJob, engines: &EngineProvider) -> Result<ActiveVersion, LoadError> {
    let settings = job.settings.clone();
    if let Some(folder) = job.file.parent()
        && let Some(manifest) = read_manifest(folder)?
    {
        verify_digests(folder, &manifest)?;
    }
    // Before the engine: what is quickly found wrong is quickly said.
    let labels = settings
        .labels
        .iter()
        .map(|(output, path)| Ok((output.clone(), read_labels(output, path)?)))
        .collect::<Result<BTreeMap<_, _>, LoadError>>()?;

    let events = Arc::new(ModelEvents::new(&job.key.model, job.key.number));
    let engine = engines(settings.engine)?;
    let opener: SessionOpener = {
        let (job, settings) = (job.clone(), settings.clone());
        Arc::new(move |threads| {
            let source = ModelSource { path: job.file.clone() };
            let asked = SessionSettings { threads, ..settings.session.clone() };
            let mut session = engine.open(&source, &asked)?;
            warm_up(session.as_mut(), &settings.warm_up, &settings.batching.axes)?;
            Ok(session)
        })
    };
    let batcher = Batcher::start(opener, &settings.batching, events.clone())?;
    Ok(ActiveVersion {
        model: job.key.model.clone(),
        number: job.key.number,
        batcher,
        settings,
        events,
        labels,
    })
}

/// The labels of one output, a line each; the last line need not be ended.
fn read_labels(output: &str, path: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |reason: String| LoadError::Labels {
        output: output.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(MAX_LABEL_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_LABEL_BYTES {
        return Err(failed(format!("longer than {MAX_LABEL_BYTES} bytes")));
    }
    Ok(text.lines().map(str::to_owned).collect())
}
