//! The identity of a request in logs: the client's own, or one that is made where something is
//! to be said about the request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Given back as it came, so that a client's own logs and ours can be laid side by side.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer one is not an identity.
const MAX_LENGTH: usize = 256;

/// The client's own identity of a request.
pub fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(REQUEST_ID).filter(|id| id.len() <= MAX_LENGTH)
}

/// The same, without the head that it came in.
pub fn detached(id: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(id.as_bytes()).expect("it is a header's value already")
}

/// A new one: a counter, behind a word that tells this process from others.
pub fn made() -> HeaderValue {
    static PROCESS: LazyLock<u32> =
        LazyLock::new(|| RandomState::new().hash_one(std::process::id()) as u32);
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let text = format!("{:08x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(text).expect("digits and a dash may stand in a header")
}

/// How logs write it.
pub fn text(id: &HeaderValue) -> String {
    String::from_utf8_lossy(id.as_bytes()).into_owned()
}
