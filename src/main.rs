//! The exit code, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: this is the first statement of the process, no other thread runs.
    unsafe { onnxd::engine::onnxruntime::library::disable_telemetry() };
    let result = onnxd::commands::run(onnxd::cli::parse());
    let (code, message) = onnxd::commands::exit_code(&result);
    for line in message.iter().flat_map(|message| message.lines()) {
        eprintln!("onnxd: {line}");
    }
    ExitCode::from(code)
}
