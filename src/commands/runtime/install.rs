//! From nothing to a library in place.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use super::super::output::{print, say};
use super::archive::{LIBRARY, extract};
use super::package::{Package, sha256_of};
use crate::engine::onnxruntime::library::version_of;
use crate::engine::onnxruntime::search::install_root;

/// The file whose presence makes a build a CUDA build.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

/// Folders that are being filled begin so.
const SCRATCH: &str = ".install-";

/// What to install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallOptions {
    /// The build with CUDA and TensorRT.
    pub cuda: bool,
    /// A wheel, `.tgz`, `.deb` or library to install from, instead of a download.
    pub from: Option<PathBuf>,
    /// The folder that gets a folder per version; `None` is where the daemon looks.
    pub root: Option<PathBuf>,
}

/// Installs ONNX Runtime; says on stderr what it does and on stdout where the library is.
///
/// Nothing is left half done: the library is unpacked and tried beside its place, then moved.
///
/// # Errors
/// No `pip`, no network, a wrong digest, an archive without the library, a library that this
/// machine or program cannot use, or a disk that is full; each says what to do.
pub fn install(options: &InstallOptions) -> Result<()> {
    let library = install_library(options)?;
    print(format!("{}\n", library.display()).as_bytes())
}

/// [`install`] without the output on stdout: the library's path.
///
/// # Errors
/// As `install`.
pub fn install_library(options: &InstallOptions) -> Result<PathBuf> {
    let root = match &options.root {
        Some(root) => root.clone(),
        None => install_root().context(
            "no place to install to: neither XDG_DATA_HOME nor HOME is set to an absolute path",
        )?,
    };
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let _alone = alone(&root)?;
    match &options.from {
        Some(file) => from_file(file, options.cuda, &root),
        None => from_index(options.cuda, &root),
    }
}

fn from_index(cuda: bool, root: &Path) -> Result<PathBuf> {
    let package = Package::for_machine(std::env::consts::ARCH, cuda)?;
    if let Some(library) = already_there(root, package.version, cuda) {
        say(format_args!("ONNX Runtime {} is already installed", package.version));
        return Ok(library);
    }
    say(format_args!("downloading {} {}", package.name, package.version));
    let downloads = scratch(root)?;
    let wheel = package.download(downloads.path())?;
    from_file(&wheel, cuda, root)
}

fn from_file(file: &Path, cuda: bool, root: &Path) -> Result<PathBuf> {
    let folder = scratch(root)?;
    let progress = progress_bar(file)?;
    extract(file, folder.path(), &progress)?;
    progress.finish_and_clear();
    let version = version_of(&folder.path().join(LIBRARY))
        .map_err(|reason| anyhow::anyhow!("{}: {reason}", file.display()))?;
    let has_cuda = folder.path().join(CUDA_PROVIDER).exists();
    if cuda && !has_cuda {
        bail!("{}: --cuda was given, but there is no {CUDA_PROVIDER} in it", file.display());
    }
    if let Some(library) = already_there(root, &version, has_cuda)
        && sha256_of(&library)? == sha256_of(&folder.path().join(LIBRARY))?
    {
        say(format_args!("ONNX Runtime {version} is already installed"));
        return Ok(library);
    }
    let library = put_in_place(folder, &root.join(&version))?;
    say(format_args!(
        "installed ONNX Runtime {version}{}",
        if has_cuda { " with CUDA" } else { "" }
    ));
    Ok(library)
}

/// The installed library of that version; a CUDA build does for a CPU build as well.
fn already_there(root: &Path, version: &str, cuda: bool) -> Option<PathBuf> {
    let folder = root.join(version);
    let library = folder.join(LIBRARY);
    let fits = library.is_file() && (!cuda || folder.join(CUDA_PROVIDER).is_file());
    // A library that cannot be used is no reason not to install one that can.
    (fits && version_of(&library).is_ok()).then_some(library)
}

/// Waits until nobody else installs there, and removes what one that was interrupted has left: a
/// build may be half a gigabyte. Held until the end; the system lets go of it in any case.
fn alone(root: &Path) -> Result<File> {
    let locking = || format!("locking {}", root.display());
    // The folder itself, so that no file of the lock's own stays behind.
    let lock = File::open(root).with_context(locking)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(format_args!("waiting for another installation into {}", root.display()));
            lock.lock().with_context(locking)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(locking),
    }
    let entries = fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?;
    let is_left = |name: &OsStr| name.as_encoded_bytes().starts_with(SCRATCH.as_bytes());
    for entry in entries.flatten().filter(|entry| is_left(&entry.file_name())) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(entry.path());
    }
    Ok(lock)
}

