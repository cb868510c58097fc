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

use hyper::{HeaderMap, Response};
use tokio::sync::oneshot;

use super::form::{Decoded, Form};
use crate::batching::RequestError;
use crate::lifecycle::ActiveVersion;
use crate::protocol::{HeaderMemo, Limits, parse_header_length};
use crate::server::account::Account;
use crate::server::compression::{Encodings, compress};
use crate::server::connection::Connection;
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

/// A request that has found its version. It holds nothing of the head that it came with.
pub struct Accepted<'a> {
    account: Box<Account>,
    /// What came, with the hold on its memory, or why it was not taken.
    content: Result<(Arrived, Hold<'a>), Failure>,
    encodings: Encodings,
}

/// A request whose body is there.
struct Arrived {
    form: Form,
    received: Received,
    at: Instant,
    /// The version that was asked for, or that answered for its model when the request came.
    version: Arc<ActiveVersion>,
    /// Whether it was asked for by its number.
    pinned: bool,
}

/// Answers a request to a model, whatever comes of it once the model is found.
///
/// # Errors
/// There is no such model or version, or it does not serve.
pub async fn infer(call: Call<'_>, target: &Target<'_>, protocol: Protocol) -> Answered {
    let connection = call.connection;
    let accepted = accept(&connection.thread.shared, call, target, protocol).await?;
    Ok(run(connection, accepted).await)
}

/// Finds the version and reads the body: all that a request's head is needed for.
///
/// # Errors
/// There is no such model or version, or it does not serve.
pub async fn accept<'a>(
    shared: &'a Shared,
    call: Call<'_>,
    target: &Target<'_>,
    protocol: Protocol,
) -> Result<Accepted<'a>, Failure> {
    let version = shared.services.active.get(&target.model, target.version.as_deref())?;
    let account = open_account(shared, &version, &call, protocol);
    let encodings = Encodings::of(call.headers);
    let content = match receive(shared, call.headers, call.body, protocol).await {
        Ok((form, received, held)) => {
            let pinned = target.version.is_some();
            Ok((Arrived { form, received, at: call.arrived, version, pinned }, held))
        }
        Err(failure) => Err(failure),
    };
    Ok(Accepted { account, content, encodings })
}

/// Answers an accepted request.
pub async fn run(connection: &Connection, accepted: Accepted<'_>) -> Response<Answer> {
    let shared = &connection.thread.shared;
    let retry_after = shared.settings.retry_after;
    let Accepted { account, content, encodings } = accepted;
    // Held until there is an answer, on whichever thread that is made.
    let (arrived, _held) = match content {
        Ok(content) => content,
        Err(failure) => return account.refuse(&failure, retry_after),
    };
    let Some(data) = connection.thread.idlest_data_thread() else {
        return answer(shared, account, arrived, Some(&connection.memo)).await;
    };
    // Boxed: the future of every inference would have to be as large as this rare one.
    Box::pin(answer_on(data, shared, account, arrived, encodings))
        .await
        .unwrap_or_else(|failure| failure.response(retry_after))
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
    Account::open(
        version,
        call.arrived,
        request_id::given(call.headers).map(request_id::detached),
        trace,
    )
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
    let (received, held) = body.receive(shared.body_limits()).await?;
    Ok((form, received, held))
}

/// Answers on a data thread.
///
/// # Errors
/// The thread is about to end.
async fn answer_on(
    data: &DataThread,
    shared: &Arc<Shared>,
    account: Box<Account>,
    arrived: Arrived,
    encodings: Encodings,
) -> Answered {
    let (mut sender, answered) = oneshot::channel();
    let shared = shared.clone();
    let work = Box::new(move || -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let response = async {
                let mut response = answer(&shared, account, arrived, None).await;
                compress(&mut response, encodings);
                response
            };
            tokio::select! {
                response = response => drop(sender.send(response)),
                // The client has gone: the request leaves the queue with its future.
                () = sender.closed() => {}
            }
        })
    });
    data.handoffs.send(Handoff::Work(work)).await.map_err(|_| Failure::Stopping)?;
    answered.await.map_err(|_| Failure::Stopping)
}

/// Answers where the model is run; the response carries its account.
async fn answer(
    shared: &Shared,
    mut account: Box<Account>,
    arrived: Arrived,
    memo: Option<&RefCell<HeaderMemo>>,
) -> Response<Answer> {
    match attempt(shared, &mut account, arrived, memo).await {
        Ok(response) => account.accept(response),
        Err(failure) => account.refuse(&failure, shared.settings.retry_after),
    }
}

async fn attempt(
    shared: &Shared,
    account: &mut Account,
    arrived: Arrived,
    memo: Option<&RefCell<HeaderMemo>>,
) -> Answered {
    let limits = Limits { max_json_depth: shared.settings.max_json_depth };
    let Arrived { form, received, at, mut version, pinned } = arrived;
    let (body, _held) = received.decompressed(shared.body_limits())?;
    loop {
        let decoded = form.decode(body.clone(), &version, &limits, memo)?;
        let result = run_decoded(&version, decoded, at, account).await;
        if !matches!(result, Err(Failure::Request(RequestError::Closed))) {
            return result;
        }
        // A version that closed between lookup and queue has a successor, or none.
        let number = pinned.then(|| version.number.to_string());
        let successor = shared.services.active.get(&version.model, number.as_deref())?;
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
