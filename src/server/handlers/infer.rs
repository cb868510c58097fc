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

use hyper::Response;
use tokio::sync::oneshot;

use super::asked::Memo;
use super::form::{Decoded, Form};
use crate::batching::RequestError;
use crate::lifecycle::ActiveVersion;
use crate::protocol::{Limits, Terms, parse_header_length};
use crate::server::account::Account;
use crate::server::compression::{Encodings, compress};
use crate::server::connection::Connection;
use crate::server::inflight::Hold;
use crate::server::network::{DataThread, Handoff, Shared};
use crate::server::request_body::{HEADER_LENGTH, Received};
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

/// A request that has found its version, and whose body is there. It holds nothing of the head
/// that it came with.
pub struct Inference<'a> {
    run: Run,
    encodings: Encodings,
    /// On the body's memory, until there is an answer.
    held: Hold<'a>,
}

/// Why a request is not run.
pub enum Unaccepted {
    /// It has no version.
    Failed(Failure),
    /// Its body was not taken, which is on its version's account.
    Answered(Box<Response<Answer>>),
}

/// What is run, on whichever thread that is.
struct Run {
    account: Box<Account>,
    form: Form,
    body: Received,
    arrived: Instant,
    /// The version that was asked for, or that answered for its model when the request came.
    version: Arc<ActiveVersion>,
    /// Whether it was asked for by its number.
    pinned: bool,
}

/// Answers a request to a model, whatever comes of it once the model is found.
///
/// # Errors
/// There is no such model or version, or it does not serve.
pub async fn infer(mut call: Call<'_>, target: &Target<'_>, protocol: Protocol) -> Answered {
    let connection = call.connection;
    match accept(&connection.thread.shared, &mut call, target, protocol).await {
        Ok(inference) => Ok(inference.answer(connection).await),
        Err(Unaccepted::Answered(response)) => Ok(*response),
        Err(Unaccepted::Failed(failure)) => Err(failure),
    }
}

/// Finds the version and reads the body: all that a request's head is needed for.
///
/// # Errors
/// There is no such model or version, or it does not serve, or the body was not taken.
pub async fn accept<'a>(
    shared: &'a Shared,
    call: &mut Call<'_>,
    target: &Target<'_>,
    protocol: Protocol,
) -> Result<Inference<'a>, Unaccepted> {
    let version = shared.services.active.get(&target.model, target.version.as_deref());
    let version = version.map_err(|error| Unaccepted::Failed(error.into()))?;
    let account = open_account(shared, &version, call, protocol);
    let encodings = Encodings::of(call.headers);
    match receive(shared, call, protocol).await {
        Ok((form, body, held)) => {
            let pinned = target.version.is_some();
            let run = Run { account, form, body, arrived: call.arrived, version, pinned };
            Ok(Inference { run, encodings, held })
        }
        Err(failure) => {
            let response = account.refuse(&failure, shared.settings.retry_after);
            Err(Unaccepted::Answered(Box::new(response)))
        }
    }
}

impl Inference<'_> {
    /// Not an `async fn`, whose future would hold what it was given twice.
    pub fn answer(self, connection: &Connection) -> impl Future<Output = Response<Answer>> {
        let Inference { run, encodings, held } = self;
        async move {
            let shared = &connection.thread.shared;
            let _held = held;
            let Some(data) = connection.thread.idlest_data_thread() else {
                return run.answer(shared, Some(&connection.memo)).await;
            };
            // Boxed: the future of every inference would have to be as large as this rare one.
            Box::pin(run.answer_on(data, shared, encodings))
                .await
                .unwrap_or_else(|failure| failure.response(shared.settings.retry_after))
        }
    }
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
    call: &mut Call<'_>,
    protocol: Protocol,
) -> Result<(Form, Received, Hold<'a>), Failure> {
    let form = match (protocol, call.headers.get(HEADER_LENGTH)) {
        (Protocol::V1, _) => Form::V1,
        (Protocol::V2, None) => Form::V2 { header_length: None },
        (Protocol::V2, Some(value)) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            Form::V2 { header_length: Some(parse_header_length(text.trim())?) }
        }
    };
    let (body, held) = call.body.receive(shared.body_limits()).await?;
    Ok((form, body, held))
}

impl Run {
    /// Answers on a data thread.
    ///
    /// # Errors
    /// The thread is about to end.
    async fn answer_on(
        self,
        data: &DataThread,
        shared: &Arc<Shared>,
        encodings: Encodings,
    ) -> Answered {
        let (mut sender, answered) = oneshot::channel();
        let shared = shared.clone();
        let work = Box::new(move || -> Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(async move {
                let response = async {
                    let mut response = self.answer(&shared, None).await;
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

    /// Answers on this thread; the response carries the account.
    async fn answer(mut self, shared: &Shared, memo: Option<&RefCell<Memo>>) -> Response<Answer> {
        match self.attempt(shared, memo).await {
            Ok(response) => self.account.accept(response),
            Err(failure) => self.account.refuse(&failure, shared.settings.retry_after),
        }
    }

    async fn attempt(&mut self, shared: &Shared, memo: Option<&RefCell<Memo>>) -> Answered {
        let limits = Limits { max_json_depth: shared.settings.max_json_depth };
        let (body, _held) = self.body.decompressed(shared.body_limits())?;
        loop {
            // Lives as long as what was decoded.
            let strings = RefCell::new(shared.inflight.hold());
            let mut decoded = {
                let room =
                    |bytes| strings.borrow_mut().grow(bytes).map_err(|error| error.to_string());
                let inputs = &self.version.batcher.signature().inputs;
                let terms = Terms { inputs, limits: &limits, room: &room };
                self.form.decode(body.clone(), &self.version, &terms, memo)?
            };
            let result = self.attempt_decoded(&mut decoded).await;
            if !matches!(result, Err(Failure::Request(RequestError::Closed))) {
                return result;
            }
            // A version that closed between lookup and queue has a successor, or none.
            let number = self.pinned.then(|| self.version.number.to_string());
            let active = &shared.services.active;
            let successor = active.get(&self.version.model, number.as_deref())?;
            if Arc::ptr_eq(&successor, &self.version) {
                return result;
            }
            self.account.moved_to(&successor);
            self.version = successor;
        }
    }

    async fn attempt_decoded(&mut self, decoded: &mut Decoded) -> Answered {
        let batcher = &self.version.batcher;
        let mut queued = batcher.queue(decoded.take_request(&self.version, self.arrived)?)?;
        let reply = batcher.reply(&mut queued).await?;
        self.account.replied(&reply.timing);
        decoded.encode(&self.version, reply)
    }
}
