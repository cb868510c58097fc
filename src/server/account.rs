//! One request's account: however it ends, its end is counted once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response};

use super::request_id::{self, REQUEST_ID};
use super::respond::Failure;
use super::response_body::Answer;
use crate::telemetry::{ModelEvents, Outcome, RequestRefused};

/// Opened when a request's version is known, closed when its response has left. Dropped before
/// that, it counts the request as cancelled: hyper drops what belongs to a client that has gone.
pub struct Account {
    /// Of the version that answers. Not the version itself: a client that is slow to take its
    /// response must not keep a model in memory.
    events: Arc<ModelEvents>,
    arrived: Instant,
    /// As the client gave it.
    request_id: Option<HeaderValue>,
    outcome: Outcome,
    /// What is to be said of a request that was refused: its identity and why.
    refusal: Option<(String, String)>,
    /// When the response was ready to be written; `None` before.
    answered: Option<Instant>,
    written: Option<Instant>,
}

impl Account {
    pub fn open(events: Arc<ModelEvents>, arrived: Instant, headers: &HeaderMap) -> Account {
        Account {
            events,
            arrived,
            request_id: request_id::given(headers).cloned(),
            outcome: Outcome::Cancelled,
            refusal: None,
            answered: None,
            written: None,
        }
    }

    /// The request goes on to another version.
    pub fn moved_to(&mut self, events: Arc<ModelEvents>) {
        self.events = events;
    }

    /// The response to what was asked for, with this account.
    pub fn accept(mut self, mut response: Response<Answer>) -> Response<Answer> {
        if let Some(id) = self.request_id.take() {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        self.attach(response, Outcome::Ok)
    }

    /// The response to a failure, with this account.
    pub fn refuse(mut self, failure: &Failure, retry_after: Duration) -> Response<Answer> {
        let mut response = failure.response(retry_after);
        let id = self.request_id.take().unwrap_or_else(request_id::made);
        self.refusal = Some((request_id::text(&id), failure.to_string()));
        response.headers_mut().insert(REQUEST_ID, id);
        self.attach(response, failure.outcome())
    }

    fn attach(mut self, mut response: Response<Answer>, outcome: Outcome) -> Response<Answer> {
        self.outcome = outcome;
        self.answered = Some(Instant::now());
        response.body_mut().account = Some(self);
        response
    }

    /// The socket has taken the response.
    pub fn written(mut self, now: Instant) {
        self.written = Some(now);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let events = &self.events;
        let (Some(answered), Some(written)) = (self.answered, self.written) else {
            // Perhaps answered, but the client did not wait for it.
            events.request_finished(Outcome::Cancelled, self.arrived.elapsed());
            return;
        };
        events.response_written(written.saturating_duration_since(answered));
        let total = written.saturating_duration_since(self.arrived);
        match &self.refusal {
            None => events.request_finished(self.outcome, total),
            Some((request_id, error)) => events.request_refused(&RequestRefused {
                request_id,
                outcome: self.outcome,
                total,
                error,
            }),
        }
    }
}
