//! What a request of the Open Inference Protocol asks, held against its model's signature; and the
//! memory of the last one.
//!
//! A client that sends tensors in binary repeats the JSON in front of them to the byte, and mostly
//! gets the same JSON back in front of its answer's. Comparing and copying them is many times
//! quicker than reading and writing.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::Signature;
use crate::protocol::{
    Body, InferRequest, ProtocolError, RequestHeader, Room, Terms, decode_infer, encode_behind,
    resolve_inputs, resolve_outputs,
};
use crate::tensor::{DataType, Shape, Tensor};

/// JSON longer than this is not remembered: comparing would cost what reading does.
const MEMO_BYTES: usize = 4096;

/// All of a request but its tensors.
#[derive(Debug)]
pub struct Asked {
    /// Without its inputs.
    pub request: InferRequest,
    /// Indices into the signature's outputs, in the order wanted.
    pub outputs: SmallVec<[usize; 4]>,
    /// Of the last answer to the same JSON.
    answered: RefCell<Option<Answered>>,
}

/// An answer in which every output is numbers in binary: its JSON depends on their types and
/// shapes alone.
#[derive(Debug)]
struct Answered {
    outputs: SmallVec<[(DataType, Shape); 2]>,
    json: Vec<u8>,
}

/// A request and its tensors.
#[derive(Debug)]
pub struct InferCall {
    pub asked: Rc<Asked>,
    /// In the signature's order; `None` leaves an optional input to its default.
    pub inputs: Vec<Option<Tensor>>,
}

impl InferCall {
    /// Decodes a body; `header_length` as in [`decode_infer`], `terms` of this signature.
    ///
    /// # Errors
    /// The body is no request, or does not fit the signature.
    pub fn decode(
        body: Bytes,
        header_length: Option<usize>,
        signature: &Signature,
        terms: &Terms<'_>,
    ) -> Result<InferCall, ProtocolError> {
        let request = decode_infer(body, header_length, terms)?;
        InferCall::resolve(request, signature)
    }

    fn resolve(
        mut request: InferRequest,
        signature: &Signature,
    ) -> Result<InferCall, ProtocolError> {
        let outputs = resolve_outputs(&request, &signature.outputs)?;
        let inputs = resolve_inputs(mem::take(&mut request.inputs), &signature.inputs)?;
        let asked = Asked { request, outputs, answered: RefCell::new(None) };
        Ok(InferCall { asked: Rc::new(asked), inputs })
    }
}

impl Asked {
    /// The body that answers with these outputs, where the last answer's JSON serves again.
    pub fn answer_again(&self, outputs: &[Tensor]) -> Option<Body> {
        let answered = self.answered.borrow();
        let Answered { outputs: last, json } = answered.as_ref()?;
        let same = last.len() == outputs.len()
            && last.iter().zip(outputs).all(|((data_type, shape), tensor)| {
                *data_type == tensor.data_type() && **shape == *tensor.shape()
            });
        same.then(|| encode_behind(json, outputs.iter()))
    }

    /// Remembers the JSON of an answer, where it would be the same for other values.
    pub fn note_answer(&self, outputs: SmallVec<[(DataType, Shape); 2]>, body: &Body) {
        let request = &self.request;
        let plain = (0..outputs.len()).all(|position| {
            request.binary_output(position) && request.classification(position) == 0
        });
        let numbers = outputs.iter().all(|(data_type, _)| *data_type != DataType::String);
        let json = body.header_length.and_then(|length| body.parts.first()?.get(..length));
        if let Some(json) = json
            && plain
            && numbers
            && json.len() <= MEMO_BYTES
        {
            *self.answered.borrow_mut() = Some(Answered { outputs, json: json.to_vec() });
        }
    }
}

/// Decodes requests and remembers the last one's JSON. One per connection; it keeps nothing of a
/// body.
#[derive(Debug, Default)]
pub struct Memo {
    text: Vec<u8>,
    /// What `text` says.
    last: Option<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    /// What it was held against: another version has another one.
    signature: Arc<Signature>,
    header: RequestHeader,
    /// Where the header's inputs are in the signature.
    places: SmallVec<[usize; 4]>,
    asked: Rc<Asked>,
}

impl Memo {
    /// As [`InferCall::decode`].
    ///
    /// # Errors
    /// As [`InferCall::decode`].
    pub fn decode(
        &mut self,
        body: Bytes,
        header_length: Option<usize>,
        signature: &Arc<Signature>,
        terms: &Terms<'_>,
    ) -> Result<InferCall, ProtocolError> {
        let length = match header_length {
            Some(length @ 1..=MEMO_BYTES) if length <= body.len() => length,
            _ => return InferCall::decode(body, header_length, signature, terms),
        };
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.signature, signature)
            && self.text == body[..length]
        {
            return last.call(body, length, terms.room);
        }
        let header = RequestHeader::read(&body, length, terms)?;
        let template = header.is_template().then(|| (body.slice(..length), header.clone()));
        let call = InferCall::resolve(header.into_request(body, length, terms.room)?, signature)?;
        if let Some((text, header)) = template {
            self.text.clear();
            self.text.extend_from_slice(&text);
            self.last = Some(Remembered::new(signature, header, &call));
        }
        Ok(call)
    }
}

impl Remembered {
    fn new(signature: &Arc<Signature>, header: RequestHeader, call: &InferCall) -> Remembered {
        let place = |name: &str| {
            let found = signature.inputs.iter().position(|spec| spec.name == name);
            found.expect("the request was resolved against this signature")
        };
        let places = header.inputs().map(place).collect();
        Remembered { signature: signature.clone(), header, places, asked: call.asked.clone() }
    }

    /// The same request with the tensors of this body.
    fn call(&self, body: Bytes, length: usize, room: Room<'_>) -> Result<InferCall, ProtocolError> {
        let mut inputs: Vec<Option<Tensor>> = vec![None; self.signature.inputs.len()];
        self.header.tensors(body, length, room, |index, tensor| {
            inputs[self.places[index]] = Some(tensor);
        })?;
        Ok(InferCall { asked: self.asked.clone(), inputs })
    }
}
