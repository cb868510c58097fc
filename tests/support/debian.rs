//! Programs out of Debian packages, fetched by name where they are missing. A test that cannot get
//! what it needs fails and says why. The library's own tests use this file too.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use parking_lot::Mutex;

/// Where fetched things are kept between runs.
const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp");

/// One test at a time fetches; the others find what it fetched. (Two test processes at a time
/// are kept apart by the rename that ends every fetch.)
static FETCHING: Mutex<()> = Mutex::new(());

/// Runs a command to its end; its output, or what it said when it failed.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A program out of a Debian package that needs nothing but the C library: as installed, else
/// unpacked from the archive without installing anything.
pub fn unpacked_program(package: &str, program: &str) -> PathBuf {
    if let Some(installed) = installed(program) {
        return installed;
    }
    let _one = FETCHING.lock();
    let folder = Path::new(CACHE).join("debian").join(package);
    let path = folder.join("usr/bin").join(program);
    if !path.exists() {
        unpack(package, &folder)
            .unwrap_or_else(|error| panic!("{program} of Debian's {package} is needed: {error}"));
    }
    assert!(path.exists(), "Debian's {package} has no usr/bin/{program}");
    path
}

/// A program out of a Debian package that works only when installed.
pub fn installed_program(package: &str, program: &str) -> PathBuf {
    found_or_installed(package, program, || installed(program))
}

/// Python with the modules that fetch packages and make environments, each of which Debian packs
/// apart.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let python = installed_program("python3", "python3");
        for (package, module) in [("python3-pip", "pip"), ("python3-venv", "ensurepip")] {
            found_or_installed(package, &format!("{module} for {}", python.display()), || {
                let import = ["-c", &format!("import {module}")];
                run(Command::new(&python).args(import)).ok()
            });
        }
        python
    })
}

/// What `find` finds, once the package is installed where it finds nothing.
fn found_or_installed<T>(package: &str, thing: &str, find: impl Fn() -> Option<T>) -> T {
    if let Some(found) = find() {
        return found;
    }
    let _one = FETCHING.lock();
    // Another test may have waited for the same.
    if let Some(found) = find() {
        return found;
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends", package]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    let done = run(&mut install).or_else(|_| {
        run(Command::new("apt-get").arg("update"))?;
        run(&mut install)
    });
    done.unwrap_or_else(|error| panic!("{thing} of Debian's {package} is needed: {error}"));
    find().unwrap_or_else(|| panic!("Debian's {package} is installed, and there is no {thing}"))
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn unpack(package: &str, folder: &Path) -> Result<(), String> {
    let parent = folder.parent().expect("the cache is a folder of folders");
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(parent).map_err(text)?;
    let work = tempfile::tempdir_in(parent).map_err(text)?;
    let download = || run(Command::new("apt-get").args(["download", package]).current_dir(&work));
    download().or_else(|_| {
        run(Command::new("apt-get").arg("update"))?;
        download()
    })?;
    let archive = std::fs::read_dir(&work)
        .map_err(text)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get left no package behind")?;
    let files = work.path().join("files");
    run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&files))?;
    let renamed = std::fs::rename(&files, folder);
    // Another process may have been quicker.
    if folder.exists() { Ok(()) } else { renamed.map_err(text) }
}
