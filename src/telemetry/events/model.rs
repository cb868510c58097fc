//! Events of one loaded version. The request path's cost a few atomic operations: every metric's
//! handle was looked up when the version was loaded.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use super::throttle::Throttle;
use super::{BatchRan, Outcome, daemon};
use crate::telemetry::export::{VersionSeries, version_series};
use crate::telemetry::names;
use crate::telemetry::statistics::{Statistics, StatisticsSnapshot};

/// What log levels by part call these events.
const MODEL: &str = "onnxd::model";

/// A version that has just begun to take requests.
#[derive(Clone, Debug)]
pub struct LoadedVersion<'a> {
    pub load: Duration,
    pub engine: &'a str,
    pub engine_version: &'a str,
    /// What really runs it, such as `cpu` or `cuda:0`.
    pub device: &'a str,
    /// Why a better device was not taken, where `auto` fell back.
    pub fallback_reason: Option<&'a str>,
    /// Provider and nodes it took; empty where the engine cannot tell.
    pub nodes: &'a [(&'a str, usize)],
    /// As measured by the loader; `None` where it could not be.
    pub memory_bytes: Option<u64>,
}

/// Where a version's runs happen.
#[derive(Clone, Copy, Debug)]
pub struct LayoutChosen {
    pub inline: bool,
    pub instances: usize,
    pub threads: usize,
    pub max_batch_size: usize,
    /// `configured`, `measured` or `cached`.
    pub origin: &'static str,
}

/// A request that ended without an answer.
pub struct RequestRefused<'a> {
    pub request_id: &'a str,
    /// 499, which nobody is sent, where the client went away.
    pub status: u16,
    pub outcome: Outcome,
    pub total: Duration,
    pub error: &'a dyn Display,
}

/// Events of one model version. Loading the version again while an older load of it still serves
/// makes another `ModelEvents` over the same series: counters go on, nothing is exported twice.
pub struct ModelEvents {
    series: Arc<VersionSeries>,
    statistics: Arc<Statistics>,
    /// Whether this load of the version was counted as ready.
    ready: AtomicBool,
    /// Whether this load of the version was found to be served unbatched.
    unbatched: AtomicBool,
    failures: Throttle,
    ended: [Counter; Outcome::ALL.len()],
    request_seconds: Histogram,
    queue_seconds: Histogram,
    batch_seconds: Histogram,
    inference_seconds: Histogram,
    write_seconds: Histogram,
    batch_size: Histogram,
    batch_failures: Counter,
    queue_depth: Gauge,
}

impl ModelEvents {
    pub fn new(model: &str, version: u64) -> ModelEvents {
        let series = version_series(model, version);
        let statistics = Arc::new(Statistics::default());
        series.add_statistics(&statistics);
        ModelEvents {
            ended: Outcome::ALL.map(|outcome| series.counter(&names::REQUESTS, &[outcome.name()])),
            request_seconds: series.histogram(&names::REQUEST_SECONDS),
            queue_seconds: series.histogram(&names::QUEUE_SECONDS),
            batch_seconds: series.histogram(&names::BATCH_SECONDS),
            inference_seconds: series.histogram(&names::INFERENCE_SECONDS),
            write_seconds: series.histogram(&names::WRITE_SECONDS),
            batch_size: series.histogram(&names::BATCH_SIZE),
            batch_failures: series.counter(&names::BATCH_FAILURES, &[]),
            queue_depth: series.gauge(&names::QUEUE_DEPTH, &[]),
            ready: AtomicBool::new(false),
            unbatched: AtomicBool::new(false),
            failures: Throttle::new(),
            statistics,
            series,
        }
    }

    /// The sums since this version was loaded.
    pub fn statistics(&self) -> StatisticsSnapshot {
        self.statistics.snapshot()
    }

    /// A request ended, `total` after it arrived. Called by the server, once per request; where
    /// it has an error to tell, it calls [`ModelEvents::request_refused`] instead.
    pub fn request_finished(&self, outcome: Outcome, total: Duration) {
        self.count_request(outcome, total);
        tracing::trace!(target: MODEL,
            model = self.series.model(),
            version = self.series.version(),
            outcome = outcome.name(),
            seconds = total.as_secs_f64(),
            "request finished"
        );
    }

    /// A request ended without an answer. A failing model is a warning; what clients do wrong is
    /// for who looks for it.
    pub fn request_refused(&self, refused: &RequestRefused<'_>) {
        self.count_request(refused.outcome, refused.total);
        let (model, version) = (self.series.model(), self.series.version());
        let RequestRefused { request_id, status, outcome, total, error } = refused;
        let seconds = total.as_secs_f64();
        if *outcome != Outcome::Failed {
            let outcome = outcome.name();
            tracing::debug!(target: MODEL, model, version, request_id, status, outcome, seconds, %error, "request refused");
        } else if let Some(suppressed) = self.failures.admit() {
            tracing::warn!(target: MODEL, model, version, request_id, status, seconds, suppressed, %error, "request failed");
        }
    }

    fn count_request(&self, outcome: Outcome, total: Duration) {
        self.ended[outcome as usize].increment(1);
        self.request_seconds.record(total);
        self.statistics.request_finished(outcome, total);
    }

    /// A response of this request was handed to the socket in `write`.
    pub fn response_written(&self, write: Duration) {
        self.write_seconds.record(write);
    }

    /// A request left the queue for a batch.
    pub fn request_dequeued(&self, queue: Duration) {
        self.queue_seconds.record(queue);
        self.statistics.request_dequeued(queue);
    }

