//! Is the daemon alive, is it ready, how is it doing, and what can be asked of it.

use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};

use crate::server::network::Shared;
use crate::server::respond::{self, Failure, TEXT};
use crate::server::response_body::Answer;
use crate::telemetry::events;

/// What Prometheus expects of the text format.
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const ROUTES: &str = "\
onnxd serves ONNX models.

GET  /v2/health/live, /v2/health/ready
GET  /v2                                       the server
GET  /v2/models/{model}[/versions/{version}]   a model; also /ready, /config, /stats
POST /v2/models/{model}[/versions/{version}]/infer
POST /v2/repository/index                      every model and its state
GET  /v1/models/{model}                        TensorFlow Serving's protocol; also /metadata
POST /v1/models/{model}:predict
GET  /metrics
GET  /openapi.json                             all of this, with the loaded models' tensors
";

pub fn root() -> Response<Answer> {
    respond::typed(StatusCode::OK, TEXT, ROUTES)
}

/// Whoever can answer is alive.
pub fn live() -> Response<Answer> {
    respond::empty()
}

pub fn ready(shared: &Shared) -> Result<Response<Answer>, Failure> {
    check_ready(shared)?;
    Ok(respond::empty())
}

/// The protocol calls a server ready where all its models are. Those that were unloaded are none
/// of its models; and one whose newest version failed is ready where an older one answers.
fn check_ready(shared: &Shared) -> Result<(), Failure> {
    let services = &shared.services;
    if !(services.readiness)() {
        return Err(Failure::NotReady);
    }
    match services.active.missing() {
        Some(missing) if shared.settings.strict_readiness => Err(missing.into()),
        _ => Ok(()),
    }
}

pub fn metrics(shared: &Shared) -> Response<Answer> {
    events::ready_now(check_ready(shared).is_ok());
    events::inflight_bytes(shared.inflight.bytes());
    respond::typed(StatusCode::OK, METRICS_TYPE, (shared.services.metrics)())
}
