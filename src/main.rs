//! The exit code, and nothing else.

use std::io::Write;
use std::process::ExitCode;

/// A request takes some twenty small allocations; glibc's allocator spent a tenth of a request's
/// CPU time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: this is the first statement of the process, no other thread runs.
    unsafe { onnxd::engine::onnxruntime::library::disable_telemetry() };
    let result = onnxd::commands::run(onnxd::cli::parse());
    let (code, message) = onnxd::commands::exit_code(&result);
    for line in message.iter().flat_map(|message| message.lines()) {
        // With nobody to hear it, the exit code is all there is to say.
        let _ = writeln!(std::io::stderr(), "onnxd: {line}");
    }
    ExitCode::from(code)
}
