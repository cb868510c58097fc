//! The settings of the whole daemon, each part's in its own type, and the defaults of those that
//! belong to the process.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::model::standard_model_settings;
use crate::engine::EngineSettings;
use crate::lifecycle::ModelSettings;
use crate::server::{DEFAULT_LISTEN, ServerSettings};

/// Levels of log lines: what one wants to read of a daemon that is well.
pub const DEFAULT_LOG_LEVEL: &str = "info";
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
    pub models: Vec<ModelLocation>,
    /// Folders whose every model is served.
    pub repositories: Vec<PathBuf>,
    /// What `model.toml` starts from.
    pub model_defaults: ModelSettings,
    pub logging: LoggingSettings,
    /// `None`: no traces are sent.
    pub traces: Option<TraceSettings>,
    pub shutdown: ShutdownSettings,
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
            model_defaults: standard_model_settings(),
            logging: LoggingSettings {
                format: LogFormat::Text,
                filter: DEFAULT_LOG_LEVEL.to_owned(),
            },
            traces: None,
            shutdown: ShutdownSettings {
                grace: DEFAULT_SHUTDOWN_GRACE,
                deadline: DEFAULT_SHUTDOWN_DEADLINE,
            },
        }
    }
}

/// A model that is named: `[NAME=]PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLocation {
    /// `None`: called as its folder, or as its file without the ending.
    pub name: Option<String>,
    /// A `.onnx` file, or a folder with numbered versions.
    pub path: PathBuf,
}

impl FromStr for ModelLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<ModelLocation, String> {
        // A name holds no slash, so that `a/b=c` is a path as a whole.
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => (Some(name), path),
            _ => (None, text),
        };
        if path.is_empty() || name == Some("") {
            return Err(format!("expected PATH or NAME=PATH, got {text:?}"));
        }
        Ok(ModelLocation { name: name.map(str::to_owned), path: PathBuf::from(path) })
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("unknown log format {other:?}: expected text or json")),
        }
    }
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSettings {
    pub format: LogFormat,
    /// A level, or levels by part such as `info,onnxd::batching=debug`.
    pub filter: String,
}

/// Levels in a log filter.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A log filter, checked.
///
/// # Errors
/// An entry is neither a level nor `part=level`.
pub fn parse_log_filter(text: &str) -> Result<String, String> {
    for entry in text.split(',').map(str::trim) {
        let level = match entry.split_once('=') {
            Some((part, level)) if !part.is_empty() => level,
            _ => entry,
        };
        if !LOG_LEVELS.contains(&level) {
            let levels = LOG_LEVELS.join(", ");
            return Err(format!(
                "unknown log level {entry:?}: expected one of {levels}, or PART=LEVEL, \
                 separated by commas"
            ));
        }
    }
    Ok(text.to_owned())
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// An OpenTelemetry collector that speaks OTLP over HTTP, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
}

/// A collector's address, checked.
///
/// # Errors
/// Not an `http://` address.
pub fn parse_trace_endpoint(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or_default();
    let sound = |c: char| c.is_ascii_graphic();
    if host.is_empty() || host.starts_with('/') || !host.chars().all(sound) {
        return Err(format!(
            "expected a collector's address such as http://127.0.0.1:4318, got {text:?}"
        ));
    }
    Ok(text.to_owned())
}

/// How the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// Between readiness turning false and the listener closing: time for balancers to see it.
    pub grace: Duration,
    /// From the signal until the process ends, whatever is still running.
    pub deadline: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_path_with_or_without_a_name() {
        let location = |name: Option<&str>, path: &str| {
            Ok(ModelLocation { name: name.map(str::to_owned), path: PathBuf::from(path) })
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
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn log_filters_are_checked_entry_by_entry() {
        for good in ["info", "off", "warn,onnxd::batching=trace", "info, onnxd=debug"] {
            assert_eq!(parse_log_filter(good), Ok(good.to_owned()));
        }
        for bad in ["", "loud", "info,", "onnxd=loud", "=info", "INFO"] {
            assert!(parse_log_filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_collector_has_an_http_address() {
        assert!(parse_trace_endpoint("http://127.0.0.1:4318").is_ok());
        assert!(parse_trace_endpoint("http://collector/v1/traces").is_ok());
        for bad in ["", "127.0.0.1:4318", "https://secure", "http://", "http:///x", "http://a b"] {
            assert!(parse_trace_endpoint(bad).is_err(), "{bad:?}");
        }
    }
}
