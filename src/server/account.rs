//! One request's account: however it ends, its end is counted once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use hyper::header::HeaderValue;

use super::request_id::{self, REQUEST_ID};
use super::respond::Failure;
use super::response_body::Answer;
use super::trace::{Ended, Trace};
use crate::batching::Timing;
use crate::lifecycle::ActiveVersion;
use crate::telemetry::{ModelEvents, Outcome, RequestRefused};

/// Status in traces and the log of a request whose client went away.
const CLIENT_CLOSED: u16 = 499;

/// Opened when a request's version is known, closed when its response has left. Dropped before
/// that, it counts the request as cancelled: hyper drops what belongs to a client that has gone.
pub struct Account {
    /// Of the version that answers. Not the version itself: a client that is slow to take its
    /// response must not keep a model in memory.
    events: Arc<ModelEvents>,
    arrived: Instant,
    /// As the client gave it.
    request_id: Option<HeaderValue>,
    trace: Option<Box<Trace>>,
    answered: Option<Answered>,
    /// When the socket had taken the response.
    written: Option<Instant>,
}

/// A response that is ready to be written.
struct Answered {
    at: Instant,
    status: u16,
    outcome: Outcome,
    /// Of a request that was refused: its identity and why.
    refusal: Option<(HeaderValue, String)>,
}

impl Account {
    /// Boxed: it moves with the response from hand to hand, and the response is large enough.
    pub fn open(
        version: &ActiveVersion,
        arrived: Instant,
        request_id: Option<HeaderValue>,
        trace: Option<Box<Trace>>,
    ) -> Box<Account> {
        let events = version.events.clone();
        Box::new(Account { events, arrived, request_id, trace, answered: None, written: None })
    }

    /// The request goes on to another version.
    pub fn moved_to(&mut self, version: &ActiveVersion) {
        self.events = version.events.clone();
        if let Some(trace) = &mut self.trace {
            trace.moved_to(version.number);
        }
    }

    /// The batcher has answered.
    pub fn replied(&mut self, timing: &Timing) {
        if let Some(trace) = &mut self.trace {
            trace.replied(timing);
        }
    }

    /// The response to what was asked for, with this account.
    pub fn accept(self: Box<Self>, response: Response<Answer>) -> Response<Answer> {
        self.attach(response, Outcome::Ok, None)
    }

    /// The response to a failure, with this account.
    pub fn refuse(
        mut self: Box<Self>,
        failure: &Failure,
        retry_after: Duration,
    ) -> Response<Answer> {
        let id = self.request_id.get_or_insert_with(request_id::made).clone();
        let refusal = Some((id, failure.to_string()));
        self.attach(failure.response(retry_after), failure.outcome(), refusal)
    }

    fn attach(
        mut self: Box<Self>,
        mut response: Response<Answer>,
        outcome: Outcome,
        refusal: Option<(HeaderValue, String)>,
    ) -> Response<Answer> {
        if let Some(id) = &self.request_id {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        let status = response.status().as_u16();
        self.answered = Some(Answered { at: Instant::now(), status, outcome, refusal });
        response.body_mut().account = Some(self);
        response
    }

    /// The socket has taken the response; dropping the account then counts its end.
    pub fn written(&mut self, now: Instant) {
        self.written = Some(now);
    }

    /// Counts the end, and says what it was.
    fn close(&mut self) -> (u16, Outcome, Instant) {
        let (Some(answered), Some(written)) = (&self.answered, self.written) else {
            // Perhaps answered, but the client did not wait for it.
            let now = Instant::now();
            let id = self.request_id.get_or_insert_with(request_id::made);
            self.events.request_refused(&RequestRefused {
                request_id: &request_id::text(id),
                status: CLIENT_CLOSED,
                outcome: Outcome::Cancelled,
                total: now.saturating_duration_since(self.arrived),
                error: &"the client went away before it had its answer",
            });
            return (CLIENT_CLOSED, Outcome::Cancelled, now);
        };
        self.events.response_written(written.saturating_duration_since(answered.at));
        let total = written.saturating_duration_since(self.arrived);
        let Answered { status, outcome, ref refusal, .. } = *answered;
        // Whatever was written to it: a client that left in the middle of its body read nothing.
        let status = if outcome == Outcome::Cancelled { CLIENT_CLOSED } else { status };
        match refusal {
            None => self.events.request_finished(outcome, total),
            Some((id, error)) => self.events.request_refused(&RequestRefused {
                request_id: &request_id::text(id),
                status,
                outcome,
                total,
                error,
            }),
        }
        (status, outcome, written)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (status, outcome, at) = self.close();
        if let Some(trace) = self.trace.take() {
            let id = self.request_id.take().unwrap_or_else(request_id::made);
            trace.finish(&Ended { request_id: &request_id::text(&id), status, outcome, at });
        }
    }
}
