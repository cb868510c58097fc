//! The thread that sends spans: one POST a second at most, or one for as many spans as a body may
//! carry; retries for a while, then gives up on that batch and says so.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::{Span, TraceError, payload};
use crate::telemetry::events::{spans_exported, spans_lost};

/// Spans wait this long for others to share a body with.
const INTERVAL: Duration = Duration::from_secs(1);
/// A body of this many spans is sent at once: about 200 KB.
const MAX_SPANS: usize = 512;
/// Pauses before the second, third and fourth attempt.
const BACKOFF: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// Of an answer that says no more than how many spans were refused.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;
const DEFAULT_PORT: u16 = 4318;
const DEFAULT_PATH: &str = "/v1/traces";

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As the header `Host` wants it.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Endpoint, TraceError> {
        let wrong = |reason| TraceError::Endpoint { endpoint: text.to_owned(), reason };
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(wrong("TLS is not spoken here")),
            _ => return Err(wrong("not an http:// address")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        // The path goes into the request's first line as it is.
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("spaces and other than printable ASCII are not allowed"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("the port is not a number up to 65535"))?)
            }
            _ => (authority, DEFAULT_PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['@', '?', '#']) {
            return Err(wrong("no host"));
        }
        Ok(Endpoint {
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path: if path == "/" { DEFAULT_PATH } else { path }.to_owned(),
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends one body and reads the answer: its status, and what is not its head.
    fn post(&self, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = self.connect()?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: onnxd/{}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.path,
            self.authority,
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        // An endpoint that keeps the connection open all the same costs the timeout, not the
        // answer.
        match stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut answer) {
            Err(error) if answer.is_empty() => return Err(error),
            _ => {}
        }
        let status = answer
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))?;
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let body = head.map_or(Vec::new(), |at| answer.split_off(at + 4));
        Ok((status, body))
    }
}

/// Ends the pauses between attempts. Set by the tracer's shutdown, waited for by the exporter.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub(super) fn set(&self) {
        let (stopped, changed) = &*self.0;
        *stopped.lock() = true;
        changed.notify_all();
    }

    /// Waits this long unless told to stop; says whether it was.
    fn pause(&self, time: Duration) -> bool {
        let (stopped, changed) = &*self.0;
        let mut stopped = stopped.lock();
        changed.wait_while_for(&mut stopped, |stopped| !*stopped, time);
        *stopped
    }
}

pub(super) struct Exporter {
    endpoint: Endpoint,
    resource: Value,
    receiver: Receiver<Vec<Span>>,
    stop: Stop,
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        resource: Value,
        receiver: Receiver<Vec<Span>>,
        stop: Stop,
    ) -> Exporter {
        Exporter { endpoint, resource, receiver, stop }
    }

    /// Sends until the tracer is gone and all it left is sent.
    pub(super) fn run(self) {
        while let Ok(mut spans) = self.receiver.recv() {
            let due = Instant::now() + INTERVAL;
            while spans.len() < MAX_SPANS {
                match self.receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(more) => spans.extend(more),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.send(&spans);
        }
    }

    fn send(&self, spans: &[Span]) {
        let body = payload::request(&self.resource, spans);
        let mut pauses = BACKOFF.iter();
        loop {
            let error = match self.endpoint.post(&body) {
                Ok((200..=299, answer)) => {
                    let refused = refused_spans(&answer).min(spans.len());
                    spans_exported(spans.len() - refused);
                    if refused > 0 {
                        spans_lost("refused", refused, &"the endpoint took only a part");
                    }
                    return;
                }
                Ok((status @ (429 | 502 | 503 | 504), _)) => format!("status {status}"),
                Ok((status, _)) => {
                    return spans_lost("refused", spans.len(), &format!("status {status}"));
                }
                Err(error) => error.to_string(),
            };
            let again = pauses.next().is_some_and(|pause| !self.stop.pause(*pause));
            if !again {
                return spans_lost("dropped", spans.len(), &error);
            }
        }
    }
}

/// What a collector says it did not take, in an answer that is otherwise a success. The braces
/// are looked for because the body may come in chunks, with their sizes around it.
fn refused_spans(answer: &[u8]) -> usize {
    let first = answer.iter().position(|byte| *byte == b'{');
    let last = answer.iter().rposition(|byte| *byte == b'}');
    let (Some(first), Some(last)) = (first, last) else { return 0 };
    let Some(object) = answer.get(first..=last) else { return 0 };
    let Ok(value) = serde_json::from_slice::<Value>(object) else { return 0 };
    match &value["partialSuccess"]["rejectedSpans"] {
        Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_fill_in_port_and_path() {
        for (text, host, port, path) in [
            ("http://localhost:4318", "localhost", 4318, "/v1/traces"),
            ("http://collector/", "collector", 4318, "/v1/traces"),
            ("http://[::1]:9000/otlp", "::1", 9000, "/otlp"),
            ("http://[::1]", "::1", 4318, "/v1/traces"),
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            let Endpoint { host: h, port: p, path: at, .. } = endpoint;
            assert_eq!((h.as_str(), p, at.as_str()), (host, port, path), "{text}");
        }
    }

    #[test]
    fn wrong_endpoints_are_refused_with_the_form_expected() {
        for text in ["", "localhost:4318", "https://a", "http://", "http://a:x", "http://a/b c"] {
            let error = Endpoint::parse(text).expect_err(text).to_string();
            assert!(error.contains("expected http://HOST[:PORT][/PATH]"), "{error}");
        }
    }

    #[test]
    fn a_partial_success_is_understood_in_chunks_too() {
        assert_eq!(refused_spans(b"{}"), 0);
        assert_eq!(refused_spans(b""), 0);
        assert_eq!(refused_spans(b"}{"), 0);
        let answer = br#"{"partialSuccess":{"rejectedSpans":"3"}}"#;
        assert_eq!(refused_spans(answer), 3);
        let mut chunked = b"28\r\n".to_vec();
        chunked.extend_from_slice(answer);
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        assert_eq!(refused_spans(&chunked), 3);
    }
}
