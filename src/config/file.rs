//! The keys of the daemon's own file, `onnxd.toml`: one line each, over the defaults.

use std::path::Path;
use std::time::Duration;

use super::model::{MOST_ENTRIES, Scope, read_model};
use super::problem::ProblemKind;
use super::section::{Document, Section};
use super::settings::{
    LoadingSettings, Settings, parse_log_level, parse_trace_endpoint, standard_traces,
};
use super::values::{
    Read, boolean, count, duration, filled_list, list, or_word, parsed, path, ratio, size,
    small_count, text, wrong,
};
use crate::engine::{DeviceChoice, EngineChoice, EngineSettings};
use crate::lifecycle::NamedModel;
use crate::server::{ListenAddress, ServerSettings};
use crate::telemetry::logging::LogFormat;
use crate::telemetry::traces::TraceSettings;
use toml::de::DeValue;

// Bounds on what may be written: far above any use, below what would hurt.
const MOST_ADDRESSES: usize = 64;
/// Network threads that may be asked for, in the file or on the command line.
pub const MOST_NETWORK_THREADS: usize = 256;
const MOST_LOAD_THREADS: usize = 64;
const MOST_RETRIES: u32 = 1_000;
const MOST_CONNECTIONS: usize = 1_000_000;
const LEAST_BODY_BYTES: usize = 1024;
const MOST_BODY_BYTES: usize = 1 << 40;
/// A JSON reader that nests by recursion must not run out of stack.
const MOST_JSON_DEPTH: usize = 1_000;
const LEAST_TIMEOUT: Duration = Duration::from_millis(1);
const MOST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The file's settings over `settings`; relative paths are against `folder`, the file's own.
pub(super) fn read_file(
    document: &Document<'_>,
    folder: &Path,
    mut settings: Settings,
) -> Option<Settings> {
    document.read(|root| {
        let below_folder = |value: &DeValue<'_>| path(value).map(|path| folder.join(path));
        root.set("repositories", &mut settings.repositories, list(MOST_ENTRIES, below_folder));
        let models = root.tables("models", MOST_ENTRIES, |table| read_location(table, folder));
        if let Some(models) = models {
            settings.models = models;
        }
        root.table("loading", |table| read_loading(table, &mut settings.loading));
        root.table("server", |table| read_server(table, folder, &mut settings.server));
        root.table("engine", |table| {
            let device = &mut settings.model_defaults.session.device;
            read_engine(table, folder, &mut settings.engine, device);
        });
        // A model whose configuration names no engine takes the daemon's.
        settings.model_defaults.engine = settings.engine.engine;
        root.table("model_defaults", |table| {
            read_model(table, Scope::Defaults, &mut settings.model_defaults);
        });
        root.table("logging", |table| {
            table.set("format", &mut settings.logging.format, parsed::<LogFormat>);
            table.set("level", &mut settings.logging.level, checked(parse_log_level));
        });
        root.table("traces", |table| {
            settings.traces = read_traces(table);
        });
        root.table("shutdown", |table| {
            let pause = || duration(Duration::ZERO..=MOST_TIMEOUT);
            table.set("grace", &mut settings.shutdown.grace, pause());
            table.set("deadline", &mut settings.shutdown.deadline, pause());
        });
        settings
    })
}

fn read_location(table: &Section<'_>, folder: &Path) -> Option<NamedModel> {
    let name = table.get("name", text);
    let path = table.require("path", "a model's file or folder", path)?;
    Some(NamedModel { name, path: folder.join(path) })
}

fn read_loading(table: &Section<'_>, loading: &mut LoadingSettings) {
    table.set("at_start", &mut loading.at_start, boolean);
    table.set("threads", &mut loading.threads, count(1..=MOST_LOAD_THREADS));
    table.set("retries", &mut loading.retry.retries, small_count(0..=MOST_RETRIES));
    let delay = || duration(LEAST_TIMEOUT..=MOST_TIMEOUT);
    table.set("retry_delay", &mut loading.retry.delay, delay());
    table.set("retry_delay_max", &mut loading.retry.delay_max, delay());
    if loading.retry.delay > loading.retry.delay_max {
        table.refuse("retry_delay", "is longer than retry_delay_max");
    }
}

