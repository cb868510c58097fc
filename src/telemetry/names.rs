//! The catalogue: every metric that the daemon exports, with its kind, labels and help text.
//!
//! Names follow `onnxd_<noun>_<unit>[_total]` in base units. A label's values are bounded: models
//! and versions that are loaded, or words from a fixed set; never text that a client chose. Tests
//! hold that what is exported is exactly what is listed here, and that dashboards and alert rules
//! use no other name.

/// What a metric's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Moves both ways.
    Gauge,
    /// A distribution of durations.
    Seconds,
    /// A distribution of counts of rows.
    Rows,
}

/// One line of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const VERSION: &[&str] = &["model", "version"];

macro_rules! catalogue {
    ($list:ident: $($constant:ident = $name:literal, $kind:ident, $labels:expr, $help:literal;)+) => {
        $(pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)+
        pub const $list: &[Metric] = &[$($constant),+];
    };
}

// Of one version; they appear when it is loaded and leave the export with it.
catalogue! { OF_VERSIONS:
    REQUESTS = "onnxd_requests_total", Counter, &["model", "version", "outcome"],
        "Requests by how they ended: ok, invalid, rejected, expired, cancelled, failed";
    REQUEST_SECONDS = "onnxd_request_seconds", Seconds, VERSION,
        "Time from a request's arrival to its end";
    QUEUE_SECONDS = "onnxd_queue_seconds", Seconds, VERSION,
        "Time that a request waited for a batch";
    BATCH_SECONDS = "onnxd_batch_seconds", Seconds, VERSION,
        "Time to join a batch's inputs and split its outputs";
    INFERENCE_SECONDS = "onnxd_inference_seconds", Seconds, VERSION,
        "Time of the engine's run of one batch";
    WRITE_SECONDS = "onnxd_write_seconds", Seconds, VERSION,
        "Time to encode a response and hand it to the socket";
    BATCH_SIZE = "onnxd_batch_size", Rows, VERSION, "Rows in a batch";
    BATCH_FAILURES = "onnxd_batch_failures_total", Counter, VERSION,
        "Batches that the engine failed to run";
    QUEUE_DEPTH = "onnxd_queue_depth", Gauge, VERSION, "Requests that wait now";
    INSTANCES = "onnxd_instances", Gauge, VERSION, "Sessions that run batches";
    INSTANCE_RESTARTS = "onnxd_instance_restarts_total", Counter, VERSION,
        "Instances that panicked and were rebuilt";
    MODEL_READY = "onnxd_model_ready", Gauge, VERSION, "1 while the version takes requests";
    MODEL_MEMORY = "onnxd_model_memory_bytes", Gauge, VERSION,
        "Memory that loading the version took, as measured by the loader";
    ENGINE_INFO = "onnxd_engine_info", Gauge, &["model", "version", "engine", "device"],
        "1 for the engine and device that really run the version";
    ENGINE_NODES = "onnxd_engine_nodes", Gauge, &["model", "version", "provider"],
        "Nodes of the graph that each execution provider took";
    LAYOUT_INFO = "onnxd_layout_info", Gauge,
        &["model", "version", "layout", "instances", "threads", "max_batch_size", "origin"],
        "1 for where runs happen (inline or threads) and how that was chosen";
    BATCHING_REFUSED = "onnxd_batching_refused", Gauge, VERSION,
        "1 where batching was found to change the version's answers, so it is served unbatched";
    DEVICE_FALLBACKS = "onnxd_device_fallbacks_total", Counter, VERSION,
        "Loads that took another device than the best one the configuration allowed";
}

// Of the daemon; they are there from start to stop.
catalogue! { OF_DAEMON:
    READY = "onnxd_ready", Gauge, &[], "1 while the daemon says it is ready";
    SWAPS = "onnxd_swaps_total", Counter, &["model", "outcome"],
        "Versions taken into service (ok) or refused at load (failed)";
    SWAP_SECONDS = "onnxd_swap_seconds", Seconds, &["phase"],
        "Time of each phase of taking a version into service";
    CONNECTIONS = "onnxd_connections", Gauge, &[], "Client connections that are open now";
    INFLIGHT_BYTES = "onnxd_inflight_bytes", Gauge, &[],
        "Bytes of request bodies that are being received or in work";
    CONNECTIONS_REFUSED = "onnxd_connections_refused_total", Counter, &["reason"],
        "Connections that were closed before a request was read";
    HTTP_REFUSED = "onnxd_http_refused_total", Counter, &["status"],
        "HTTP requests refused before a model version was found for them";
    RELOADS = "onnxd_reloads_total", Counter, &["outcome"],
        "Times the configuration was read again (ok) or found wrong and left as it was (refused)";
    TRACE_SPANS = "onnxd_trace_spans_total", Counter, &["outcome"],
        "Spans exported to the OTLP endpoint, dropped because it was slow, or refused by it";
    BUILD_INFO = "onnxd_build_info", Gauge, &["version"], "1 for the version of onnxd that runs";
}

// Of the process, under the names that every Prometheus client library uses.
catalogue! { OF_PROCESS:
    CPU_SECONDS = "process_cpu_seconds_total", Counter, &[],
        "User and system CPU time spent";
    OPEN_FDS = "process_open_fds", Gauge, &[], "Open file descriptors";
    MAX_FDS = "process_max_fds", Gauge, &[], "Limit of open file descriptors, 0 if none";
    VIRTUAL_MEMORY = "process_virtual_memory_bytes", Gauge, &[], "Virtual memory size";
    RESIDENT_MEMORY = "process_resident_memory_bytes", Gauge, &[], "Resident memory size";
    START_TIME = "process_start_time_seconds", Gauge, &[],
        "Start time since the Unix epoch";
    THREADS = "process_threads", Gauge, &[], "Operating system threads";
}

/// The whole catalogue.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    OF_VERSIONS.iter().chain(OF_DAEMON).chain(OF_PROCESS)
}

/// Upper bounds of the buckets of durations: from a tenth of the smallest model's run to the
/// longest request anyone waits for, at most a factor of 2.5 apart.
pub const SECONDS_BUCKETS: [f64; 22] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
];

/// Upper bounds of the buckets of batch sizes.
pub const ROWS_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_convention_and_are_unique() {
        let mut seen = HashSet::new();
        for metric in all() {
            assert!(seen.insert(metric.name), "{} is listed twice", metric.name);
            let ours = metric.name.starts_with("onnxd_") || metric.name.starts_with("process_");
            assert!(ours, "{} has no prefix of ours", metric.name);
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}: suffix and kind", metric.name);
            if metric.kind == Kind::Seconds {
                assert!(metric.name.ends_with("_seconds"), "{}: unit", metric.name);
            }
            assert!(!metric.help.contains('\n') && !metric.help.ends_with('.'), "{}", metric.help);
        }
    }

    #[test]
    fn buckets_grow() {
        for buckets in [&SECONDS_BUCKETS[..], &ROWS_BUCKETS[..]] {
            assert!(buckets.is_sorted_by(|lower, upper| lower < upper));
        }
    }
}
