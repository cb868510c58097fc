//! One request's account: however it ends, its end is counted once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;

use super::respond::Failure;
use super::response_body::Answer;
use crate::lifecycle::ActiveVersion;
use crate::telemetry::Outcome;

/// Opened when a request's version is known, closed when its response has left. Dropped before
/// that, it counts the request as cancelled: hyper drops what belongs to a client that has gone.
pub struct Account {
    version: Arc<ActiveVersion>,
    arrived: Instant,
    outcome: Outcome,
    /// When the response was ready to be written; `None` before.
    answered: Option<Instant>,
    written: Option<Instant>,
}

impl Account {
    pub fn open(version: Arc<ActiveVersion>, arrived: Instant) -> Account {
        Account { version, arrived, outcome: Outcome::Cancelled, answered: None, written: None }
    }

    pub fn version(&self) -> &Arc<ActiveVersion> {
        &self.version
    }

    /// The request goes on to another version; false where it is the same one.
    pub fn moved_to(&mut self, version: Arc<ActiveVersion>) -> bool {
        let other = !Arc::ptr_eq(&self.version, &version);
        self.version = version;
        other
    }

    /// The response to what was asked for, with this account.
    pub fn accept(self, response: Response<Answer>) -> Response<Answer> {
        self.attach(response, Outcome::Ok)
    }

    /// The response to a failure, with this account.
    pub fn refuse(self, failure: &Failure, retry_after: Duration) -> Response<Answer> {
        self.attach(failure.response(retry_after), failure.outcome())
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
        let events = &self.version.events;
        match (self.answered, self.written) {
            (Some(answered), Some(written)) => {
                events.response_written(written.saturating_duration_since(answered));
                let total = written.saturating_duration_since(self.arrived);
                events.request_finished(self.outcome, total);
            }
            // Answered, but the client did not wait for it.
            _ => events.request_finished(Outcome::Cancelled, self.arrived.elapsed()),
        }
    }
}