    /// A batch of `requests` requests and `rows` rows ran. Called by the batcher, once per run.
    pub fn batch_ran(&self, batch: &BatchRan) {
        self.batch_seconds.record(batch.assembly + batch.split);
        self.inference_seconds.record(batch.inference);
        self.batch_size.record(batch.rows as f64);
        self.statistics.batch_ran(batch);
        if batch.failed {
            self.batch_failures.increment(1);
        }
    }

    /// Requests that wait now.
    pub fn queue_depth(&self, depth: usize) {
        self.queue_depth.set(depth as f64);
        self.statistics.queue_depth(depth);
    }

    /// The loader took this version up.
    pub fn loading(&self, path: &dyn Display) {
        let (model, version) = (self.series.model(), self.series.version());
        tracing::info!(target: MODEL, model, version, %path, "loading model");
    }

    /// The version begins to take requests.
    pub fn ready(&self, loaded: &LoadedVersion<'_>) {
        if !self.ready.swap(true, Ordering::AcqRel) {
            self.series.add_ready();
        }
        self.series.set_load_seconds(loaded.load.as_secs_f64());
        let unbatched = f64::from(u8::from(self.unbatched.load(Ordering::Acquire)));
        self.series.gauge(&names::BATCHING_REFUSED, &[]).set(unbatched);
        self.series.set_engine(loaded.engine, loaded.device);
        self.series.set_nodes(loaded.nodes);
        if let Some(bytes) = loaded.memory_bytes {
            self.series.gauge(&names::MODEL_MEMORY, &[]).set(bytes as f64);
            self.statistics.memory(bytes);
        }
        let (model, version) = (self.series.model(), self.series.version());
        if let Some(reason) = loaded.fallback_reason {
            self.series.counter(&names::DEVICE_FALLBACKS, &[]).increment(1);
            let device = loaded.device;
            tracing::warn!(target: MODEL, model, version, device, reason, "model fell back to another device");
        }
        tracing::info!(target: MODEL,
            model,
            version,
            engine = loaded.engine,
            engine_version = loaded.engine_version,
            device = loaded.device,
            nodes = ?loaded.nodes,
            memory_bytes = loaded.memory_bytes,
            seconds = loaded.load.as_secs_f64(),
            "model ready"
        );
    }

    /// The version could not be loaded; others go on serving.
    pub fn load_failed(&self, error: &dyn Display) {
        self.not_ready();
        let (model, version) = (self.series.model(), self.series.version());
        daemon().meter.counter(&names::SWAPS, &[model, "failed"]).increment(1);
        tracing::error!(target: MODEL, model, version, %error, "model could not be loaded");
    }

    /// No new request reaches the version; those it has are still answered.
    pub fn unloading(&self) {
        self.not_ready();
        let (model, version) = (self.series.model(), self.series.version());
        tracing::info!(target: MODEL, model, version, "unloading model");
    }

    /// The version's last request was answered and its memory freed, `drain` after it had stopped
    /// taking new ones.
    pub fn unloaded(&self, drain: Duration) {
        self.not_ready();
        daemon().meter.histogram(&names::SWAP_SECONDS, &["drain"]).record(drain);
        let (model, version) = (self.series.model(), self.series.version());
        tracing::info!(target: MODEL, model, version, drain_seconds = drain.as_secs_f64(), "model unloaded");
    }

    fn not_ready(&self) {
        if self.ready.swap(false, Ordering::AcqRel) {
            self.series.remove_ready();
        }
    }

    /// Where runs happen was decided at load, or changed because runs became longer or shorter.
    pub fn layout_chosen(&self, layout: &LayoutChosen) {
        let place = if layout.inline { "inline" } else { "threads" };
        let (instances, threads) = (layout.instances.to_string(), layout.threads.to_string());
        let max_batch_size = layout.max_batch_size.to_string();
        self.series.gauge(&names::INSTANCES, &[]).set(layout.instances as f64);
        self.series.set_layout([place, &instances, &threads, &max_batch_size, layout.origin]);
        tracing::info!(target: MODEL,
            model = self.series.model(),
            version = self.series.version(),
            layout = place,
            instances = layout.instances,
            threads = layout.threads,
            max_batch_size = layout.max_batch_size,
            origin = layout.origin,
            "layout chosen"
        );
    }

    /// Rows run together and alone gave different answers: the version is served unbatched.
    pub fn batching_refused(&self, output: &str, difference: f64) {
        self.unbatched.store(true, Ordering::Release);
        self.series.gauge(&names::BATCHING_REFUSED, &[]).set(1.0);
        tracing::warn!(target: MODEL,
            model = self.series.model(),
            version = self.series.version(),
            output,
            difference,
            "batching changes the model's answers: served unbatched (batching = \"force\" overrides)"
        );
    }

    /// An instance panicked, its batch was failed, and another instance takes its place.
    pub fn instance_rebuilt(&self, panic: &str) {
        self.series.counter(&names::INSTANCE_RESTARTS, &[]).increment(1);
        let (model, version) = (self.series.model(), self.series.version());
        tracing::error!(target: MODEL, model, version, error = panic, "instance panicked and was rebuilt");
    }

    /// Something of the model's configuration or file that is not fatal but not honoured either.
    pub fn warning(&self, warning: &dyn Display) {
        let (model, version) = (self.series.model(), self.series.version());
        tracing::warn!(target: MODEL, model, version, "{warning}");
    }
}

impl Drop for ModelEvents {
    fn drop(&mut self) {
        self.not_ready();
        // Counters must not go backwards while a newer load of the version lives on.
        self.series.retire_statistics(&self.statistics);
    }
}
