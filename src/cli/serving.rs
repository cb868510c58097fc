//! The options of `serve`, which are also those of `check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Overrides, parse_log_level, parse_named_model, parse_trace_endpoint, units};
use crate::engine::{DeviceChoice, EngineChoice};
use crate::lifecycle::NamedModel;
use crate::server::ListenAddress;
use crate::telemetry::logging::LogFormat;

const SERVE_EXAMPLES: &str = "\
Examples:
  onnxd serve --model models/digits
  onnxd serve --model sentences=encoder.onnx --listen 0.0.0.0:8000
  onnxd serve --repository /srv/models --config /etc/onnxd/onnxd.toml";

/// Serves models over HTTP until it is told to stop.
///
/// SIGTERM or SIGINT stop it: readiness turns false, what is in flight finishes, then it exits
/// with 0. SIGHUP reads the configuration again.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArguments {
    #[command(flatten)]
    pub options: ServingOptions,
}

/// Checks a configuration without starting: files, models, addresses.
///
/// Takes the options of `serve`, and finds what `serve` would refuse; nothing is bound and no
/// model is opened. Exits with 0 where all is well, else with 2.
#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub options: ServingOptions,
    /// Print what was found as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What decides how the daemon serves. Each option goes before its key in the file.
#[derive(Clone, Debug, Default, Args)]
pub struct ServingOptions {
    /// Configuration file; config/onnxd.toml has every key. Without one, defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve this model: an .onnx file, or a folder with numbered versions. Several are allowed.
    #[arg(long = "model", value_name = "[NAME=]PATH", value_parser = parse_named_model)]
    pub models: Vec<NamedModel>,
    /// Serve every model in this folder. Several are allowed.
    #[arg(long = "repository", value_name = "DIR")]
    pub repositories: Vec<PathBuf>,
    /// Listen here: ADDRESS:PORT, [IPV6]:PORT or unix:/path; 127.0.0.1:8000 where nothing is
    /// said. Several are allowed.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<ListenAddress>,
    /// Engine that runs the models: auto, onnxruntime or tract.
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<EngineChoice>,
    /// Device that they run on: auto, cpu, cuda[:N] or tensorrt[:N].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// ONNX Runtime's library, instead of looking for it.
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Threads that serve connections.
    #[arg(long, value_name = "COUNT", value_parser = network_threads)]
    pub network_threads: Option<usize>,
    /// Largest body of a request, such as 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub max_body: Option<usize>,
    /// Bodies of all requests at once, such as 1GiB; at least twice the largest.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub max_inflight: Option<usize>,
    /// Allow loading and unloading of models over HTTP.
    #[arg(long)]
    pub allow_repository_control: bool,
    /// Give metrics under Triton's names (nv_inference_...) as well.
    #[arg(long)]
    pub triton_metrics: bool,
    /// Log as text or json, to stderr.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log from this level on: error, warn, info, debug or trace; by part:
    /// info,onnxd::model=debug.
    #[arg(long, value_name = "LEVEL", value_parser = parse_log_level)]
    pub log_level: Option<String>,
    /// Send traces to this OpenTelemetry collector (OTLP over HTTP).
    #[arg(long, value_name = "URL", value_parser = parse_trace_endpoint)]
    pub trace_endpoint: Option<String>,
    /// On a stop, go on listening for this long after readiness turned false, such as 5s.
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub shutdown_grace: Option<Duration>,
    /// On a stop, cut off what is not finished after this long, such as 25s.
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub shutdown_deadline: Option<Duration>,
}

impl From<ServingOptions> for Overrides {
    fn from(options: ServingOptions) -> Overrides {
        Overrides {
            config: options.config,
            models: options.models,
            repositories: options.repositories,
            listen: options.listen,
            network_threads: options.network_threads,
            max_body_bytes: options.max_body,
            max_inflight_bytes: options.max_inflight,
            allow_repository_control: options.allow_repository_control,
            triton_metrics: options.triton_metrics,
            engine: options.engine,
            device: options.device,
            onnxruntime: options.onnxruntime,
            log_format: options.log_format,
            log_level: options.log_level,
            trace_endpoint: options.trace_endpoint,
            shutdown_grace: options.shutdown_grace,
            shutdown_deadline: options.shutdown_deadline,
        }
    }
}

/// At least one thread, and no more than the file may ask for.
fn network_threads(text: &str) -> Result<usize, String> {
    let most = crate::config::MOST_NETWORK_THREADS;
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("expected a whole number from 1 to {most}, got {text:?}"))
}
