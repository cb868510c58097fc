//! Text to settings: what operators write, checked as a whole before anything is bound or loaded.
//!
//! Reading order: `settings` (what comes out), `load` (the edge that reads files), `overrides`
//! (what the command line says instead), `file` (the keys of `onnxd.toml`), `model` (those of
//! `model.toml`), `validate` (what does not go together), `triton` (`config.pbtxt` and its JSON
//! form); below them `section` (a file read key by key), `values`, `units` and `problem`.
//!
//! The files' words are the operators' own, so a unit ends the name of a number
//! (`max_queue_delay_ms = 5`) and a text carries it itself (`header_timeout = "10s"`). Unknown keys
//! are refused, and every problem is told at once. Nothing here binds, loads or logs, and no other
//! part knows this one: parts declare their settings, commands carry them over.

mod file;
mod load;
mod model;
mod overrides;
mod problem;
mod section;
mod settings;
pub mod triton;
pub mod units;
mod validate;
mod values;

pub use file::MOST_NETWORK_THREADS;
pub use load::{
    CONFIG_PBTXT, MODEL_TOML, assemble, load, model_settings, model_settings_from_json,
};
pub use model::{
    DEFAULT_LAYOUT_CACHE, DEFAULT_VERSIONS, parse_model_toml, standard_model_settings,
};
pub use overrides::Overrides;
pub use problem::{COMMAND_LINE, ConfigProblems, Problem, ProblemKind};
pub use settings::{
    DEFAULT_SHUTDOWN_DEADLINE, DEFAULT_SHUTDOWN_GRACE, DEFAULT_TRACE_RATIO, DEFAULT_TRACE_SERVICE,
    LoadingSettings, LoggingSettings, Settings, parse_log_level, parse_named_model,
    parse_trace_endpoint,
};

#[cfg(test)]
mod tests;
