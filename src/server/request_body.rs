//! A request's body: within its limits, whole, decompressed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use super::compression::{DecodeError, Encoding};
use super::inflight::{Hold, Inflight, InflightFull};
use super::progress::Progress;

/// Memory taken for a body on the word of its `Content-Length` alone; the rest is taken as it
/// really comes.
const TRUSTED_LENGTH: usize = 1024 * 1024;

/// A body of up to this many bytes is copied out of the buffer that it was read into, which would
/// otherwise wait with it: hyper reads into 8 KiB at a time, and many small requests may wait.
const DETACHED_BYTES: usize = 4 * 1024;

/// Length of the JSON in front of binary tensors.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// What a body must keep to.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits<'a> {
    pub max_bytes: usize,
    pub timeout: Duration,
    /// What all bodies take together.
    pub inflight: &'a Inflight,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body has {actual} bytes, at most {limit} are allowed")]
    TooLarge { actual: u64, limit: usize },
    #[error("the body is longer than the {limit} bytes allowed")]
    TooLong { limit: usize },
    #[error("the body did not come within {} seconds", timeout.as_secs_f32())]
    Late { timeout: Duration },
    #[error(transparent)]
    Full(#[from] InflightFull),
    #[error("content encoding {name:?} is not known; known are gzip, deflate, zstd and identity")]
    UnknownEncoding { name: String },
    #[error(transparent)]
    Encoding(#[from] DecodeError),
    #[error(
        "content type {name:?} is not one of a request; send application/json, or \
             application/octet-stream with the header Inference-Header-Content-Length"
    )]
    WrongType { name: String },
    #[error("the body could not be read: {reason}")]
    Broken { reason: String },
}

/// A request's body, not yet read. Its connection is told where it is dropped before its end.
pub struct RequestBody<'a> {
    incoming: Incoming,
    headers: &'a HeaderMap,
    progress: &'a Progress,
    ended: bool,
}

impl<'a> RequestBody<'a> {
    pub fn new(incoming: Incoming, headers: &'a HeaderMap, progress: &'a Progress) -> Self {
        let ended = incoming.is_end_stream();
        RequestBody { incoming, headers, progress, ended }
    }

