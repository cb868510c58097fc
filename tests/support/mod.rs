//! What the tests share: the daemon as a process or in this one, requests on the wire, and the
//! programs on the other side.

pub mod client;
pub mod daemon;
pub mod models;
pub mod python;
pub mod request;
pub mod server;

use std::path::Path;

/// ONNX Runtime's library, fetched once by the product's own installer.
///
/// # Panics
/// It cannot be fetched.
pub fn onnxruntime_library() -> &'static Path {
    static LIBRARY: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    LIBRARY.get_or_init(|| {
        onnxd::engine::onnxruntime::test_library()
            .unwrap_or_else(|error| panic!("ONNX Runtime cannot be had: {error}"))
    })
}
