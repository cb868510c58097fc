//! Makes a serving version of a model's file: engine, sessions, warm-up, golden samples, proof,
//! layout, labels.
//! All of it on a thread of its own: opening a model takes from milliseconds to many minutes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::catalog::VersionKey;
use super::{ActiveVersion, EngineProvider, GoldenReader, LoadError, ModelSettings};
use crate::batching::{Batcher, BatchingSettings, SessionOpener};
use crate::engine::{
    Engine, EngineError, ModelSource, Session, SessionSettings, check_golden, panic_text, warm_up,
};
use crate::repository::{GoldenFiles, digest_file, read_golden, read_manifest, verify_digests};
use crate::telemetry::{ModelEvents, SwapPhases};

/// No file of class labels is longer.
const MAX_LABEL_BYTES: u64 = 64 * 1024 * 1024;

/// What one load needs to know.
#[derive(Clone, Debug)]
pub(super) struct LoadJob {
    pub(super) key: VersionKey,
    pub(super) file: PathBuf,
    pub(super) file_bytes: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) settings: Arc<ModelSettings>,
    /// What of the model's folder is passed over.
    pub(super) warnings: Vec<String>,
    /// Files that came with a load request: deleted when the last that serves from them is gone.
    /// Held, never read.
    pub(super) _files: Option<Arc<TempDir>>,
    /// A load request brought files or a configuration; the disk does not speak for it.
    pub(super) overridden: bool,
}

/// A version that is ready to serve, and what making it took.
pub(super) struct Loaded {
    pub(super) version: ActiveVersion,
    pub(super) phases: SwapPhases,
    /// What the process grew by meanwhile, other loads included.
    pub(super) growth_bytes: Option<u64>,
}

/// What every load is done with.
#[derive(Clone)]
pub(super) struct LoadTools {
    pub(super) engines: EngineProvider,
    pub(super) golden: GoldenReader,
}

/// Told how a load ended, on the loader thread.
pub(super) type Done = Box<dyn FnOnce(Result<Loaded, LoadError>) + Send>;

/// Loads on a new thread. A panic of the engine is an error of this load, no more.
///
/// # Errors
/// The system gave no thread; `done` is not called.
pub(super) fn start_load(job: LoadJob, tools: LoadTools, done: Done) -> Result<(), LoadError> {
    let name = format!("load {}/{}", job.key.model, job.key.number);
    let thread = std::thread::Builder::new().name(name);
    let spawned = thread.spawn(move || {
        let loaded = catch_unwind(AssertUnwindSafe(|| load(&job, &tools)));
        done(loaded.unwrap_or_else(|panic| {
            Err(LoadError::Panicked { message: panic_text(&*panic).to_owned() })
        }));
    });
    match spawned {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::NoThread { reason: error.to_string() }),
    }
}

fn load(job: &LoadJob, tools: &LoadTools) -> Result<Loaded, LoadError> {
    let settings = job.settings.clone();
    let events = Arc::new(ModelEvents::new(&job.key.model, job.key.number));
    events.loading(&job.file.display());
    for warning in settings.warnings.iter().chain(&job.warnings) {
        events.warning(warning);
    }
    let mut samples = Vec::new();
    if let Some(folder) = job.file.parent()
        && let Some(manifest) = read_manifest(folder)?
    {
        verify_digests(folder, &manifest)?;
        samples = read_golden(folder, &manifest)?;
    }
    // Before the engine: what is quickly found wrong is quickly said.
    let labels = settings
        .labels
        .iter()
        .map(|(output, path)| Ok((output.clone(), read_labels(output, path)?)))
        .collect::<Result<BTreeMap<_, _>, LoadError>>()?;

    let engine = (tools.engines)(settings.engine)?;
    let batching = batching_settings(job)?;
    let before = resident_bytes();
    let began = Instant::now();
    let golden = Golden { samples, reader: tools.golden.clone() };
    let first = Arc::new(Mutex::new(First { golden: Some(golden), ..First::default() }));
    let opener = session_opener(job, engine, first.clone());
    let batcher = Batcher::start(opener, &batching, events.clone())
        .map_err(|error| first.lock().fault.take().unwrap_or(LoadError::Engine(error)))?;
    let mut phases = first.lock().phases;
    phases.measure = began.elapsed().saturating_sub(phases.open + phases.warm);
    let growth = |after: u64| Some(after.saturating_sub(before?));
    let growth_bytes = resident_bytes().and_then(growth);
    let (model, number) = (job.key.model.clone(), job.key.number);
    let version = ActiveVersion { model, number, batcher, settings, events, labels };
    Ok(Loaded { version, phases, growth_bytes })
}

