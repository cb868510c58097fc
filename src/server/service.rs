//! From a request to its response: route, handler, and what every response has in common.

use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Version};

use super::compression::{Encodings, compress};
use super::connection::Connection;
use super::handlers::infer::Protocol;
use super::handlers::{health, infer, metadata, repository, v1};
use super::openapi;
use super::request_body::RequestBody;
use super::request_id::{self, REQUEST_ID};
use super::respond::Failure;
use super::response_body::Answer;
use super::router::Route;
use crate::telemetry::events;

/// One request as its handler sees it.
pub struct Call<'a> {
    pub connection: &'a Connection,
    pub headers: &'a HeaderMap,
    pub body: RequestBody<'a>,
    pub arrived: Instant,
}

/// Why a request got no further, and whose it was.
struct Refusal {
    failure: Failure,
    request_id: HeaderValue,
}

/// Answers one request.
pub async fn answer(
    connection: &Connection,
    request: Request<Incoming>,
    arrived: Instant,
) -> Response<Answer> {
    let encodings = Encodings::of(request.headers());
    let version = request.version();
    let thread = &connection.thread;
    let mut response = attempt(connection, request, arrived).await.unwrap_or_else(|refusal| {
        let Refusal { failure, request_id } = refusal;
        let mut response = failure.response(thread.shared.settings.retry_after);
        // A probe that asks too early was answered, not refused.
        if !matches!(failure, Failure::NotReady) {
            let id = request_id::text(&request_id);
            events::http_refused(&id, response.status().as_u16(), &failure);
        }
        response.headers_mut().insert(REQUEST_ID, request_id);
        response
    });
    compress(&mut response, encodings);
    if thread.is_closing() && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn attempt(
    connection: &Connection,
    request: Request<Incoming>,
    arrived: Instant,
) -> Result<Response<Answer>, Refusal> {
    let (head, incoming) = request.into_parts();
    let refusal = |failure| {
        let request_id = request_id::given(&head.headers).cloned();
        Refusal { failure, request_id: request_id.unwrap_or_else(request_id::made) }
    };
    let body = RequestBody::new(incoming, &head.headers, &connection.progress);
    let call = Call { connection, headers: &head.headers, body, arrived };
    match route(head.uri.path(), &head.method).map_err(refusal)? {
        Route::Infer(target) => {
            let shared = &connection.thread.shared;
            let accepted = infer::accept(shared, call, &target, Protocol::V2).await;
            let accepted = accepted.map_err(refusal)?;
            // The head lies in the connection's read buffer, which hyper uses again only where
            // nobody holds any of it.
            drop(head);
            Ok(infer::run(connection, accepted).await)
        }
        // Boxed: the future of every inference would have to be as large as the rarest one's.
        other => Box::pin(answer_other(call, other)).await.map_err(refusal),
    }
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
        Route::Ready => health::ready(services),
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
