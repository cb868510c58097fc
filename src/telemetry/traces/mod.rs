//! OpenTelemetry traces, off unless an OTLP endpoint is configured: one span per request, with a
//! child for each stage it went through.
//!
//! Reading order: here (what the server calls), `context` (identities and `traceparent`),
//! `payload` (OTLP's JSON), `exporter` (the thread that sends it). The usual client stack would
//! bring two HTTP stacks and a second runtime for one POST a second, so this speaks OTLP/HTTP
//! JSON itself.

mod context;
mod exporter;
mod payload;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use context::TraceContext;
use parking_lot::Mutex;

use self::context::IdSource;
use self::exporter::{Endpoint, Exporter};
use super::events::{Outcome, spans_lost};

/// Every request is traced where an endpoint is configured and nothing else is said: who looks
/// for one slow request must find it. Busy daemons take less.
pub const DEFAULT_SAMPLE_RATIO: f64 = 1.0;
/// What the spans' sender is called where nothing is configured.
pub const DEFAULT_SERVICE_NAME: &str = "onnxd";
/// Requests whose spans may wait for the exporter; more are dropped and counted.
const QUEUE_CAPACITY: usize = 2048;
/// The header `tracestate` may be this long; a longer one is not carried on.
const MAX_TRACESTATE_BYTES: usize = 512;

/// Settings of the export of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// `http://HOST[:PORT][/PATH]`; the port is 4318 and the path `/v1/traces` where none is
    /// given.
    pub endpoint: String,
    /// Share of requests that are traced, 0 to 1, where no caller has decided it.
    pub sample_ratio: f64,
    pub service_name: String,
}

/// Why traces cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error(
        "OTLP endpoint {endpoint:?}: {reason}; expected http://HOST[:PORT][/PATH] of a collector"
    )]
    Endpoint { endpoint: String, reason: &'static str },
    #[error("sample ratio {ratio} is not between 0 and 1")]
    SampleRatio { ratio: f64 },
    #[error("the thread that exports traces could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl TraceSettings {
    /// # Errors
    /// The endpoint or the ratio is wrong.
    pub fn check(&self) -> Result<(), TraceError> {
        Endpoint::parse(&self.endpoint)?;
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(TraceError::SampleRatio { ratio: self.sample_ratio });
        }
        Ok(())
    }
}

/// A request that is traced, from its first byte on.
#[derive(Debug)]
pub struct RequestTrace {
    context: TraceContext,
    /// The caller's span; `None` where the trace begins here.
    parent: Option<u64>,
    tracestate: Option<String>,
    started: Instant,
    /// The same moment on the wall clock.
    started_at: SystemTime,
}

impl RequestTrace {
    /// The identity to hand on, as the header `traceparent`.
    pub fn context(&self) -> TraceContext {
        self.context
    }
}

/// The stages of a request that reached a batch.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// When the request entered the queue.
    pub queued: Instant,
    pub queue: Duration,
    pub assembly: Duration,
    pub inference: Duration,
    pub split: Duration,
    /// Encoding the response and handing it to the socket, up to the request's end.
    pub write: Duration,
    pub batch_size: usize,
}

/// How a traced request ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnded<'a> {
    /// Name of the span: the route, never what a client chose.
    pub name: &'static str,
    pub model: Option<&'a str>,
    pub version: Option<u64>,
    pub request_id: &'a str,
    pub status: u16,
    pub outcome: Outcome,
    pub stages: Option<Stages>,
}

/// A span, ready to be sent.
struct Span {
    trace_id: u128,
    span_id: u64,
    parent: Option<u64>,
    name: &'static str,
    /// Nanoseconds since the Unix epoch.
    start_ns: u64,
    end_ns: u64,
    /// Of the request's own span only; its stages say nothing but their time.
    request: Option<RequestAttributes>,
}

struct RequestAttributes {
    tracestate: Option<String>,
    model: Option<String>,
    version: Option<u64>,
    request_id: String,
    status: u16,
    outcome: Outcome,
    batch_size: Option<usize>,
}

/// Decides which requests are traced and hands their spans to the exporter's thread.
pub struct Tracer {
    /// Dropped to end the exporter, which sends what it has and stops.
    sender: SyncSender<Vec<Span>>,
    /// Closed by the exporter when it has ended. Locked so that the network threads may share the
    /// tracer; only the shutdown looks.
    ended: Mutex<Receiver<()>>,
    stop: exporter::Stop,
    ids: IdSource,
    sample_ratio: f64,
}

