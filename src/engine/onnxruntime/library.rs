//! Where ONNX Runtime's library is, whether it is usable, and loading it: once per process.

use std::env;
use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::engine::EngineError;

/// Official libraries since 1.29 send telemetry unless this is 1 before they are loaded.
const TELEMETRY_VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// The file's name in every package; Linux distributions ship only the second.
const FILE_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// Turns ONNX Runtime's telemetry off for this process and its children.
///
/// The first thing in `main`: [`load`] refuses to load a library without it.
///
/// # Safety
/// No other thread runs yet: writing the environment beside a thread that reads it is undefined.
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller promises that the process has one thread.
    unsafe { env::set_var(TELEMETRY_VARIABLE, "1") }
}

/// A place that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `--onnxruntime`, or `engine.onnxruntime.library` in the configuration.
    Named,
    /// The environment variable that programs built on `ort` read.
    Variable,
    BesideExecutable,
    /// Where `onnxd runtime install` puts it.
    Installed,
    /// What the system's dynamic loader finds under the library's bare name.
    LoaderPath,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Place::Named => "--onnxruntime",
            Place::Variable => "ORT_DYLIB_PATH",
            Place::BesideExecutable => "beside the executable",
            Place::Installed => "onnxd runtime install",
            Place::LoaderPath => "the system's loader path",
        })
    }
}

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The place is not set.
    Unset,
    Absent,
    Unusable { reason: String },
    Usable { version: String },
}

/// One place and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub place: Place,
    /// `None` where the place is not set.
    pub path: Option<PathBuf>,
    pub finding: Finding,
}

impl fmt::Display for Looked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.place)?;
        if let Some(path) = &self.path {
            write!(formatter, " ({})", path.display())?;
        }
        match &self.finding {
            Finding::Unset => formatter.write_str(": not set"),
            Finding::Absent => formatter.write_str(": not there"),
            Finding::Unusable { reason } => write!(formatter, ": {reason}"),
            Finding::Usable { version } => write!(formatter, ": ONNX Runtime {version}"),
        }
    }
}

/// Every place that was looked at, in order; the search ends at the first usable library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub looked: Vec<Looked>,
}

impl Search {
    /// The library to use: its path and version.
    pub fn found(&self) -> Option<(&Path, &str)> {
        self.looked.iter().find_map(|looked| match (&looked.path, &looked.finding) {
            (Some(path), Finding::Usable { version }) => Some((path.as_path(), version.as_str())),
            _ => None,
        })
    }

    /// Why there is no library to use.
    fn error(&self) -> EngineError {
        let unusable = self.looked.iter().find_map(|looked| match (&looked.path, &looked.finding) {
            (Some(path), Finding::Unusable { reason }) => Some((path.clone(), reason.clone())),
            _ => None,
        });
        match unusable {
            Some((path, reason)) => EngineError::LibraryUnusable { path, reason },
            None => EngineError::LibraryMissing {
                looked_at: self.looked.iter().map(Looked::to_string).collect(),
            },
        }
    }

    /// Whether a place that somebody set by hand has no usable library: then nothing else may
    /// quietly take its place.
    fn is_final(&self) -> bool {
        self.looked.last().is_some_and(|last| match (last.place, &last.finding) {
            (_, Finding::Usable { .. }) => true,
            (Place::Named | Place::Variable, finding) => *finding != Finding::Unset,
            _ => false,
        })
    }
}

/// Looks for the library in the order that the command line promises.
pub fn search(named: Option<&Path>) -> Search {
    search_in(&Surroundings {
        named: named.map(Path::to_owned),
        variable: env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from),
        executable: env::current_exe().ok(),
        installed: install_root(),
    })
}

/// What the search depends on, so that tests can stage it.
struct Surroundings {
    named: Option<PathBuf>,
    variable: Option<PathBuf>,
    executable: Option<PathBuf>,
    installed: Option<PathBuf>,
}

fn search_in(surroundings: &Surroundings) -> Search {
    let beside = surroundings.executable.as_deref().and_then(Path::parent).map(Path::to_owned);
    let candidates: [(Place, Vec<PathBuf>); 5] = [
        (Place::Named, surroundings.named.iter().cloned().collect()),
        (Place::Variable, surroundings.variable.iter().cloned().collect()),
        (Place::BesideExecutable, beside.iter().map(|folder| library_in(folder)).collect()),
        (Place::Installed, installed_libraries(surroundings.installed.as_deref())),
        (Place::LoaderPath, FILE_NAMES.iter().map(PathBuf::from).collect()),
    ];
    let mut search = Search::default();
    for (place, paths) in candidates {
        if paths.is_empty() {
            let finding = if place == Place::Installed { Finding::Absent } else { Finding::Unset };
            search.looked.push(Looked { place, path: None, finding });
        }
        for path in paths {
            let finding = probe(place, &path);
            search.looked.push(Looked { place, path: Some(path), finding });
            if search.is_final() {
                return search;
            }
        }
    }
    search
}

