//! Every failure's status, text and outcome, in this one place; and the plain answers.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::compression::DecodeError;
use super::request_body::BodyError;
use super::response_body::Answer;
use crate::batching::{EngineError, RequestError};
use crate::lifecycle::{LookupError, ManageError};
use crate::protocol::ProtocolError;
use crate::telemetry::Outcome;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("expected one Host header, got {count}")]
    WrongHost { count: usize },
    #[error("unknown path {path:?}; GET / lists the known ones")]
    UnknownPath { path: String },
    #[error("{method} is not allowed here, only {allowed}")]
    WrongMethod { method: String, allowed: &'static str },
    #[error("model {model:?} has no version labelled {label:?}")]
    UnknownLabel { model: String, label: String },
    #[error(
        "load and unload are not allowed; allow_repository_control in the configuration \
             allows them"
    )]
    ControlNotAllowed,
    #[error("the server is not ready")]
    NotReady,
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Manage(#[from] ManageError),
}

/// What a failure is to the client and to the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    status: StatusCode,
    outcome: Outcome,
    /// Trying again later may help.
    retry: bool,
}

impl Failure {
    fn verdict(&self) -> Verdict {
        let verdict = |status, outcome, retry| Verdict { status, outcome, retry };
        let invalid = |status| verdict(status, Outcome::Invalid, false);
        let unavailable = verdict(StatusCode::SERVICE_UNAVAILABLE, Outcome::Rejected, true);
        match self {
            Failure::Protocol(ProtocolError::NoRoom { .. }) => unavailable,
            Failure::WrongHost { .. } | Failure::Protocol(_) => invalid(StatusCode::BAD_REQUEST),
            Failure::UnknownPath { .. } | Failure::UnknownLabel { .. } => {
                invalid(StatusCode::NOT_FOUND)
            }
            Failure::WrongMethod { .. } => invalid(StatusCode::METHOD_NOT_ALLOWED),
            Failure::ControlNotAllowed => invalid(StatusCode::FORBIDDEN),
            Failure::NotReady | Failure::Stopping => unavailable,
            Failure::Body(error) => match error {
                BodyError::TooLarge { .. }
                | BodyError::TooLong { .. }
                | BodyError::Encoding(DecodeError::TooLarge { .. }) => {
                    invalid(StatusCode::PAYLOAD_TOO_LARGE)
                }
                BodyError::UnknownEncoding { .. } | BodyError::WrongType { .. } => {
                    invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                }
                BodyError::Full(_) | BodyError::Encoding(DecodeError::Full(_)) => unavailable,
                BodyError::Late { .. } => invalid(StatusCode::REQUEST_TIMEOUT),
                BodyError::Encoding(DecodeError::Corrupt { .. }) => {
                    invalid(StatusCode::BAD_REQUEST)
                }
                // Nearly always the client has gone in the middle of its body.
                BodyError::Broken { .. } => {
                    verdict(StatusCode::BAD_REQUEST, Outcome::Cancelled, false)
                }
            },
            Failure::Lookup(error) => match error {
                LookupError::UnknownModel { .. } | LookupError::UnknownVersion { .. } => {
                    invalid(StatusCode::NOT_FOUND)
                }
                LookupError::NotReady { .. } => unavailable,
            },
            Failure::Request(error) => match error {
                RequestError::QueueFull { .. } => {
                    verdict(StatusCode::TOO_MANY_REQUESTS, Outcome::Rejected, true)
                }
                RequestError::Expired => {
                    verdict(StatusCode::GATEWAY_TIMEOUT, Outcome::Expired, false)
                }
                RequestError::Closed => unavailable,
                RequestError::RowsDisagree { .. }
                | RequestError::Engine(EngineError::InputsRefused { .. }) => {
                    invalid(StatusCode::BAD_REQUEST)
                }
                RequestError::Engine(_) | RequestError::InstanceFailed => {
                    verdict(StatusCode::INTERNAL_SERVER_ERROR, Outcome::Failed, false)
                }
            },
            Failure::Manage(error) => match error {
                ManageError::UnknownModel { .. } => invalid(StatusCode::NOT_FOUND),
                ManageError::LoadFailed { .. } | ManageError::Refused { .. } => {
                    invalid(StatusCode::BAD_REQUEST)
                }
                ManageError::Busy | ManageError::Stopping => unavailable,
            },
        }
    }

    /// How the failure counts.
    pub fn outcome(&self) -> Outcome {
        self.verdict().outcome
    }

