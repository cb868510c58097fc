//! The places where ONNX Runtime's library is looked for, in order, and what is found there.

use std::cmp::Reverse;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::library::version_of;
use crate::engine::EngineError;

/// The file's names in packages; Linux distributions ship only the second.
const FILE_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// The file beside the library that makes a build a CUDA build.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

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
    Unusable {
        reason: String,
    },
    Usable {
        version: String,
    },
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

/// Every place that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub looked: Vec<Looked>,
}

impl Search {
    /// The place whose library is used, as an index into `looked`.
    pub fn used(&self) -> Option<usize> {
        let deciding = self.looked.iter().position(Looked::decides)?;
        matches!(self.looked[deciding].finding, Finding::Usable { .. }).then_some(deciding)
    }

    /// The library to use: its path and version.
    pub fn found(&self) -> Option<(&Path, &str)> {
        let looked = &self.looked[self.used()?];
        match (&looked.path, &looked.finding) {
            (Some(path), Finding::Usable { version }) => Some((path, version)),
            _ => None,
        }
    }

    /// Why there is no library to use.
    pub(super) fn error(&self) -> EngineError {
        let unusable =
            self.looked.iter().find_map(|looked| match (&looked.path, &looked.finding) {
                (Some(path), Finding::Unusable { reason }) => Some((path.clone(), reason.clone())),
                (Some(path), Finding::Absent) if looked.decides() => {
                    Some((path.clone(), format!("{} names it, but it is not there", looked.place)))
                }
                _ => None,
            });
        match unusable {
            Some((path, reason)) => EngineError::LibraryUnusable { path, reason },
            None => EngineError::LibraryMissing {
                looked_at: self.looked.iter().map(Looked::to_string).collect(),
            },
        }
    }
}

impl Looked {
    /// Whether the search ends here: with a usable library, or at a place that somebody set by
    /// hand, which nothing else may quietly stand in for.
    fn decides(&self) -> bool {
        match (self.place, &self.finding) {
            (_, Finding::Usable { .. }) => true,
            (Place::Named | Place::Variable, finding) => *finding != Finding::Unset,
            _ => false,
        }
    }
}

/// Looks for the library in the order that the command line promises, up to the one to use.
pub fn search(named: Option<&Path>) -> Search {
    let mut search = Search::default();
    for (place, path) in Surroundings::of_this_process(named).places() {
        search.looked.push(look(place, path));
        if search.looked.last().is_some_and(Looked::decides) {
            break;
        }
    }
    search
}

/// Looks at every place, also after the one to use: for people who want to see them all.
pub fn survey(named: Option<&Path>) -> Search {
    let places = Surroundings::of_this_process(named).places();
    // The loader goes first: once a library is loaded from a path, it answers to its bare name.
    let split = places.iter().take_while(|(place, _)| *place != Place::LoaderPath).count();
    let (by_path, by_name) = places.split_at(split);
    let look = |(place, path): &(Place, Option<PathBuf>)| look(*place, path.clone());
    let by_name: Vec<Looked> = by_name.iter().map(look).collect();
    Search { looked: by_path.iter().map(look).chain(by_name).collect() }
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

/// What the search depends on, so that tests can stage it.
struct Surroundings {
    named: Option<PathBuf>,
    variable: Option<PathBuf>,
    executable_folder: Option<PathBuf>,
    install_root: Option<PathBuf>,
}

impl Surroundings {
    fn of_this_process(named: Option<&Path>) -> Surroundings {
        let variable = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        let executable = env::current_exe().ok();
        Surroundings {
            named: named.map(Path::to_owned),
            variable: variable.map(PathBuf::from),
            executable_folder: executable.as_deref().and_then(Path::parent).map(Path::to_owned),
            install_root: install_root(),
        }
    }

    /// Places and the files to look at there; without a file where the place is not set.
    fn places(&self) -> Vec<(Place, Option<PathBuf>)> {
        let mut places = vec![
            (Place::Named, self.named.clone()),
            (Place::Variable, self.variable.clone()),
            (Place::BesideExecutable, self.executable_folder.as_deref().map(library_in)),
        ];
        let installed = self.install_root.as_deref().map(installed_libraries).unwrap_or_default();
        if installed.is_empty() {
            places.push((Place::Installed, self.install_root.clone()));
        }
        places.extend(installed.into_iter().map(|path| (Place::Installed, Some(path))));
        places.extend(FILE_NAMES.map(|name| (Place::LoaderPath, Some(PathBuf::from(name)))));
        places
    }
}

/// The library in a folder, under whichever of its names is there.
fn library_in(folder: &Path) -> PathBuf {
    let plain = FILE_NAMES.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let versioned = || {
        let entries = fs::read_dir(folder).ok()?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("libonnxruntime.so.1."))
        })
    };
    plain.or_else(versioned).unwrap_or_else(|| folder.join(FILE_NAMES[0]))
}

