//! PyTorch, where there is one.

use std::process::{Command, Stdio};

use crate::cases::Case;

/// Milliseconds of PyTorch's step and the form that it took; `None` where there is no PyTorch.
pub fn step(case: &Case, threads: usize, seconds: f64, form: &str) -> Option<(f64, String)> {
    let python = std::env::var_os("ONNXD_PEER_PYTHON")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/training/peer.py");
    let output = Command::new(python)
        .args([script, case.name, &case.batch.to_string(), &threads.to_string()])
        .args([&seconds.to_string(), form])
        .stderr(Stdio::null())
        .output()
        .expect("ONNXD_PEER_PYTHON names a program");
    let text = String::from_utf8_lossy(&output.stdout);
    let (time, form) = text.trim().split_once(' ')?;
    Some((time.parse().ok()?, form.to_owned()))
}
