//! Any text is read as a `config.pbtxt` and as its JSON form, or refused with sentences; nothing
//! panics or hangs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onnxd::config::{standard_model_settings, triton};

fuzz_target!(|text: &str| {
    let defaults = standard_model_settings();
    let results = [
        triton::parse_pbtxt("config.pbtxt", text, &defaults),
        triton::parse_json("config", text, &defaults),
    ];
    for problems in results.into_iter().filter_map(Result::err) {
        assert!(!problems.list().is_empty() && !problems.to_string().is_empty());
    }
});