impl Tracer {
    /// Starts the exporter's thread. The endpoint need not answer yet.
    ///
    /// # Errors
    /// The settings are wrong, or no thread can be started.
    pub fn start(settings: &TraceSettings) -> Result<Tracer, TraceError> {
        settings.check()?;
        let endpoint = Endpoint::parse(&settings.endpoint)?;
        let ids = IdSource::new();
        let resource = payload::resource(&settings.service_name, ids.trace_id());
        let (sender, receiver) = sync_channel(QUEUE_CAPACITY);
        let (ended_sender, ended) = sync_channel(0);
        let stop = exporter::Stop::default();
        let exporter = Exporter::new(endpoint, resource, receiver, stop.clone());
        std::thread::Builder::new()
            .name("onnxd-traces".to_owned())
            .spawn(move || {
                exporter.run();
                drop(ended_sender);
            })
            .map_err(TraceError::Thread)?;
        let sample_ratio = settings.sample_ratio;
        Ok(Tracer { sender, ended: Mutex::new(ended), stop, ids, sample_ratio })
    }

    /// A request arrived with these headers. `None` where it is not traced: a caller that sends
    /// `traceparent` has decided already, else the ratio does.
    pub fn begin(
        &self,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
    ) -> Option<RequestTrace> {
        let caller = traceparent.and_then(TraceContext::parse);
        let trace_id = match caller {
            Some(caller) if !caller.sampled => return None,
            Some(caller) => caller.trace_id,
            None => {
                let trace_id = self.ids.trace_id();
                // The low half of the identity is uniform: the same requests are traced by
                // everybody who decides this way.
                let place = (trace_id as u64 >> 11) as f64 / (1u64 << 53) as f64;
                if place >= self.sample_ratio {
                    return None;
                }
                trace_id
            }
        };
        let tracestate = tracestate
            .filter(|state| caller.is_some() && state.len() <= MAX_TRACESTATE_BYTES)
            .map(str::to_owned);
        Some(RequestTrace {
            context: TraceContext { trace_id, span_id: self.ids.span_id(), sampled: true },
            parent: caller.map(|caller| caller.span_id),
            tracestate,
            started: Instant::now(),
            started_at: SystemTime::now(),
        })
    }

    /// The request ended now. Never waits: where the exporter is behind, the spans are dropped
    /// and counted.
    pub fn finish(&self, trace: RequestTrace, ended: &RequestEnded<'_>) {
        let spans = self.spans(trace, ended, Instant::now());
        let count = spans.len();
        match self.sender.try_send(spans) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => spans_lost("dropped", count, &"the endpoint is too slow"),
            Err(TrySendError::Disconnected(_)) => {
                spans_lost("dropped", count, &"the exporter has ended");
            }
        }
    }

    fn spans(&self, trace: RequestTrace, ended: &RequestEnded<'_>, end: Instant) -> Vec<Span> {
        let RequestTrace { context, parent, tracestate, started, started_at } = trace;
        let epoch = started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = |moment: Instant| {
            let since = moment.saturating_duration_since(started);
            u64::try_from((epoch + since).as_nanos()).unwrap_or(u64::MAX)
        };
        let span = |span_id, parent, name, from: Instant, to: Instant| Span {
            trace_id: context.trace_id,
            span_id,
            parent,
            name,
            start_ns: wall(from),
            end_ns: wall(to),
            request: None,
        };
        let mut whole = span(context.span_id, parent, ended.name, started, end);
        whole.request = Some(RequestAttributes {
            tracestate,
            model: ended.model.map(str::to_owned),
            version: ended.version,
            request_id: ended.request_id.to_owned(),
            status: ended.status,
            outcome: ended.outcome,
            batch_size: ended.stages.map(|stages| stages.batch_size),
        });
        let mut spans = vec![whole];
        if let Some(stages) = ended.stages {
            let mut from = stages.queued;
            for (name, time) in [
                ("queue", stages.queue),
                ("batch", stages.assembly),
                ("inference", stages.inference),
                ("split", stages.split),
            ] {
                let to = from + time;
                spans.push(span(self.ids.span_id(), Some(context.span_id), name, from, to));
                from = to;
            }
            let write = end.checked_sub(stages.write).unwrap_or(started).max(started);
            spans.push(span(self.ids.span_id(), Some(context.span_id), "write", write, end));
        }
        spans
    }

    /// Sends what waits and ends the exporter, or gives up at the deadline. Says whether all was
    /// sent in time.
    pub fn shutdown(self, deadline: Duration) -> bool {
        let Tracer { sender, ended, stop, .. } = self;
        stop.set();
        drop(sender);
        let error = ended.into_inner().recv_timeout(deadline);
        matches!(error, Err(std::sync::mpsc::RecvTimeoutError::Disconnected))
    }
}

#[cfg(test)]
mod tests;