    /// The failure as a response.
    pub fn response(&self, retry_after: Duration) -> Response<Answer> {
        let verdict = self.verdict();
        let mut response = error(verdict.status, &self.to_string());
        let headers = response.headers_mut();
        if verdict.retry {
            // Whole seconds, and never "at once".
            let seconds = retry_after.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX));
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
        }
        if let Failure::WrongMethod { allowed, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Failure::Body(BodyError::Late { .. }) = self {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An error in the protocols' form.
fn error(status: StatusCode, text: &str) -> Response<Answer> {
    let body = serde_json::json!({ "error": text }).to_string();
    typed(status, JSON, body)
}

/// A JSON answer.
pub fn json(body: impl Into<Bytes>) -> Response<Answer> {
    typed(StatusCode::OK, JSON, body)
}

/// An answer of the given type.
pub fn typed(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Answer> {
    let mut response = Response::new(Answer::of(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Success with nothing to say.
pub fn empty() -> Response<Answer> {
    Response::new(Answer::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::inflight::Inflight;

    fn check(failure: impl Into<Failure>, status: u16, outcome: Outcome, retry: Option<&str>) {
        let failure = failure.into();
        let response = failure.response(Duration::from_millis(1500));
        let text = failure.to_string();
        assert_eq!(response.status().as_u16(), status, "{text}");
        assert_eq!(failure.outcome(), outcome, "{text}");
        let header = response.headers().get(RETRY_AFTER).map(|value| value.to_str().expect("text"));
        assert_eq!(header, retry, "{text}");
        let body: serde_json::Value =
            serde_json::from_slice(&response.body().parts[0]).expect("JSON");
        assert_eq!(body["error"], serde_json::Value::String(text));
    }

    #[test]
    fn every_failure_has_its_status() {
        let model = || "m".to_owned();
        let reason = || "why".to_owned();
        let invalid = Outcome::Invalid;
        check(Failure::WrongHost { count: 0 }, 400, invalid, None);
        check(Failure::UnknownPath { path: "/x".into() }, 404, invalid, None);
        check(Failure::WrongMethod { method: "PUT".into(), allowed: "POST" }, 405, invalid, None);
        check(Failure::UnknownLabel { model: model(), label: "l".into() }, 404, invalid, None);
        check(Failure::ControlNotAllowed, 403, invalid, None);
        check(Failure::NotReady, 503, Outcome::Rejected, Some("2"));
        check(Failure::Stopping, 503, Outcome::Rejected, Some("2"));
        check(BodyError::TooLarge { actual: 3, limit: 2 }, 413, invalid, None);
        check(BodyError::TooLong { limit: 2 }, 413, invalid, None);
        check(BodyError::Encoding(DecodeError::TooLarge { limit: 2 }), 413, invalid, None);
        check(BodyError::UnknownEncoding { name: "br".into() }, 415, invalid, None);
        check(BodyError::WrongType { name: "text/html".into() }, 415, invalid, None);
        check(BodyError::Late { timeout: Duration::from_secs(1) }, 408, invalid, None);
        let corrupt = DecodeError::Corrupt { encoding: "gzip", reason: reason() };
        check(BodyError::Encoding(corrupt), 400, invalid, None);
        let full = Inflight::new(1).hold().grow(2).expect_err("it is full");
        check(BodyError::Full(full), 503, Outcome::Rejected, Some("2"));
        let full = BodyError::Encoding(DecodeError::Full(full));
        check(full, 503, Outcome::Rejected, Some("2"));
        check(BodyError::Broken { reason: reason() }, 400, Outcome::Cancelled, None);
        check(ProtocolError::Json { reason: reason() }, 400, invalid, None);
        let no_room = ProtocolError::NoRoom { field: "x".to_owned(), reason: reason() };
        check(no_room, 503, Outcome::Rejected, Some("2"));
        check(LookupError::UnknownModel { model: model() }, 404, invalid, None);
        let unknown = LookupError::UnknownVersion { model: model(), version: "9".into() };
        check(unknown, 404, invalid, None);
        let not_ready = LookupError::NotReady { model: model(), reason: reason() };
        check(not_ready, 503, Outcome::Rejected, Some("2"));
        check(RequestError::QueueFull { limit: 5 }, 429, Outcome::Rejected, Some("2"));
        check(RequestError::Expired, 504, Outcome::Expired, None);
        check(RequestError::Closed, 503, Outcome::Rejected, Some("2"));
        let rows = RequestError::RowsDisagree {
            input: "b".into(),
            actual: 2,
            first: "a".into(),
            expected: 3,
        };
        check(rows, 400, invalid, None);
        let refused = EngineError::InputsRefused { reason: reason() };
        check(RequestError::Engine(refused), 400, invalid, None);
        let failed = EngineError::RunFailed { reason: reason() };
        check(RequestError::Engine(failed), 500, Outcome::Failed, None);
        check(RequestError::InstanceFailed, 500, Outcome::Failed, None);
        check(ManageError::UnknownModel { model: model() }, 404, invalid, None);
        let load = ManageError::LoadFailed { model: model(), reason: reason() };
        check(load, 400, invalid, None);
        check(ManageError::Refused { model: model(), reason: reason() }, 400, invalid, None);
        check(ManageError::Busy, 503, Outcome::Rejected, Some("2"));
        check(ManageError::Stopping, 503, Outcome::Rejected, Some("2"));
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let failure = Failure::WrongMethod { method: "PUT".into(), allowed: "GET, HEAD" };
        let response = failure.response(Duration::ZERO);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
