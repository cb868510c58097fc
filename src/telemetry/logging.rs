//! Log lines to stderr, as text for people or JSON for machines.
//!
//! A line is written whole or not at all, and a stderr that is closed or full of disk loses
//! lines, never the daemon: serving does not depend on being able to say so.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// What a log says where nothing is configured.
pub const DEFAULT_LOG_LEVEL: &str = "info";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    /// One object a line: `timestamp`, `level`, `target`, `message` and the event's fields.
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

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "log level {level:?} is not understood: {reason}; expected error, warn, info, debug or \
         trace, or a list such as info,onnxd::model=debug"
    )]
    Level { level: String, reason: String },
    #[error("another subscriber takes this process's log already")]
    AlreadyInstalled,
}

/// Changes what is logged while the daemon runs.
#[derive(Clone)]
pub struct LoggingHandle {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LoggingHandle {
    /// Takes another level from now on.
    ///
    /// # Errors
    /// The level is not understood; nothing was changed.
    pub fn set_level(&self, level: &str) -> Result<(), LoggingError> {
        let filter = parse_level(level)?;
        self.filter.reload(filter).map_err(|_| LoggingError::AlreadyInstalled)
    }
}

/// Whether `level` can be set, for who checks a configuration.
///
/// # Errors
/// It is not understood.
pub fn check_level(level: &str) -> Result<(), LoggingError> {
    parse_level(level).map(drop)
}

fn parse_level(level: &str) -> Result<EnvFilter, LoggingError> {
    let wrong = |reason: String| LoggingError::Level { level: level.to_owned(), reason };
    // A filter takes any single word as the name of a module, so a misspelt level would
    // silence everything.
    for directive in level.split(',') {
        let last = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&last) {
            return Err(wrong(format!("{last:?} is not a level")));
        }
    }
    let parsed = EnvFilter::builder().parse(quieter(level));
    parsed.map_err(|error: ParseError| wrong(error.to_string()))
}

/// What the binding of ONNX Runtime has to say at `info` is for who develops it, and frightens
/// others: it is left out unless asked for, by name or at a lower level.
fn quieter(level: &str) -> Cow<'_, str> {
    let directives = || level.split(',').map(str::trim);
    let names_it = directives().any(|directive| directive.split('=').next() == Some("ort"));
    if names_it || !directives().any(|directive| directive == "info") {
        return Cow::Borrowed(level);
    }
    Cow::Owned(format!("{level},ort=warn"))
}

/// Sends this process's events, and its panics, to stderr.
///
/// # Errors
/// The level is not understood, or a subscriber is installed already.
pub fn install(format: LogFormat, level: &str) -> Result<LoggingHandle, LoggingError> {
    let (filter, handle) = reload::Layer::new(parse_level(level)?);
    let color = io::stderr().is_terminal();
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(format, color, Stderr))
        .try_init()
        .map_err(|_| LoggingError::AlreadyInstalled)?;
    log_panics();
    Ok(LoggingHandle { filter: handle })
}

/// The layer that makes lines, apart from where they go.
fn layer<S, W>(format: LogFormat, color: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // `log_internal_errors` would report a failed write by a write to stderr that panics.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false).with_ansi(color);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// A panic is one line of the log like any other, in its format.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        let location = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(error = message, location, thread, "panic");
    }));
}

/// Standard error whose failures nobody hears of.
struct Stderr;

impl<'writer> MakeWriter<'writer> for Stderr {
    type Writer = StderrLine;

    fn make_writer(&'writer self) -> StderrLine {
        StderrLine
    }
}

struct StderrLine;

impl Write for StderrLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The layer hands over whole lines: one call keeps two threads' lines apart.
        let _ = io::stderr().lock().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'writer> MakeWriter<'writer> for Lines {
        type Writer = Lines;

        fn make_writer(&'writer self) -> Lines {
            self.clone()
        }
    }

    fn logged(format: LogFormat, level: &str, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let filter = parse_level(level).expect("the tests' levels are right");
        let subscriber =
            tracing_subscriber::registry().with(filter).with(layer(format, false, lines.clone()));
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(lines.0.lock().clone()).expect("logs are UTF-8")
    }

    #[test]
    fn a_json_line_has_the_fields_beside_the_message() {
        let line = logged(LogFormat::Json, "info", || {
            tracing::info!(request_id = "a\"1", status = 429, "request refused");
        });
        let value: serde_json::Value = serde_json::from_str(&line).expect("one object a line");
        assert_eq!(value["message"], "request refused");
        assert_eq!(value["request_id"], "a\"1");
        assert_eq!(value["status"], 429);
        assert_eq!(value["level"], "INFO");
    }

    #[test]
    fn text_lines_escape_what_clients_send() {
        let line = logged(LogFormat::Text, "info", || {
            tracing::info!(model = "a\nb\u{1b}[31m", "loading model");
        });
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn levels_filter_by_module() {
        let line = logged(LogFormat::Text, "warn,onnxd::telemetry=debug", || {
            tracing::debug!("shown");
            tracing::debug!(target: "hyper", "hidden");
        });
        assert!(line.contains("shown") && !line.contains("hidden"), "{line}");
    }

    #[test]
    fn a_misspelt_level_is_refused_and_not_taken_for_a_module() {
        for level in ["inof", "info,onnxd=loud", ""] {
            let error = check_level(level).expect_err(level).to_string();
            assert!(error.contains("expected error, warn, info"), "{error}");
        }
        for level in ["info", "warn,onnxd::server=debug", "off"] {
            check_level(level).expect(level);
        }
    }

    #[test]
    fn info_alone_leaves_out_what_the_binding_says() {
        let table = [
            ("info", "info,ort=warn"),
            ("info,onnxd::model=debug", "info,onnxd::model=debug,ort=warn"),
            ("info,ort=info", "info,ort=info"),
            ("debug", "debug"),
            ("warn,onnxd=info", "warn,onnxd=info"),
        ];
        for (level, expected) in table {
            assert_eq!(quieter(level), expected);
        }
    }
}
