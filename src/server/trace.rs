//! A traced inference: which span it is, and what is known of its stages when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;

use crate::batching::Timing;
use crate::telemetry::Outcome;
use crate::telemetry::traces::{RequestEnded, RequestTrace, Stages, Tracer};

/// One request that is traced; most are not.
pub struct Trace {
    tracer: Arc<Tracer>,
    trace: RequestTrace,
    name: &'static str,
    arrived: Instant,
    model: String,
    version: u64,
    /// The stages in the batcher, and when their reply came.
    replied: Option<(Timing, Instant)>,
}

/// How the request ended.
pub struct Ended<'a> {
    pub request_id: &'a str,
    pub status: u16,
    pub outcome: Outcome,
    pub at: Instant,
}

/// What is asked of which version.
pub struct Subject<'a> {
    /// The route.
    pub name: &'static str,
    pub model: &'a str,
    pub version: u64,
    pub arrived: Instant,
}

impl Trace {
    /// Begins where the caller or chance wants the request traced.
    pub fn begin(
        tracer: &Arc<Tracer>,
        headers: &HeaderMap,
        subject: &Subject<'_>,
    ) -> Option<Box<Trace>> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let trace = tracer.begin(text("traceparent"), text("tracestate"))?;
        Some(Box::new(Trace {
            tracer: tracer.clone(),
            trace,
            name: subject.name,
            arrived: subject.arrived,
            model: subject.model.to_owned(),
            version: subject.version,
            replied: None,
        }))
    }

    /// The request goes on to another version.
    pub fn moved_to(&mut self, version: u64) {
        self.version = version;
    }

    pub fn replied(&mut self, timing: &Timing) {
        self.replied = Some((*timing, Instant::now()));
    }

    pub fn finish(self: Box<Self>, ended: &Ended<'_>) {
        let Trace { tracer, trace, name, arrived, model, version, replied } = *self;
        let stages = replied.map(|(timing, at)| Stages {
            queued: arrived,
            queue: timing.queue,
            assembly: timing.assembly,
            inference: timing.inference,
            split: timing.split,
            write: elapsed(at, ended.at),
            batch_size: timing.batch_size,
        });
        tracer.finish(
            trace,
            &RequestEnded {
                name,
                model: Some(&model),
                version: Some(version),
                request_id: ended.request_id,
                status: ended.status,
                outcome: ended.outcome,
                stages,
            },
        );
    }
}

fn elapsed(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}