    /// Receives the whole body and decompresses it.
    ///
    /// # Errors
    /// As [`BodyError`] says.
    pub async fn read<'l>(mut self, limits: BodyLimits<'l>) -> Result<Whole<'l>, BodyError> {
        let (received, as_it_came) = self.receive(limits).await?;
        let (bytes, as_it_is_meant) = received.decompressed(limits)?;
        Ok(Whole { bytes, _held: [as_it_came, as_it_is_meant] })
    }

    /// Receives the whole body, and holds the memory that it takes.
    ///
    /// # Errors
    /// As [`BodyError`] says. The head is checked before anything is read.
    pub async fn receive<'l>(
        &mut self,
        limits: BodyLimits<'l>,
    ) -> Result<(Received, Hold<'l>), BodyError> {
        let limit = limits.max_bytes;
        check_type(self.headers)?;
        let encoding = encoding_of(self.headers)?;
        let mut held = limits.inflight.hold();
        if let Some(actual) = self.incoming.size_hint().exact() {
            let length = usize::try_from(actual).ok().filter(|&length| length <= limit);
            let length = length.ok_or(BodyError::TooLarge { actual, limit })?;
            // Before it comes: a body that is refused half-way has cost its transfer.
            held.grow_to(length)?;
        }
        if self.ended {
            return Ok((Received { bytes: Bytes::new(), encoding: None }, held));
        }
        let bytes = {
            let mut collected = pin!(self.collect(limit, &mut held));
            // Nearly every small body is there already, and needs no timer.
            let first_look = poll_fn(|context| Poll::Ready(collected.as_mut().poll(context)));
            match first_look.await {
                Poll::Ready(bytes) => bytes?,
                Poll::Pending => Box::pin(tokio::time::timeout(limits.timeout, collected))
                    .await
                    .map_err(|_| BodyError::Late { timeout: limits.timeout })??,
            }
        };
        Ok((Received { bytes, encoding }, held))
    }

    /// Collects the frames. A larger body in one frame is not copied.
    async fn collect(&mut self, limit: usize, held: &mut Hold<'_>) -> Result<Bytes, BodyError> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        check_length(first.len(), limit)?;
        held.grow_to(first.len())?;
        if self.ended {
            let small = first.len() <= DETACHED_BYTES;
            return Ok(if small { Bytes::copy_from_slice(&first) } else { first });
        }
        let expected = self.incoming.size_hint().lower().try_into().unwrap_or(usize::MAX);
        let mut whole = BytesMut::with_capacity(first.len() + expected.min(TRUSTED_LENGTH));
        whole.extend_from_slice(&first);
        drop(first);
        while let Some(frame) = self.next().await? {
            check_length(whole.len() + frame.len(), limit)?;
            held.grow_to(whole.len() + frame.len())?;
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    }

    /// The next bytes; trailers are passed over.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while !self.ended {
            let Some(frame) = self.incoming.frame().await else {
                self.ended = true;
                break;
            };
            let frame = frame.map_err(|error| BodyError::Broken { reason: error.to_string() })?;
            self.ended = self.incoming.is_end_stream();
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// A body as it came.
pub struct Received {
    bytes: Bytes,
    encoding: Option<Encoding>,
}

impl Received {
    /// The body as it was meant, with a hold on what decompression added; the limits hold after
    /// it too.
    ///
    /// # Errors
    /// It is corrupt, too large once decompressed, or there is no room for it.
    pub fn decompressed<'l>(&self, limits: BodyLimits<'l>) -> Result<(Bytes, Hold<'l>), BodyError> {
        let mut held = limits.inflight.hold();
        let bytes = match self.encoding {
            None => self.bytes.clone(),
            Some(encoding) => encoding.decode(&self.bytes, limits.max_bytes, &mut held)?,
        };
        Ok((bytes, held))
    }
}

/// A body as it was meant, with its memory.
pub struct Whole<'a> {
    pub bytes: Bytes,
    /// Kept for as long as the body, or what was made of it.
    _held: [Hold<'a>; 2],
}

impl Drop for RequestBody<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.progress.leave_unread();
        }
    }
}

fn check_length(length: usize, limit: usize) -> Result<(), BodyError> {
    if length > limit { Err(BodyError::TooLong { limit }) } else { Ok(()) }
}

fn encoding_of(headers: &HeaderMap) -> Result<Option<Encoding>, BodyError> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(None) };
    let known = value.to_str().ok().and_then(Encoding::of_content);
    known.ok_or_else(|| BodyError::UnknownEncoding { name: text_of(value) })
}

/// Refuses what is clearly something else. A body with a header length may have any type, for it
/// may be one raw tensor, an image say; and `curl --data` says it sends a form, whatever it sends.
fn check_type(headers: &HeaderMap) -> Result<(), BodyError> {
    const KNOWN: [&str; 4] = [
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    ];
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let name = text.split(';').next().unwrap_or_default().trim();
    let known = name.is_empty()
        || KNOWN.into_iter().any(|known| known.eq_ignore_ascii_case(name))
        || name.ends_with("+json");
    if known || headers.contains_key(HEADER_LENGTH) {
        return Ok(());
    }
    Err(BodyError::WrongType { name: text_of(value) })
}

fn text_of(value: &hyper::header::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn typed(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_clearly_wrong_types_are_refused() {
        for good in [
            "",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.api+json",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
        ] {
            assert!(check_type(&typed(good)).is_ok(), "{good}");
        }
        for bad in ["text/html", "multipart/form-data; boundary=x", "application/xml"] {
            assert!(check_type(&typed(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_raw_tensor_may_have_any_type() {
        let mut headers = typed("image/jpeg");
        assert!(check_type(&headers).is_err());
        headers.insert(HEADER_LENGTH, HeaderValue::from_static("0"));
        assert!(check_type(&headers).is_ok());
    }
}
