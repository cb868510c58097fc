//! ONNX Runtime for tests: found as the daemon finds it, or installed first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::OnnxRuntime;
use super::search::{Finding, Looked, Place, Search, search};
use crate::commands::runtime::{InstallOptions, debian, install_library};

/// The engine on [`test_library`], loaded once for all tests of the process.
pub fn test_engine() -> Arc<OnnxRuntime> {
    static ENGINE: OnceLock<Arc<OnnxRuntime>> = OnceLock::new();
    let load = || {
        let path = test_library();
        let version = super::library::version_of(&path).expect("the library was just installed");
        let finding = Finding::Usable { version };
        let looked = vec![Looked { place: Place::Named, path: Some(path), finding }];
        Arc::new(OnnxRuntime::load(&Search { looked }).expect("the library loads"))
    };
    Arc::clone(ENGINE.get_or_init(load))
}

/// ONNX Runtime's library: what `ORT_DYLIB_PATH` names, else one under `target/`, which is
/// downloaded when it is not there yet. A test that cannot get it fails and says why.
pub fn test_library() -> PathBuf {
    static LIBRARY: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut library = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = library.as_ref() {
        return path.clone();
    }
    allow_loading();
    let named = search(None).looked.into_iter().find(|looked| looked.place == Place::Variable);
    let path = match named {
        Some(Looked { path: Some(path), finding, .. }) => {
            assert!(matches!(finding, Finding::Usable { .. }), "ORT_DYLIB_PATH: {finding:?}");
            path
        }
        _ => {
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/onnxruntime");
            let options = InstallOptions { root: Some(root), ..InstallOptions::default() };
            debian::python();
            install_library(&options)
                .unwrap_or_else(|error| panic!("ONNX Runtime is needed by this test: {error:#}"))
        }
    };
    library.insert(path).clone()
}

/// Sets what [`disable_telemetry`](super::library::disable_telemetry) sets in `main`.
pub fn allow_loading() {
    static ONCE: OnceLock<()> = OnceLock::new();
    // SAFETY: test threads run beside this one, but Rust's own readers of the environment lock,
    // and no C code that reads it has been loaded before ONNX Runtime, which waits for this.
    ONCE.get_or_init(|| unsafe { super::library::disable_telemetry() });
}
