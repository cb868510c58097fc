//! From a request to its response: route, handler, and what every response has in common.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};

use super::compression::{Encodings, compress};
use super::connection::Connection;
use super::handlers::infer::{Protocol, Unaccepted};
use super::handlers::{health, infer, metadata, repository, v1};
use super::host;
use super::openapi;
use super::progress::Progress;
use super::request_body::RequestBody;
use super::request_id::{self, REQUEST_ID};
use super::respond::Failure;
use super::response_body::{Answer, ResponseBody};
use super::router::Route;
use crate::telemetry::events;

/// One request as its handler sees it.
pub struct Call<'a> {
    pub connection: &'a Connection,
    pub headers: &'a HeaderMap,
    pub body: RequestBody<'a>,
    pub arrived: Instant,
}

/// Answers one request. Not an `async fn`, whose future would hold the request twice.
pub fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> {
    let (mut head, incoming) = request.into_parts();
    async move {
        let progress = &connection.progress;
        let arrived = progress.request_started();
        let running = Running(progress);
        let encodings = Encodings::of(&head.headers);
        let http1 = head.version < Version::HTTP_2;
        let answered = attempt(&connection, &mut head, incoming, arrived).await;
        let mut response = match answered {
            Ok(response) => response,
            Err(failure) => refuse(&connection, &head.headers, &failure),
        };
        compress(&mut response, encodings);
        if connection.thread.is_closing() && http1 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        drop(running);
        Ok(response.map(|answer| ResponseBody::new(answer, progress.clone())))
    }
}

/// A request whose handler runs: from its first poll until it has answered or was dropped.
struct Running<'a>(&'a Progress);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.request_answered();
    }
}

fn refuse(connection: &Connection, headers: &HeaderMap, failure: &Failure) -> Response<Answer> {
    let mut response = failure.response(connection.thread.shared.settings.retry_after);
    let id = request_id::given(headers).cloned().unwrap_or_else(request_id::made);
    // A probe that asks too early was answered, not refused.
    if !matches!(failure, Failure::NotReady) {
        events::http_refused(&request_id::text(&id), response.status().as_u16(), failure);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Answers, or says why not. The head is still there in that case.
async fn attempt(
    connection: &Connection,
    head: &mut Parts,
    incoming: Incoming,
    arrived: Instant,
) -> Result<Response<Answer>, Failure> {
    let accepted = {
        let body = RequestBody::new(incoming, &head.headers, &connection.progress);
        let mut call = Call { connection, headers: &head.headers, body, arrived };
        host::check(head.version, &head.headers)?;
        match route(head.uri.path(), &head.method)? {
            Route::Infer(target) => {
                let shared = &connection.thread.shared;
                infer::accept(shared, &mut call, &target, Protocol::V2).await
            }
            // Boxed: the future of every inference would have to be as large as the rarest one's.
            other => return Box::pin(answer_other(call, other)).await,
        }
    };
    let inference = match accepted {
        Ok(inference) => inference,
        Err(Unaccepted::Answered(response)) => return Ok(*response),
        Err(Unaccepted::Failed(failure)) => return Err(failure),
    };
    // The head lies in the buffer that it was read into, and holds all of it for as long as the
    // model runs.
    *head = Request::new(()).into_parts().0;
    Ok(inference.answer(connection).await)
}

fn route<'a>(path: &'a str, method: &Method) -> Result<Route<'a>, Failure> {
    let unknown = || Failure::UnknownPath { path: path.to_owned() };
    let route = Route::of_path(path).ok_or_else(unknown)?;
    let allowed = route.allowed();
    if !allowed.admits(method) {
        let method = method.to_string();
        return Err(Failure::WrongMethod { method, allowed: allowed.header() });
    }
    Ok(route)
}

async fn answer_other(call: Call<'_>, route: Route<'_>) -> Result<Response<Answer>, Failure> {
    let shared = &call.connection.thread.shared;
    let services = &shared.services;
    match route {
        Route::Infer(target) => infer::infer(call, &target, Protocol::V2).await,
        Route::Root => Ok(health::root()),
        Route::Live => Ok(health::live()),
        Route::Ready => health::ready(shared),
        Route::Metrics => Ok(health::metrics(shared)),
        Route::OpenApi => Ok(openapi::document(services)),
        Route::ServerMetadata => Ok(metadata::server(&shared.settings)),
        Route::AllStatistics => Ok(metadata::all_statistics(services)),
        Route::ModelMetadata(target) => metadata::model(services, &target),
        Route::ModelReady(target) => metadata::model_ready(services, &target),
        Route::ModelConfig(target) => metadata::config(services, &target),
        Route::ModelStatistics(target) => metadata::statistics(services, &target),
        Route::RepositoryIndex => repository::index(call).await,
        Route::RepositoryLoad(model) => repository::load(call, &model).await,
        Route::RepositoryUnload(model) => repository::unload(call, &model).await,
        Route::V1Status(target) => v1::status(services, target).await,
        Route::V1Metadata(target) => v1::metadata(services, target),
        Route::V1Predict(target) => v1::predict(call, target).await,
    }
}