/// The model's batching settings with what only the loader knows.
fn batching_settings(job: &LoadJob) -> Result<BatchingSettings, LoadError> {
    let mut batching = job.settings.batching.clone();
    if batching.layout_cache.is_some() && batching.layout_key.is_empty() {
        batching.layout_key = digest_file(&job.file)?.to_string();
    }
    // Shapes that warm-up takes are shapes that the proof may take.
    for (input, sizes) in job.settings.warm_up.iter().flat_map(|sample| &sample.shapes) {
        batching.sample_shapes.entry(input.clone()).or_insert_with(|| sizes.clone());
    }
    Ok(batching)
}

/// What is done and noted when the first session of a version is opened.
#[derive(Default)]
struct First {
    /// Taken by the first session, which alone must prove itself: the others are its like.
    golden: Option<Golden>,
    /// The first one's times: that is what a version's readiness waits for; later ones are the
    /// measurement's.
    phases: SwapPhases,
    /// Why it did not prove itself: an opener can only fail as an engine does.
    fault: Option<LoadError>,
    /// The file that it was opened from: a session that is opened long after the others must not
    /// be another model's.
    file: Option<FileMark>,
}

/// Tells a file from one that was put in its place.
type FileMark = (u64, Option<SystemTime>);

/// Samples that a version must answer right before it serves.
struct Golden {
    samples: Vec<GoldenFiles>,
    reader: GoldenReader,
}

impl Golden {
    fn check(&self, session: &mut dyn Session) -> Result<(), LoadError> {
        let signature = session.signature().clone();
        for files in &self.samples {
            let path = files.path.clone();
            let sample = (self.reader)(files, &signature)
                .map_err(|reason| LoadError::GoldenUnreadable { path: path.clone(), reason })?;
            check_golden(session, &sample).map_err(|fault| LoadError::Golden { path, fault })?;
        }
        Ok(())
    }
}

/// Opens sessions of the job's model and warms each one.
fn session_opener(
    job: &LoadJob,
    engine: Arc<dyn Engine>,
    first: Arc<Mutex<First>>,
) -> SessionOpener {
    let job = job.clone();
    Arc::new(move |threads| {
        let settings = &job.settings;
        let source = ModelSource { path: job.file.clone() };
        let asked = SessionSettings { threads, ..settings.session.clone() };
        check_file(&job.file, &mut first.lock().file)?;
        let began = Instant::now();
        let mut session = engine.open(&source, &asked)?;
        let open = began.elapsed();
        let configured = |input: &str| {
            let axes = settings.batching.axes.iter().find(|axes| axes.tensor == input);
            axes.map(|axes| axes.axis)
        };
        warm_up(session.as_mut(), &settings.warm_up, &configured)?;
        let mut first = first.lock();
        if let Some(golden) = first.golden.take() {
            if let Err(fault) = golden.check(session.as_mut()) {
                let reason = fault.to_string();
                first.fault = Some(fault);
                return Err(EngineError::RunFailed { reason });
            }
            let warm = began.elapsed().saturating_sub(open);
            first.phases = SwapPhases { open, warm, measure: Duration::ZERO };
        }
        Ok(session)
    })
}

/// Fails where another file is in the place of the one that was there the first time.
fn check_file(path: &Path, mark: &mut Option<FileMark>) -> Result<(), EngineError> {
    let unreadable =
        |reason: String| EngineError::ModelUnreadable { path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    let found = (metadata.len(), metadata.modified().ok());
    if *mark.get_or_insert(found) == found {
        return Ok(());
    }
    Err(unreadable("the file was replaced since the version was loaded from it".to_owned()))
}

/// Memory of the process that is not swapped out, where the system tells.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// The labels of one output, a line each; the last line need not be ended.
fn read_labels(output: &str, path: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |reason: String| LoadError::Labels {
        output: output.to_owned(),
        path: path.to_owned(),
        reason,
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes into it.
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("not a file".to_owned()));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_not_opened_again_from_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let mut mark = None;
        let missing = check_file(&path, &mut mark).unwrap_err().to_string();
        assert!(
            missing.ends_with("model.onnx: No such file or directory (os error 2)"),
            "{missing}"
        );
        std::fs::write(&path, "one").unwrap();
        check_file(&path, &mut mark).unwrap();
        check_file(&path, &mut mark).unwrap();
        std::fs::write(&path, "another").unwrap();
        let replaced = check_file(&path, &mut mark).unwrap_err().to_string();
        let expected = "model.onnx: the file was replaced since the version was loaded from it";
        assert!(replaced.ends_with(expected), "{replaced}");
    }

    #[test]
    fn labels_are_read_from_a_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        std::fs::write(&path, "zero\none\n").unwrap();
        assert_eq!(read_labels("y", &path).unwrap(), ["zero", "one"]);
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for other in [folder.path(), &pipe] {
            let error = read_labels("y", other).unwrap_err().to_string();
            assert!(error.ends_with(": not a file"), "{error}");
        }
    }
}
