//! The two forms of a request and its response: the Open Inference Protocol and TensorFlow
//! Serving's. What lies between them is the same.

use std::cell::RefCell;
use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use smallvec::SmallVec;

use super::asked::{Asked, InferCall, Memo};
use crate::batching::{Reply, Request};
use crate::lifecycle::ActiveVersion;
use crate::protocol::v1::{PredictRequest, decode_predict, encode_predictions};
use crate::protocol::{
    Body, InferResponse, OutputTensor, ProtocolError, Terms, classify, encode_infer, resolve_inputs,
};
use crate::server::request_body::HEADER_LENGTH;
use crate::server::respond::{self, BINARY, Failure, JSON};
use crate::server::response_body::Answer;
use crate::tensor::{Shape, Tensor};

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// With the length of the JSON in front of binary tensors, where there are some.
    V2 {
        header_length: Option<usize>,
    },
    V1,
}

/// The only signature that a model has, by TensorFlow Serving's name for it.
const SIGNATURE: &str = "serving_default";

/// A request as its form has it, without its inputs once they are taken.
pub enum Decoded {
    V2(InferCall),
    V1(PredictRequest),
}

impl Form {
    /// Reads a body for this version, of whose inputs `terms` are.
    ///
    /// # Errors
    /// The body is not what the form wants.
    pub fn decode(
        self,
        body: Bytes,
        version: &ActiveVersion,
        terms: &Terms<'_>,
        memo: Option<&RefCell<Memo>>,
    ) -> Result<Decoded, ProtocolError> {
        let signature = version.batcher.signature();
        match (self, memo) {
            (Form::V2 { header_length }, Some(memo)) => {
                memo.borrow_mut().decode(body, header_length, signature, terms).map(Decoded::V2)
            }
            (Form::V2 { header_length }, None) => {
                InferCall::decode(body, header_length, signature, terms).map(Decoded::V2)
            }
            (Form::V1, _) => {
                let request = decode_predict(body, terms)?;
                check_signature(&request)?;
                Ok(Decoded::V1(request))
            }
        }
    }
}

fn check_signature(request: &PredictRequest) -> Result<(), ProtocolError> {
    match request.signature_name.as_deref() {
        None | Some("" | SIGNATURE) => Ok(()),
        Some(other) => Err(ProtocolError::Field {
            field: "signature_name".to_owned(),
            expected: format!("{SIGNATURE:?} or nothing"),
            actual: format!("{other:?}"),
        }),
    }
}

impl Decoded {
    /// What is queued; takes the inputs.
    ///
    /// # Errors
    /// The request does not fit the model's signature.
    pub fn take_request(
        &mut self,
        version: &ActiveVersion,
        arrived: Instant,
    ) -> Result<Request, ProtocolError> {
        match self {
            Decoded::V2(InferCall { asked, inputs }) => Ok(Request {
                outputs: asked.outputs.clone(),
                inputs: mem::take(inputs),
                priority: asked.request.priority,
                deadline: deadline(arrived, asked.request.timeout_us),
                arrived,
            }),
            Decoded::V1(request) => {
                let signature = version.batcher.signature();
                Ok(Request {
                    outputs: (0..signature.outputs.len()).collect(),
                    inputs: resolve_inputs(mem::take(&mut request.inputs), &signature.inputs)?,
                    priority: 0,
                    deadline: None,
                    arrived,
                })
            }
        }
    }

    /// The response to a request that was queued.
    ///
    /// # Errors
    /// An output cannot be written in this form.
    pub fn encode(
        &self,
        version: &ActiveVersion,
        reply: Reply,
    ) -> Result<Response<Answer>, Failure> {
        match self {
            Decoded::V2(call) => encode_v2(&call.asked, version, reply),
            Decoded::V1(request) => {
                let specs = &version.batcher.signature().outputs;
                let names = specs.iter().map(|spec| spec.name.as_str());
                let named: Vec<_> = names.zip(reply.outputs).collect();
                Ok(respond::json(encode_predictions(request.format, &named)?))
            }
        }
    }
}

fn encode_v2(
    asked: &Asked,
    version: &ActiveVersion,
    reply: Reply,
) -> Result<Response<Answer>, Failure> {
    if let Some(body) = asked.answer_again(&reply.outputs) {
        return Ok(respond_with(body));
    }
    let forms = |tensor: &Tensor| (tensor.data_type(), Shape::from_slice(tensor.shape()));
    let answered = reply.outputs.iter().map(forms).collect();
    let specs = &version.batcher.signature().outputs;
    let mut encoded = SmallVec::new();
    for (position, (&index, tensor)) in asked.outputs.iter().zip(reply.outputs).enumerate() {
        let name = specs[index].name.as_str();
        let tensor = match asked.request.classification(position) {
            0 => tensor,
            classes => {
                let labels = version.labels.get(name).map(Vec::as_slice);
                classify(&tensor, classes, labels)?
            }
        };
        encoded.push(OutputTensor { name, tensor, binary: asked.request.binary_output(position) });
    }
    let body = encode_infer(InferResponse {
        model_name: &version.model,
        model_version: version.number,
        id: asked.request.id.as_deref(),
        outputs: encoded,
    })?;
    asked.note_answer(answered, &body);
    Ok(respond_with(body))
}

fn respond_with(body: Body) -> Response<Answer> {
    let mut response = Response::new(Answer { parts: body.parts, account: None });
    let headers = response.headers_mut();
    match body.header_length {
        None => headers.insert(CONTENT_TYPE, JSON),
        Some(length) => {
            headers.insert(HEADER_LENGTH, length_value(length));
            headers.insert(CONTENT_TYPE, BINARY)
        }
    };
    response
}

/// A length as a header's value; the thread's last one is kept, because a model's answers mostly
/// have the same length and making a value allocates.
fn length_value(length: usize) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(usize, HeaderValue)> = RefCell::new((0, HeaderValue::from(0usize)));
    }
    LAST.with_borrow_mut(|(last, value)| {
        if *last != length {
            (*last, *value) = (length, HeaderValue::from(length));
        }
        value.clone()
    })
}

/// When the client no longer waits. A timeout of 0 is none, as in Triton; one beyond the clock's
/// range is none either.
fn deadline(arrived: Instant, timeout_us: Option<u64>) -> Option<Instant> {
    let timeout = timeout_us.filter(|&timeout| timeout > 0)?;
    arrived.checked_add(Duration::from_micros(timeout))
}