/// Installed libraries: CUDA builds first, because they run on the CPU as well and nobody installs
/// one by accident; of a kind the newest version first.
fn installed_libraries(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut found: Vec<(bool, Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let version = name.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let folder = entry.path();
            Some((folder.join(CUDA_PROVIDER).exists(), version, library_in(&folder)))
        })
        .collect();
    found.sort_by_key(|(cuda, version, _)| Reverse((*cuda, version.clone())));
    found.into_iter().map(|(_, _, path)| path).collect()
}

fn look(place: Place, path: Option<PathBuf>) -> Looked {
    let finding = match &path {
        None => Finding::Unset,
        Some(path) if place == Place::LoaderPath => match version_of(path) {
            Ok(version) => Finding::Usable { version },
            // The loader has no other way to say that it knows no such library.
            Err(reason) if reason.contains("No such file or directory") => Finding::Absent,
            Err(reason) => Finding::Unusable { reason },
        },
        Some(path) if !path.is_file() => Finding::Absent,
        Some(path) => match version_of(path) {
            Ok(version) => Finding::Usable { version },
            Err(reason) => Finding::Unusable { reason },
        },
    };
    Looked { place, path, finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::onnxruntime::testing::test_library;

    /// Surroundings with nothing in them but an empty folder.
    fn nowhere(folder: &Path) -> Surroundings {
        Surroundings {
            named: None,
            variable: None,
            executable_folder: Some(folder.join("bin")),
            install_root: Some(folder.join("data")),
        }
    }

    fn search_in(surroundings: &Surroundings) -> Search {
        let mut search = Search::default();
        for (place, path) in surroundings.places() {
            // The machine's own libraries are none of this test's business.
            if place != Place::LoaderPath {
                search.looked.push(look(place, path));
            }
        }
        search
    }

    /// Links the library for tests to a path, as an installation would have it there.
    fn put_library(path: &Path) {
        let folder = path.parent().expect("it has a folder");
        fs::create_dir_all(folder).expect("the folder is writable");
        std::os::unix::fs::symlink(test_library(), path).expect("the folder is writable");
    }

    #[test]
    fn places_are_looked_at_in_the_documented_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut surroundings = nowhere(folder.path());
        let path = |name: &str| folder.path().join(name);
        let used = |surroundings: &Surroundings| {
            let search = search_in(surroundings);
            search.used().map(|index| search.looked[index].place)
        };
        assert_eq!(used(&surroundings), None);
        put_library(&path("data/1.32.0/libonnxruntime.so"));
        assert_eq!(used(&surroundings), Some(Place::Installed));
        put_library(&path("bin/libonnxruntime.so.1.32.0"));
        assert_eq!(used(&surroundings), Some(Place::BesideExecutable));
        put_library(&path("variable.so"));
        surroundings.variable = Some(path("variable.so"));
        assert_eq!(used(&surroundings), Some(Place::Variable));
        put_library(&path("named.so"));
        surroundings.named = Some(path("named.so"));
        assert_eq!(used(&surroundings), Some(Place::Named));
    }

    #[test]
    fn what_was_set_by_hand_is_never_stood_in_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        put_library(&folder.path().join("bin/libonnxruntime.so"));
        let absent = folder.path().join("absent.so");
        let surroundings = Surroundings { named: Some(absent.clone()), ..nowhere(folder.path()) };
        let search = search_in(&surroundings);
        assert_eq!(search.found(), None);
        let reason = "--onnxruntime names it, but it is not there".to_owned();
        assert_eq!(search.error(), EngineError::LibraryUnusable { path: absent, reason });
    }

    #[test]
    fn a_file_that_is_no_library_is_unusable_and_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        test_library();
        let path = folder.path().join("libonnxruntime.so");
        fs::write(&path, "not a library, whatever its name says").expect("writable");
        let reason = "it is not a shared library".to_owned();
        assert_eq!(look(Place::Named, Some(path)).finding, Finding::Unusable { reason });
        // A library, but another one: the test's own machine surely has the C library loaded.
        let error = version_of(Path::new("libc.so.6")).expect_err("it is not ONNX Runtime");
        assert_eq!(error, "it has no OrtGetApiBase: not ONNX Runtime");
    }

    #[test]
    fn nothing_found_lists_every_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = search_in(&nowhere(folder.path())).error().to_string();
        for place in ["--onnxruntime: not set", "ORT_DYLIB_PATH: not set", "beside the executable"]
        {
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn cuda_builds_go_first_then_newer_versions() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for version in ["1.9.0", "1.32.0", "1.31.1", ".install-x", "notes"] {
            fs::create_dir(root.path().join(version)).expect("writable");
        }
        fs::write(root.path().join("1.31.1").join(CUDA_PROVIDER), "").expect("writable");
        let folders: Vec<String> = installed_libraries(root.path())
            .iter()
            .map(|path| path.parent().expect("a folder"))
            .map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(folders, ["1.31.1", "1.32.0", "1.9.0"]);
    }
}
