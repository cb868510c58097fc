//! NVIDIA's own client works unchanged: every datatype, JSON and binary, compression, errors.

use crate::support::daemon::Daemon;
use crate::support::{onnxruntime_library, python};

/// `lacking`: datatypes that the engine does not have; their models must be refused.
fn check(engine: &str, lacking: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = folder.path().to_str().expect("a UTF-8 path");
    python::run("identity_models.py", &[repository]);
    let library = onnxruntime_library().to_str().expect("a UTF-8 path");
    let arguments = ["--repository", repository, "--engine", engine, "--onnxruntime", library];
    let daemon = Daemon::start(&[&arguments[..], &["--allow-repository-control"]].concat());
    let address = daemon.address.to_string();
    let output = python::run("tritonclient_interop.py", &[&[address.as_str()], lacking].concat());
    assert!(output.ends_with("all passed\n"), "{output}\n{}", daemon.log());
}

#[test]
fn every_datatype_passes_on_onnxruntime() {
    check("onnxruntime", &[]);
}

#[test]
fn every_datatype_passes_on_tract() {
    check("tract", &["BF16"]);
}
