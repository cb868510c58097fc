//! What the tests share: the daemon as a process or in this one, requests on the wire, and the
//! programs on the other side.

pub mod client;
pub mod daemon;
pub mod debian;
pub mod graphs;
pub mod models;
pub mod python;
pub mod repository;
pub mod request;
pub mod server;
pub mod slow;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use onnxd::commands::runtime::{InstallOptions, install_library};

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
