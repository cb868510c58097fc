//! The settings of the whole daemon, each part's in its own type, and the defaults of those that
//! belong to the process.

use std::path::PathBuf;
use std::time::Duration;

use super::model::standard_model_settings;
use crate::engine::EngineSettings;
use crate::lifecycle::{
    DEFAULT_LOAD_RETRIES, DEFAULT_LOAD_RETRY_DELAY, DEFAULT_LOAD_RETRY_DELAY_MAX,
    DEFAULT_LOAD_THREADS, ModelSettings, NamedModel, RetryPolicy,
};
use crate::process::StopSettings;
use crate::server::{DEFAULT_LISTEN, ServerSettings};
use crate::telemetry::logging::{DEFAULT_LOG_LEVEL, LogFormat, check_level};
use crate::telemetry::traces::TraceSettings;

/// Every request is traced: whoever names a collector wants traces, and turns it down.
pub const DEFAULT_TRACE_RATIO: f64 = 1.0;
/// What traces are filed under.
pub const DEFAULT_TRACE_SERVICE: &str = "onnxd";
/// No balancer watches the default address, 127.0.0.1; behind one, its probe interval belongs
/// here.
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::ZERO;
/// Kubernetes kills after 30 s unless told otherwise: be done, and have said so, before that.
pub const DEFAULT_SHUTDOWN_DEADLINE: Duration = Duration::from_secs(25);

/// Everything that `serve` needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub engine: EngineSettings,
    pub server: ServerSettings,
    /// Models that are named one by one.
    pub models: Vec<NamedModel>,
    /// Folders whose every model is served.
    pub repositories: Vec<PathBuf>,
    pub loading: LoadingSettings,
    /// What `model.toml` starts from.
    pub model_defaults: ModelSettings,
    pub logging: LoggingSettings,
    /// `None`: no traces are sent.
    pub traces: Option<TraceSettings>,
    pub shutdown: StopSettings,
}

impl Settings {
    /// What a daemon without any configuration gets. It serves nothing: models have no default.
    pub fn standard() -> Settings {
        let listen = DEFAULT_LISTEN.parse().expect("the default address is one");
        Settings {
            engine: EngineSettings::default(),
            server: ServerSettings::standard(vec![listen]),
            models: Vec::new(),
            repositories: Vec::new(),
            loading: LoadingSettings {
                at_start: true,
                threads: DEFAULT_LOAD_THREADS,
                retry: RetryPolicy {
                    retries: DEFAULT_LOAD_RETRIES,
                    delay: DEFAULT_LOAD_RETRY_DELAY,
                    delay_max: DEFAULT_LOAD_RETRY_DELAY_MAX,
                },
            },
            model_defaults: standard_model_settings(),
            logging: LoggingSettings {
                format: LogFormat::Text,
                level: DEFAULT_LOG_LEVEL.to_owned(),
            },
            traces: None,
            shutdown: StopSettings {
                grace: DEFAULT_SHUTDOWN_GRACE,
                deadline: DEFAULT_SHUTDOWN_DEADLINE,
            },
        }
    }
}

/// A model as it is typed: `PATH` or `NAME=PATH`.
///
/// # Errors
/// Name or path is empty.
pub fn parse_named_model(text: &str) -> Result<NamedModel, String> {
    // A name holds no slash, so that `a/b=c` is a path as a whole.
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if !name.contains('/') => (Some(name), path),
        _ => (None, text),
    };
    if path.is_empty() || name == Some("") {
        return Err(format!("expected PATH or NAME=PATH, got {text:?}"));
    }
    Ok(NamedModel { name: name.map(str::to_owned), path: PathBuf::from(path) })
}

/// How models are loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadingSettings {
    /// Whether the repositories' models are loaded at the start, or only when a request to load
    /// them comes.
    pub at_start: bool,
    /// Loads at the same time.
    pub threads: usize,
    pub retry: RetryPolicy,
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSettings {
    pub format: LogFormat,
    /// A level, or levels by part such as `info,onnxd::model=debug`.
    pub level: String,
}

/// A log level, or levels by part, checked.
///
/// # Errors
/// It is not understood.
pub fn parse_log_level(text: &str) -> Result<String, String> {
    check_level(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// An OpenTelemetry collector's address, checked.
///
/// # Errors
/// It is not an `http://` address.
pub fn parse_trace_endpoint(text: &str) -> Result<String, String> {
    standard_traces(text.to_owned()).check().map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// The settings of traces that go to `endpoint`.
pub(super) fn standard_traces(endpoint: String) -> TraceSettings {
    let service_name = DEFAULT_TRACE_SERVICE.to_owned();
    TraceSettings { endpoint, sample_ratio: DEFAULT_TRACE_RATIO, service_name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_path_with_or_without_a_name() {
        let location = |name: Option<&str>, path: &str| {
            Ok(NamedModel { name: name.map(str::to_owned), path: PathBuf::from(path) })
        };
        let table = [
            ("models/digits", location(None, "models/digits")),
            ("d=models/digits", location(Some("d"), "models/digits")),
            ("./a=b/c", location(None, "./a=b/c")),
            ("d=./a=b", location(Some("d"), "./a=b")),
            ("", Err("expected PATH or NAME=PATH, got \"\"".to_owned())),
            ("=a", Err("expected PATH or NAME=PATH, got \"=a\"".to_owned())),
            ("a=", Err("expected PATH or NAME=PATH, got \"a=\"".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(parse_named_model(text), expected, "{text:?}");
        }
    }

    #[test]
    fn log_levels_are_checked_entry_by_entry() {
        for good in ["info", "off", "warn,onnxd::model=trace"] {
            assert_eq!(parse_log_level(good), Ok(good.to_owned()));
        }
        for bad in ["", "loud", "info,", "onnxd=loud"] {
            assert!(parse_log_level(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_collector_has_an_http_address() {
        assert!(parse_trace_endpoint("http://127.0.0.1:4318").is_ok());
        for bad in ["", "127.0.0.1:4318", "https://secure", "http://"] {
            assert!(parse_trace_endpoint(bad).is_err(), "{bad:?}");
        }
    }
}