/// `$XDG_DATA_HOME/onnxd/onnxruntime`, or its default under the home folder.
pub fn install_root() -> Option<PathBuf> {
    // The specification says that a relative path there is to be ignored.
    let data_home = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data_home = data_home.or_else(|| {
        let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(PathBuf::from(home).join(".local/share"))
    })?;
    Some(data_home.join("onnxd").join("onnxruntime"))
}

/// The library in a folder, under whichever name is there.
fn library_in(folder: &Path) -> PathBuf {
    let there = FILE_NAMES.iter().map(|name| folder.join(name)).find(|path| path.exists());
    there.unwrap_or_else(|| folder.join(FILE_NAMES[0]))
}

/// Installed libraries, the newest version first; of one version the CUDA build first, because it
/// runs on the CPU as well.
fn installed_libraries(root: Option<&Path>) -> Vec<PathBuf> {
    let Some(entries) = root.and_then(|root| std::fs::read_dir(root).ok()) else {
        return Vec::new();
    };
    let mut versions: Vec<(Vec<u32>, bool, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let (number, cuda) = match name.strip_suffix("-cuda") {
                Some(number) => (number.to_owned(), true),
                None => (name, false),
            };
            let number = number.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            Some((number, cuda, library_in(&entry.path())))
        })
        .collect();
    versions.sort_by(|a, b| (b.1, &b.0).cmp(&(a.1, &a.0)));
    versions.into_iter().map(|(_, _, path)| path).collect()
}

fn probe(place: Place, path: &Path) -> Finding {
    if place != Place::LoaderPath && !path.exists() {
        return Finding::Absent;
    }
    match version_of(path) {
        Ok(version) => Finding::Usable { version },
        // The loader's complaint that there is no such file is what "not there" means here.
        Err(_) if place == Place::LoaderPath && !loader_knows(path) => Finding::Absent,
        Err(reason) => Finding::Unusable { reason },
    }
}

fn loader_knows(name: &Path) -> bool {
    !open_library(name).is_err_and(|reason| reason.contains("No such file or directory"))
}

fn open_library(path: &Path) -> Result<libloading::Library, String> {
    // SAFETY: a library's initialisers run, which is what loading a library that the operator
    // named or installed means; nothing of it is used before it has been checked.
    unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("the loader refuses it: {error}"))
}

/// The version of the library at `path`, if it is one that this program can use. What is not ONNX
/// Runtime, is for another processor or is too old is an error; `ort` itself would panic later.
pub fn version_of(path: &Path) -> Result<String, String> {
    if env::var_os(TELEMETRY_VARIABLE).is_none_or(|value| value != "1") {
        return Err(format!("{TELEMETRY_VARIABLE} is not 1: it would send telemetry"));
    }
    let library = open_library(path)?;
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: the symbol has had this signature since ONNX Runtime 1.0.
    let base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| "it has no OrtGetApiBase: not ONNX Runtime".to_owned())?;
    // SAFETY: as above; the base and its version string are static data of the library.
    let version = unsafe {
        let base = base();
        if base.is_null() {
            return Err("its OrtGetApiBase answers nothing".to_owned());
        }
        CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    let minor = minor_version(&version)
        .ok_or_else(|| format!("its version {version:?} is not that of ONNX Runtime 1.x"))?;
    if minor < ort::MINOR_VERSION {
        let needed = ort::MINOR_VERSION;
        return Err(format!("version {version} is too old: 1.{needed} or newer is needed"));
    }
    // A library with threads of its own must not be unloaded: this handle is never closed.
    std::mem::forget(library);
    Ok(version)
}

fn minor_version(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    (parts.next() == Some("1")).then(|| parts.next()?.parse().ok()).flatten()
}

/// The library of this process.
#[derive(Clone)]
pub(super) struct Loaded {
    pub path: PathBuf,
    pub version: String,
    pub environment: Environment,
}

/// Set by the first successful load and never again: a process has one ONNX Runtime.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads the library that the search found.
///
/// # Errors
/// None was found, it is unusable, or another one is already loaded in this process.
pub(super) fn load(search: &Search) -> Result<Loaded, EngineError> {
    let (path, version) = search.found().ok_or_else(|| search.error())?;
    let unusable = |reason: String| EngineError::LibraryUnusable { path: path.to_owned(), reason };
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = slot.as_ref() {
        if loaded.path == path {
            return Ok(loaded.clone());
        }
        let other = loaded.path.display();
        return Err(unusable(format!("this process already runs ONNX Runtime from {other}")));
    }
    let environment = ort::init_from(path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("onnxd")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    // Below warnings ONNX Runtime formats thousands of lines per session, only to be filtered.
    environment.set_log_level(LogLevel::Warning);
    let loaded = Loaded { path: path.to_owned(), version: version.to_owned(), environment };
    *slot = Some(loaded.clone());
    Ok(loaded)
}