/// Without a collector the rest is still checked, and then nothing is sent.
fn read_traces(table: &Section<'_>) -> Option<TraceSettings> {
    let endpoint = table.get("endpoint", or_word("off", checked(parse_trace_endpoint)));
    let mut traces = standard_traces(endpoint.clone().flatten().unwrap_or_default());
    table.set("sample_ratio", &mut traces.sample_ratio, ratio);
    table.set("service_name", &mut traces.service_name, text);
    endpoint.flatten().map(|_| traces)
}

fn read_server(table: &Section<'_>, folder: &Path, server: &mut ServerSettings) {
    let address =
        |value: &DeValue<'_>| parsed::<ListenAddress>(value).map(|address| below(folder, address));
    table.set("listen", &mut server.listen, filled_list(MOST_ADDRESSES, address));
    let threads = count(1..=MOST_NETWORK_THREADS);
    table.set("network_threads", &mut server.network_threads, threads);
    table.set("max_connections", &mut server.max_connections, count(1..=MOST_CONNECTIONS));
    let body = size(LEAST_BODY_BYTES..=MOST_BODY_BYTES);
    table.set("max_body", &mut server.max_body_bytes, body);
    let inflight = size(LEAST_BODY_BYTES..=MOST_BODY_BYTES);
    table.set("max_inflight", &mut server.max_inflight_bytes, inflight);
    table.set("max_json_depth", &mut server.max_json_depth, count(1..=MOST_JSON_DEPTH));
    let timeout = || duration(LEAST_TIMEOUT..=MOST_TIMEOUT);
    table.set("header_timeout", &mut server.header_timeout, timeout());
    table.set("body_timeout", &mut server.body_timeout, timeout());
    table.set("idle_timeout", &mut server.idle_timeout, timeout());
    table.set("retry_after", &mut server.retry_after, timeout());
    table.set("strict_readiness", &mut server.strict_readiness, boolean);
    let control = &mut server.allow_repository_control;
    table.set("allow_repository_control", control, boolean);
    table.set("triton_metrics", &mut server.triton_metrics, boolean);
}

fn read_engine(
    table: &Section<'_>,
    folder: &Path,
    engine: &mut EngineSettings,
    device: &mut DeviceChoice,
) {
    table.set("name", &mut engine.engine, parsed::<EngineChoice>);
    table.set("device", device, parsed::<DeviceChoice>);
    table.table("onnxruntime", |table| {
        let library = or_word("auto", path);
        if let Some(library) = table.get("library", library) {
            engine.onnxruntime_library = library.map(|library| folder.join(library));
        }
    });
}

/// A socket's relative path is against the file's folder, as every other path in it.
fn below(folder: &Path, address: ListenAddress) -> ListenAddress {
    match address {
        ListenAddress::Unix(path) => ListenAddress::Unix(folder.join(path)),
        tcp @ ListenAddress::Tcp(_) => tcp,
    }
}

/// A text that a function of its own checks.
fn checked(check: fn(&str) -> Result<String, String>) -> impl Fn(&DeValue<'_>) -> Read<String> {
    move |value| {
        let text = value.as_str().ok_or_else(|| wrong(value, "a text"))?;
        check(text).map_err(|reason| ProblemKind::Refused { reason })
    }
}

/// Every key that the file may have, as `section.key`.
#[cfg(test)]
pub(super) fn known_keys(text: &str) -> std::collections::BTreeSet<String> {
    let document = Document::new("onnxd.toml", text);
    read_file(&document, Path::new(""), Settings::standard());
    document.asked()
}
