//! One inference, from its body to its response.
//!
//! The body is read where the connection lives; everything after it (decoding, the model's run,
//! encoding) happens on a data thread, so that a connection which began with a health check does
//! not bring models to the admin thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::ACCEPT_ENCODING;
use hyper::{HeaderMap, Response};
use tokio::sync::oneshot;

use super::form::{Decoded, Form};
use crate::batching::RequestError;
use crate::lifecycle::ActiveVersion;
use crate::protocol::{HeaderMemo, Limits, parse_header_length};
use crate::server::account::Account;
use crate::server::compression::compress;
use crate::server::inflight::Hold;
use crate::server::network::{DataThread, Handoff, Shared};
use crate::server::request_body::{HEADER_LENGTH, Received, RequestBody};
use crate::server::request_id;
use crate::server::respond::Failure;
use crate::server::response_body::Answer;
use crate::server::router::Target;
use crate::server::service::Call;
use crate::server::trace::{Subject, Trace};

type Answered = Result<Response<Answer>, Failure>;

/// Over which protocol a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    V2,
    V1,
}

impl Protocol {
    /// The name of its requests in traces.
    fn route(self) -> &'static str {
        match self {
            Protocol::V2 => "infer",
            Protocol::V1 => "predict",
        }
    }
}

/// A request whose body is there.
struct Arrived {
    body: Received,
    form: Form,
    at: Instant,
    /// The version that was asked for, or that answered for its model when the request came.
    version: Arc<ActiveVersion>,
}

/// Answers a request to a model, whatever comes of it once the model is found.
///
/// # Errors
/// There is no such model or version, or it does not serve.
pub async fn infer(call: Call<'_>, target: &Target<'_>, protocol: Protocol) -> Answered {
    let thread = &call.connection.thread;
    let shared = &thread.shared;
    let version = shared.services.active.get(&target.model, target.version.as_deref())?;
    let account = open_account(shared, &version, &call, protocol);
    // Held until there is an answer, on whichever thread that is made.
    let (form, body, _held) = match receive(shared, call.headers, call.body, protocol).await {
        Ok(received) => received,
        Err(failure) => return Ok(account.refuse(&failure, shared.settings.retry_after)),
    };
    let arrived = Arrived { body, form, at: call.arrived, version };
    let Some(data) = thread.idlest_data_thread() else {
        return Ok(run(shared, target, account, arrived, Some(&call.connection.memo)).await);
    };
    let accepted = call.headers.get(ACCEPT_ENCODING).cloned();
    let shared = shared.clone();
    let target = target.clone().into_owned();
    // Boxed: the future of every inference would have to be as large as this rare one.
    Box::pin(run_on(data, async move || {
        let mut response = run(&shared, &target, account, arrived, None).await;
        compress(&mut response, accepted.as_ref());
        response
    }))
    .await
}

fn open_account(
    shared: &Shared,
    version: &ActiveVersion,
    call: &Call<'_>,
    protocol: Protocol,
) -> Box<Account> {
    let trace = shared.services.tracer.as_ref().and_then(|tracer| {
        let subject = Subject {
            name: protocol.route(),
            model: &version.model,
            version: version.number,
            arrived: call.arrived,
        };
        Trace::begin(tracer, call.headers, &subject)
    });
    Account::open(version, call.arrived, request_id::given(call.headers).cloned(), trace)
}

async fn receive<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: RequestBody<'_>,
    protocol: Protocol,
) -> Result<(Form, Received, Hold<'a>), Failure> {
    let form = match (protocol, headers.get(HEADER_LENGTH)) {
        (Protocol::V1, _) => Form::V1,
        (Protocol::V2, None) => Form::V2 { header_length: None },
        (Protocol::V2, Some(value)) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            Form::V2 { header_length: Some(parse_header_length(text.trim())?) }
        }
    };
    let (body, held) = body.receive(shared.body_limits()).await?;
    Ok((form, body, held))
}

/// Runs something on a data thread and waits for its response.
async fn run_on<R>(data: &DataThread, run: R) -> Answered
where
    R: AsyncFnOnce() -> Response<Answer> + Send + 'static,
{
    let (mut answer, answered) = oneshot::channel();
    let work = Box::new(move || -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            tokio::select! {
                response = run() => drop(answer.send(response)),
                // The client has gone: the request leaves the queue with its future.
                () = answer.closed() => {}
            }
        })
    });
    data.handoffs.send(Handoff::Work(work)).await.map_err(|_| Failure::Stopping)?;
    answered.await.map_err(|_| Failure::Stopping)
}

/// Runs a request; the response carries its account.
async fn run(
    shared: &Shared,
    target: &Target<'_>,
    mut account: Box<Account>,
    arrived: Arrived,
    memo: Option<&RefCell<HeaderMemo>>,
) -> Response<Answer> {
    match attempt(shared, target, &mut account, arrived, memo).await {
        Ok(response) => account.accept(response),
        Err(failure) => account.refuse(&failure, shared.settings.retry_after),
    }
}

async fn attempt(
    shared: &Shared,
    target: &Target<'_>,
    account: &mut Account,
    arrived: Arrived,
    memo: Option<&RefCell<HeaderMemo>>,
) -> Answered {
    let limits = Limits { max_json_depth: shared.settings.max_json_depth };
    let Arrived { body, form, at, mut version } = arrived;
    let (body, _held) = body.decompressed(shared.body_limits())?;
    loop {
        let decoded = form.decode(body.clone(), &version, &limits, memo)?;
        let result = run_decoded(&version, decoded, at, account).await;
        if !matches!(result, Err(Failure::Request(RequestError::Closed))) {
            return result;
        }
        // A version that closed between lookup and queue has a successor, or none.
        let successor = shared.services.active.get(&target.model, target.version.as_deref())?;
        if Arc::ptr_eq(&successor, &version) {
            return result;
        }
        account.moved_to(&successor);
        version = successor;
    }
}

async fn run_decoded(
    version: &ActiveVersion,
    mut decoded: Decoded,
    arrived: Instant,
    account: &mut Account,
) -> Answered {
    let request = decoded.take_request(version, arrived)?;
    let outputs = request.outputs.clone();
    let reply = version.batcher.infer(request).await?;
    account.replied(&reply.timing);
    decoded.encode(version, &outputs, reply)
}
