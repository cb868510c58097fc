//! Inference over the Open Inference Protocol.
//!
//! The body is read where the connection lives; everything after it (decoding, the model's run,
//! encoding) happens on a data thread, so that a connection which began with a health check does
//! not bring models to the admin thread.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::batching::{Reply, Request, RequestError};
use crate::lifecycle::ActiveVersion;
use crate::protocol::{
    HeaderMemo, InferRequest, InferResponse, Limits, OutputTensor, classify, decode_infer,
    encode_infer, parse_header_length, resolve_inputs, resolve_outputs,
};
use crate::server::account::Account;
use crate::server::network::{DataThread, Handoff, Shared};
use crate::server::request_body::HEADER_LENGTH;
use crate::server::respond::{BINARY, Failure, JSON};
use crate::server::response_body::Answer;
use crate::server::router::Target;
use crate::server::service::Call;

/// A request whose body is there.
struct Arrived {
    body: Bytes,
    /// Length of the JSON in front of binary tensors, where there are some.
    header_length: Option<usize>,
    at: Instant,
}

pub async fn infer(call: Call<'_>, target: &Target<'_>) -> Result<Response<Answer>, Failure> {
    let thread = &call.connection.thread;
    let shared = &thread.shared;
    let version = shared.services.active.get(&target.model, target.version.as_deref())?;
    let account = Account::open(version, call.arrived);
    let read = async {
        let header_length = header_length(call.headers)?;
        let body = call.body.read(shared.body_limits()).await?;
        Ok(Arrived { body, header_length, at: call.arrived })
    };
    let arrived = match read.await {
        Ok(arrived) => arrived,
        Err(failure) => return Ok(account.refuse(&failure, shared.settings.retry_after)),
    };
    match thread.idlest_data_thread() {
        None => Ok(run(shared, target, account, arrived, Some(&call.connection.memo)).await),
        Some(data) => run_on(data, shared.clone(), target, account, arrived).await,
    }
}

/// Runs a request on a data thread.
async fn run_on(
    data: &DataThread,
    shared: Arc<Shared>,
    target: &Target<'_>,
    account: Account,
    arrived: Arrived,
) -> Result<Response<Answer>, Failure> {
    let (mut answer, answered) = oneshot::channel();
    let target = target.clone().into_owned();
    let work = Box::new(move || -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let running = run(&shared, &target, account, arrived, None);
            tokio::select! {
                response = running => drop(answer.send(response)),
                // The client has gone: the request leaves the queue with its future.
                () = answer.closed() => {}
            }
        })
    });
    let sent = data.handoffs.send(Handoff::Work(work)).await;
    sent.map_err(|_| Failure::Stopping)?;
    answered.await.map_err(|_| Failure::Stopping)
}

/// Runs a request; the response carries its account.
async fn run(
    shared: &Shared,
    target: &Target<'_>,
    mut account: Account,
    arrived: Arrived,
    memo: Option<&RefCell<HeaderMemo>>,
) -> Response<Answer> {
    let limits = Limits { max_json_depth: shared.settings.max_json_depth };
    let decode = |version: &ActiveVersion| {
        let body = arrived.body.clone();
        let inputs = &version.batcher.signature().inputs;
        match memo {
            Some(memo) => memo.borrow_mut().decode_infer(body, arrived.header_length, inputs),
            None => decode_infer(body, arrived.header_length, inputs, &limits),
        }
    };
    let result = loop {
        let decoded = decode(account.version()).map_err(Failure::from);
        let result = match decoded {
            Ok(request) => run_decoded(account.version(), request, arrived.at).await,
            Err(failure) => Err(failure),
        };
        // A version that closed between lookup and queue has a successor, or none.
        if !matches!(result, Err(Failure::Request(RequestError::Closed))) {
            break result;
        }
        let successor = shared.services.active.get(&target.model, target.version.as_deref());
        match successor {
            Ok(version) => {
                if !account.moved_to(version) {
                    break result;
                }
            }
            Err(error) => break Err(error.into()),
        }
    };
    match result {
        Ok(response) => account.accept(response),
        Err(failure) => account.refuse(&failure, shared.settings.retry_after),
    }
}

async fn run_decoded(
    version: &ActiveVersion,
    mut request: InferRequest,
    arrived: Instant,
) -> Result<Response<Answer>, Failure> {
    let signature = version.batcher.signature();
    let outputs = resolve_outputs(&request, &signature.outputs)?;
    let inputs = resolve_inputs(mem::take(&mut request.inputs), &signature.inputs)?;
    let reply = version
        .batcher
        .infer(Request {
            inputs,
            outputs: outputs.clone(),
            priority: request.priority,
            deadline: deadline(arrived, request.timeout_us),
            arrived,
        })
        .await?;
    encode(version, &request, &outputs, reply)
}

fn encode(
    version: &ActiveVersion,
    request: &InferRequest,
    outputs: &[usize],
    reply: Reply,
) -> Result<Response<Answer>, Failure> {
    let specs = &version.batcher.signature().outputs;
    let mut encoded = SmallVec::new();
    for (position, (&index, tensor)) in outputs.iter().zip(reply.outputs).enumerate() {
        let name = specs[index].name.as_str();
        let tensor = match request.classification(position) {
            0 => tensor,
            classes => {
                let labels = version.labels.get(name).map(Vec::as_slice);
                classify(&tensor, classes, labels)?
            }
        };
        encoded.push(OutputTensor { name, tensor, binary: request.binary_output(position) });
    }
    let body = encode_infer(InferResponse {
        model_name: &version.model,
        model_version: version.number,
        id: request.id.as_deref(),
        outputs: encoded,
    })?;
    let mut response = Response::new(Answer { parts: body.parts, account: None });
    let headers = response.headers_mut();
    match body.header_length {
        None => headers.insert(CONTENT_TYPE, JSON),
        Some(length) => {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
            headers.insert(CONTENT_TYPE, BINARY)
        }
    };
    Ok(response)
}

/// When the client no longer waits. A timeout of 0 is none, as in Triton; one beyond the clock's
/// range is none either.
fn deadline(arrived: Instant, timeout_us: Option<u64>) -> Option<Instant> {
    let timeout = timeout_us.filter(|&timeout| timeout > 0)?;
    arrived.checked_add(Duration::from_micros(timeout))
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    Ok(Some(parse_header_length(text.trim())?))
}
