//! Events of the whole daemon: its sockets, its configuration, its models' coming and going, its
//! end.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Counter, Gauge};

use super::throttle::Throttle;
use crate::telemetry::export::Meter;
use crate::telemetry::names;

/// What log levels by part call these events.
const DAEMON: &str = "onnxd::daemon";

/// Series that are there from start to stop.
pub(in crate::telemetry) struct Daemon {
    pub(in crate::telemetry) meter: Meter,
    ready: Gauge,
    connections: Gauge,
    inflight_bytes: Gauge,
    reloads_ok: Counter,
    reloads_refused: Counter,
    refused_connections: Throttle,
    lost_spans: Throttle,
}

/// The one per process.
pub(in crate::telemetry) fn daemon() -> &'static Daemon {
    static DAEMON: LazyLock<Daemon> = LazyLock::new(|| {
        let meter = Meter::new(names::OF_DAEMON);
        meter.gauge(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")]).set(1.0);
        Daemon {
            ready: meter.gauge(&names::READY, &[]),
            connections: meter.gauge(&names::CONNECTIONS, &[]),
            inflight_bytes: meter.gauge(&names::INFLIGHT_BYTES, &[]),
            reloads_ok: meter.counter(&names::RELOADS, &["ok"]),
            reloads_refused: meter.counter(&names::RELOADS, &["refused"]),
            refused_connections: Throttle::new(),
            lost_spans: Throttle::new(),
            meter,
        }
    });
    &DAEMON
}

/// The daemon begins; nothing is bound or loaded yet.
pub fn started() {
    let version = env!("CARGO_PKG_VERSION");
    let _ = daemon();
    tracing::info!(target: DAEMON, version, pid = std::process::id(), "onnxd starts");
}

/// A socket takes connections; `origin` is `bound`, or `inherited` from a service manager.
pub fn listening(address: &dyn Display, origin: &str) {
    tracing::info!(target: DAEMON, %address, origin, "listening");
}

/// What `/v2/health/ready` answers now: said when somebody asks for the metrics, for models come
/// and go without the daemon's being told.
pub fn ready_now(ready: bool) {
    daemon().ready.set(f64::from(u8::from(ready)));
}

/// The start is over, or the stop begins: with strict readiness, models have a say as well.
pub fn ready_changed(ready: bool) {
    daemon().ready.set(f64::from(u8::from(ready)));
    if ready {
        tracing::info!(target: DAEMON, "ready");
    } else {
        tracing::info!(target: DAEMON, "not ready");
    }
}

/// A client connected.
pub fn connection_opened() {
    daemon().connections.increment(1.0);
}

/// A client's connection ended.
pub fn connection_closed() {
    daemon().connections.decrement(1.0);
}

/// Bytes of request bodies that are held now: said when somebody asks for the metrics, for a
/// request should not pay for it.
pub fn inflight_bytes(bytes: usize) {
    daemon().inflight_bytes.set(bytes as f64);
}

/// A connection was closed before a request was read; `reason` is one of a fixed set of words.
pub fn connection_refused(reason: &'static str, error: &dyn Display) {
    let daemon = daemon();
    daemon.meter.counter(&names::CONNECTIONS_REFUSED, &[reason]).increment(1);
    if let Some(suppressed) = daemon.refused_connections.admit() {
        tracing::warn!(target: DAEMON, reason, suppressed, %error, "connection refused");
    }
}

/// A request was refused before a model version was found for it.
pub fn http_refused(request_id: &str, status: u16, error: &dyn Display) {
    daemon().meter.counter(&names::HTTP_REFUSED, &[&status.to_string()]).increment(1);
    tracing::debug!(target: DAEMON, request_id, status, %error, "request refused");
}

/// The configuration is read again.
pub fn reloading() {
    tracing::info!(target: DAEMON, "reading the configuration again");
}

/// The configuration was read again and is in force; `changes` says what it changed.
pub fn reloaded(changes: &dyn Display) {
    daemon().reloads_ok.increment(1);
    tracing::info!(target: DAEMON, %changes, "configuration reloaded");
}

/// The new configuration is wrong; the old one stays in force.
pub fn reload_refused(error: &dyn Display) {
    daemon().reloads_refused.increment(1);
    tracing::error!(target: DAEMON, %error, "new configuration refused, nothing was changed");
}

/// Time of each phase of taking a version into service.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwapPhases {
    /// Opening the sessions.
    pub open: Duration,
    /// Warm-up runs.
    pub warm: Duration,
    /// The proof that rows may be batched, and the measurement of the layout.
    pub measure: Duration,
}

/// Another version answers from now on.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    pub model: &'a str,
    /// `None` where nothing served before.
    pub from: Option<u64>,
    pub to: u64,
    pub phases: SwapPhases,
}

/// A version took over.
pub fn swapped(swap: &Swap<'_>) {
    let meter = &daemon().meter;
    meter.counter(&names::SWAPS, &[swap.model, "ok"]).increment(1);
    let SwapPhases { open, warm, measure } = swap.phases;
    for (phase, time) in [("open", open), ("warm", warm), ("measure", measure)] {
        meter.histogram(&names::SWAP_SECONDS, &[phase]).record(time);
    }
    let seconds = (open + warm + measure).as_secs_f64();
    tracing::info!(target: DAEMON, model = swap.model, from = swap.from, to = swap.to, seconds, "version swapped");
}

/// Spans reached the OTLP endpoint.
pub(in crate::telemetry) fn spans_exported(count: usize) {
    daemon().meter.counter(&names::TRACE_SPANS, &["exported"]).increment(count as u64);
}

/// Spans did not: `dropped` because the endpoint was too slow, or `refused` by it.
pub(in crate::telemetry) fn spans_lost(outcome: &'static str, count: usize, error: &dyn Display) {
    let daemon = daemon();
    daemon.meter.counter(&names::TRACE_SPANS, &[outcome]).increment(count as u64);
    if let Some(suppressed) = daemon.lost_spans.admit() {
        tracing::warn!(target: DAEMON, outcome, spans = count, suppressed, %error, "trace spans lost");
    }
}

/// Something that an operator should know and that belongs to no model.
pub fn warning(warning: &dyn Display) {
    tracing::warn!(target: DAEMON, "{warning}");
}

/// A stop was asked for: readiness is false, sockets still take connections for `grace`.
pub fn draining(reason: &dyn Display, grace: Duration) {
    daemon().ready.set(0.0);
    tracing::info!(target: DAEMON, %reason, grace_seconds = grace.as_secs_f64(), "draining");
}

/// No new connection is taken; what is in flight finishes.
pub fn listening_stopped() {
    tracing::info!(target: DAEMON, "listeners closed, finishing what is in flight");
}

/// The daemon ends, `took` after the stop was asked for. Where the deadline was not met, `cut`
/// says what was cut off.
pub fn stopped(took: Duration, cut: Option<&dyn Display>) {
    let seconds = took.as_secs_f64();
    match cut {
        None => tracing::info!(target: DAEMON, seconds, deadline_met = true, "stopped"),
        Some(cut) => {
            tracing::warn!(target: DAEMON, seconds, deadline_met = false, error = %cut, "stopped")
        }
    }
}
