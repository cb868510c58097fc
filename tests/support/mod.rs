//! What the tests share: the daemon as a process or in this one, requests on the wire, and the
//! programs on the other side.

pub mod client;
pub mod daemon;
pub mod debian;
pub mod exposition;
pub mod graphs;
pub mod models;
pub mod python;
pub mod repository;
pub mod request;
pub mod server;
pub mod slow;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use onnxd::commands::runtime::{InstallOptions, install_library};

/// Runs the binary to its end, in the repository's root.
pub fn onnxd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(arguments)
        .current_dir(python::root())
        .output()
        .expect("the binary was built for this test")
}

/// What serving the model that ships takes.
const DIGITS_FILES: [&str; 5] = [
    "model.toml",
    "1/manifest.toml",
    "1/model.onnx",
    "1/golden/inputs.json",
    "1/golden/outputs.json",
];

/// The model that ships, in a copy: whoever serves a model keeps its layout beside it, and tests
/// leave the checkout as it was.
pub fn digits_model() -> &'static str {
    static COPY: OnceLock<String> = OnceLock::new();
    COPY.get_or_init(|| {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("models/digits");
        let _ = std::fs::remove_dir_all(&copy);
        for file in DIGITS_FILES {
            let path = copy.join(file);
            let folder = path.parent().expect("it is below the copy's folder");
            std::fs::create_dir_all(folder).expect("the target folder is writable");
            std::fs::copy(python::root().join("models/digits").join(file), &path)
                .expect("it ships, and the target folder is writable");
        }
        copy.to_str().expect("a UTF-8 path").to_owned()
    })
}

/// ONNX Runtime's library, fetched once by the product's own installer, and allowed to be loaded
/// into this process.
///
/// # Panics
/// It cannot be fetched.
pub fn onnxruntime_library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // SAFETY: the other test threads read the environment through Rust's lock only; no C code
        // that reads it is loaded before the library, which is loaded after this.
        unsafe { onnxd::engine::onnxruntime::library::disable_telemetry() };
        if let Some(named) = std::env::var_os("ORT_DYLIB_PATH") {
            return PathBuf::from(named);
        }
        debian::python();
        let root = Some(python::root().join("target/onnxruntime"));
        install_library(&InstallOptions { root, ..InstallOptions::default() })
            .unwrap_or_else(|error| panic!("ONNX Runtime is needed by this test: {error:#}"))
    })
}
