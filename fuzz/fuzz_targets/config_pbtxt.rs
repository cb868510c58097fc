//! Triton's `config.pbtxt`: any text is read or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = onnxd::config::triton::parse(text);
    }
});