/// A folder beside the final one, on the same file system, removed when it is not kept.
fn scratch(root: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(root)
        .with_context(|| format!("creating a folder in {}", root.display()))
}

fn put_in_place(folder: TempDir, place: &Path) -> Result<PathBuf> {
    let moving = || format!("moving the library to {}", place.display());
    make_readable(folder.path()).with_context(moving)?;
    // A folder that is there is moved aside first: a daemon that runs from it keeps its files.
    let old = scratch(place.parent().context("the place has a parent: it is below the root")?)?;
    match fs::rename(place, old.path().join("old")) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(moving),
    }
    fs::rename(folder.path(), place).with_context(moving)?;
    // Its name is gone, so there is nothing left to remove.
    let _ = folder.keep();
    Ok(place.join(LIBRARY))
}

/// Temporary folders are private; what is installed may serve other users.
fn make_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(folder)? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn progress_bar(file: &Path) -> Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        say(format_args!("unpacking {}", file.display()));
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("unpacking {msg} {bytes} {spinner}")
        .context("the template of the progress bar")?;
    let bar = ProgressBar::no_length().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::onnxruntime::testing::test_library;

    fn install_from(file: &Path, root: &Path) -> Result<PathBuf> {
        install_library(&InstallOptions {
            cuda: false,
            from: Some(file.to_owned()),
            root: Some(root.to_owned()),
        })
    }

    fn entries(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        entries.map(|e| e.expect("readable").file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn a_library_is_installed_by_its_version_and_only_once() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let first = install_from(&test_library(), root.path()).expect("it installs");
        let version = version_of(&first).expect("it is usable");
        assert_eq!(first, root.path().join(&version).join(LIBRARY));
        let modified = |path: &Path| fs::metadata(path).expect("it is there").modified().ok();
        let before = modified(&first);
        let second = install_from(&test_library(), root.path()).expect("it is there already");
        assert_eq!((second.as_path(), modified(&second)), (first.as_path(), before));
        assert_eq!(entries(root.path()), [version], "nothing is left behind");
    }

    #[test]
    fn what_an_interrupted_installation_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join(".install-AbCdEf")).expect("it is writable");
        fs::write(root.path().join(".install-AbCdEf/libonnxruntime.so"), "").expect("so is it");
        fs::create_dir(root.path().join("1.0.0")).expect("it is writable");
        drop(alone(root.path()).expect("nobody else installs here"));
        assert_eq!(entries(root.path()), ["1.0.0"]);
    }

    #[test]
    fn two_installations_follow_each_other() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let first = alone(root.path()).expect("nobody else installs here");
        let path = root.path().to_owned();
        let second = std::thread::spawn(move || alone(&path).map(drop));
        let being_filled = scratch(root.path()).expect("the folder is writable");
        assert!(being_filled.path().exists());
        drop(first);
        second.join().expect("no panic").expect("its turn comes");
    }

    #[test]
    fn a_broken_installation_is_replaced() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let library = install_from(&test_library(), root.path()).expect("it installs");
        // A new file: this process has the old one loaded.
        fs::remove_file(&library).expect("it is ours");
        fs::write(&library, b"cut short").expect("it is ours");
        let again = install_from(&test_library(), root.path()).expect("it installs again");
        assert!(version_of(&again).is_ok());
        assert_eq!(entries(root.path()).len(), 1, "nothing is left behind");
    }

    #[test]
    fn what_this_machine_cannot_use_is_not_installed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let file = root.path().join("library");
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(64, 0);
        // IBM's mainframes: little chance that this test runs on one.
        header[18] = 22;
        let table: [(&[u8], &str); 3] = [
            (&header, "it is for another processor, this machine is"),
            (b"\x7fELF", "it is not a shared library"),
            (b"no library", "neither a wheel, a .tgz, a .deb nor a shared library"),
        ];
        for (content, reason) in table {
            fs::write(&file, content).expect("the folder is writable");
            let into = root.path().join("into");
            let error = format!("{:#}", install_from(&file, &into).expect_err(reason));
            assert!(error.contains(reason), "{error}");
            assert_eq!(entries(&into), [""; 0], "nothing is left behind");
        }
    }

    #[test]
    fn a_cuda_build_is_not_taken_from_a_package_without_one() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let options = InstallOptions {
            cuda: true,
            from: Some(test_library()),
            root: Some(root.path().to_owned()),
        };
        let error = install_library(&options).expect_err("it is a CPU build").to_string();
        assert!(error.contains("--cuda was given"), "{error}");
    }
}
