//! A request's body to an [`InferRequest`].

use bytes::Bytes;

use super::binary::decode_raw;
use super::header::RequestHeader;
use super::infer::InferRequest;
use super::{ProtocolError, Terms};

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
/// makes the whole body JSON, 0 makes it the model's one input.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_infer(
    body: Bytes,
    header_length: Option<usize>,
    terms: &Terms<'_>,
) -> Result<InferRequest, ProtocolError> {
    if header_length == Some(0) {
        return decode_raw(body, terms.inputs);
    }
    let length = header_length.unwrap_or(body.len());
    RequestHeader::read(&body, length, terms)?.into_request(body, length, terms.room)
}
