//! What the command line says instead of the file.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Settings, standard_traces};
use crate::engine::{DeviceChoice, EngineChoice};
use crate::lifecycle::NamedModel;
use crate::server::ListenAddress;
use crate::telemetry::logging::LogFormat;

/// One field per option; what was not given leaves file or default as they are. A list that was
/// given replaces the file's list whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// The daemon's own file.
    pub config: Option<PathBuf>,
    pub models: Vec<NamedModel>,
    pub repositories: Vec<PathBuf>,
    pub listen: Vec<ListenAddress>,
    pub network_threads: Option<usize>,
    pub max_body_bytes: Option<usize>,
    pub max_inflight_bytes: Option<usize>,
    pub allow_repository_control: bool,
    pub triton_metrics: bool,
    pub engine: Option<EngineChoice>,
    pub device: Option<DeviceChoice>,
    pub onnxruntime: Option<PathBuf>,
    pub log_format: Option<LogFormat>,
    pub log_level: Option<String>,
    pub trace_endpoint: Option<String>,
    pub shutdown_grace: Option<Duration>,
    pub shutdown_deadline: Option<Duration>,
}

impl Overrides {
    /// Puts what was given in place of what is there.
    pub(super) fn apply(&self, settings: &mut Settings) {
        if !self.models.is_empty() {
            settings.models.clone_from(&self.models);
        }
        if !self.repositories.is_empty() {
            settings.repositories.clone_from(&self.repositories);
        }
        let server = &mut settings.server;
        if !self.listen.is_empty() {
            server.listen.clone_from(&self.listen);
        }
        replace(&mut server.network_threads, self.network_threads);
        replace(&mut server.max_body_bytes, self.max_body_bytes);
        replace(&mut server.max_inflight_bytes, self.max_inflight_bytes);
        // Flags only turn on: there is no way to type "not given" apart from "off".
        server.allow_repository_control |= self.allow_repository_control;
        server.triton_metrics |= self.triton_metrics;
        replace(&mut settings.engine.engine, self.engine);
        replace(&mut settings.model_defaults.engine, self.engine);
        replace(&mut settings.model_defaults.session.device, self.device);
        if self.onnxruntime.is_some() {
            settings.engine.onnxruntime_library.clone_from(&self.onnxruntime);
        }
        replace(&mut settings.logging.format, self.log_format);
        replace(&mut settings.logging.level, self.log_level.clone());
        if let Some(endpoint) = &self.trace_endpoint {
            let traces = settings.traces.get_or_insert_with(|| standard_traces(String::new()));
            traces.endpoint.clone_from(endpoint);
        }
        replace(&mut settings.shutdown.grace, self.shutdown_grace);
        replace(&mut settings.shutdown.deadline, self.shutdown_deadline);
    }
}

fn replace<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}
