//! A request's body to an [`InferRequest`], and the memory of the last one's JSON.

use bytes::Bytes;

use super::binary::{Tail, decode_raw};
use super::header::{Header, json_text};
use super::infer::InferRequest;
use super::{Limits, ProtocolError};
use crate::tensor::TensorSpec;

/// A header longer than this is not remembered: comparing would cost what reading does.
const MEMO_BYTES: usize = 4096;

/// Value of the header `Inference-Header-Content-Length`.
///
/// # Errors
/// It is no count of bytes.
pub fn parse_header_length(value: &str) -> Result<usize, ProtocolError> {
    // `parse` would take a sign.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(|| {
        let actual = format!("{:?}", super::json::excerpt(value));
        ProtocolError::field("Inference-Header-Content-Length", "a count of bytes", actual)
    })
}

/// Decodes a request of the Open Inference Protocol.
///
/// `header_length` is the value of the HTTP header `Inference-Header-Content-Length`: `None`
/// makes the whole body JSON, 0 makes it the model's one input. `inputs` are the model's, and
/// only that raw form looks at them: names, types and shapes are compared by
/// [`resolve_inputs`](super::resolve_inputs).
///
/// # Errors
/// As [`ProtocolError`] says; all are the client's to mend.
pub fn decode_infer(
    body: Bytes,
    header_length: Option<usize>,
    inputs: &[TensorSpec],
    limits: &Limits,
) -> Result<InferRequest, ProtocolError> {
    if header_length == Some(0) {
        return decode_raw(body, inputs);
    }
    let length = header_length.unwrap_or(body.len());
    let header = read_header(&body, length, limits)?;
    header.attach(Tail::new(body, length))
}

fn read_header(body: &Bytes, length: usize, limits: &Limits) -> Result<Header, ProtocolError> {
    let Some(bytes) = body.get(..length) else {
        let expected = format!("at most the body's length, {}", body.len());
        let field = "Inference-Header-Content-Length";
        return Err(ProtocolError::field(field, expected, length.to_string()));
    };
    Header::read(json_text(bytes)?, body, limits)
}

/// Decodes requests and remembers the last one's JSON: a client that sends tensors in binary
/// repeats it to the byte, and comparing it is many times quicker than reading it. One per
/// thread or connection; it keeps nothing of a body.
#[derive(Debug)]
pub struct HeaderMemo {
    limits: Limits,
    text: Vec<u8>,
    /// What `text` says.
    header: Option<Header>,
}

impl HeaderMemo {
    pub fn new(limits: Limits) -> HeaderMemo {
        HeaderMemo { limits, text: Vec::new(), header: None }
    }

    /// As [`decode_infer`].
    ///
    /// # Errors
    /// As [`decode_infer`].
    pub fn decode_infer(
        &mut self,
        body: Bytes,
        header_length: Option<usize>,
        inputs: &[TensorSpec],
    ) -> Result<InferRequest, ProtocolError> {
        let length = match header_length {
            Some(length @ 1..=MEMO_BYTES) if length <= body.len() => length,
            _ => return decode_infer(body, header_length, inputs, &self.limits),
        };
        if let Some(header) = &self.header
            && self.text == body[..length]
        {
            return header.attach(Tail::new(body, length));
        }
        let header = read_header(&body, length, &self.limits)?;
        if header.is_template() {
            self.text.clear();
            self.text.extend_from_slice(&body[..length]);
            self.header = Some(header.clone());
        }
        header.attach(Tail::new(body, length))
    }
}
