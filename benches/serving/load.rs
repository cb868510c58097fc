//! A closed-loop HTTP/1.1 load generator: each connection sends a request, reads the whole
//! answer, and sends the next. One thread, so that on two cores the server has one to itself.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What to send, and for how long.
pub struct Load {
    pub address: SocketAddr,
    /// Whole requests, head and body, sent in turn by each connection.
    pub requests: Rc<Vec<Vec<u8>>>,
    pub connections: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What came back while the clock ran.
#[derive(Clone, Debug)]
pub struct Measured {
    pub requests: usize,
    pub seconds: f64,
    /// Median latency in microseconds.
    pub median_us: f64,
    pub p99_us: f64,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Runs the load; `at_start` and `at_end` are called when the measured span begins and ends.
pub fn run(load: &Load, at_start: impl FnOnce(), at_end: impl FnOnce()) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let begin = Instant::now() + load.warm_up;
        let end = begin + load.duration;
        let mut connections = Vec::new();
        for index in 0..load.connections {
            let requests = Rc::clone(&load.requests);
            let address = load.address;
            connections
                .push(tokio::task::spawn_local(connection(address, requests, index, begin, end)));
        }
        tokio::time::sleep_until(begin.into()).await;
        at_start();
        tokio::time::sleep_until(end.into()).await;
        at_end();
        let mut latencies = Vec::new();
        for connection in connections {
            latencies.extend(connection.await.expect("a connection of the load must not fail"));
        }
        latencies.sort_unstable();
        let at = |share: f64| match latencies.len() {
            0 => f64::NAN,
            count => f64::from(latencies[((count - 1) as f64 * share) as usize]) / 10.0,
        };
        Measured {
            requests: latencies.len(),
            seconds: load.duration.as_secs_f64(),
            median_us: at(0.5),
            p99_us: at(0.99),
        }
    })
}

/// Latencies in tenths of a microsecond of the requests that ended between `begin` and `end`.
async fn connection(
    address: SocketAddr,
    requests: Rc<Vec<Vec<u8>>>,
    first: usize,
    begin: Instant,
    end: Instant,
) -> Vec<u32> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP option");
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut latencies = Vec::new();
    for turn in first.. {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        stream.write_all(&requests[turn % requests.len()]).await.expect("the server reads");
        read_response(&mut stream, &mut buffer).await;
        let done = Instant::now();
        if done >= begin && done < end {
            latencies.push(((done - sent).as_nanos() / 100) as u32);
        }
    }
    latencies
}

/// Reads one response into `buffer`, which then holds head and body, and returns the head's
/// length.
///
/// # Panics
/// The status is not 200, or the response has no content length: a benchmark of errors would
/// measure nothing.
async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> usize {
    buffer.clear();
    let (head, length) = loop {
        let read = stream.read_buf(buffer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection");
        if let Some(head) = find(buffer, b"\r\n\r\n") {
            let text = &buffer[..head];
            let shown = || String::from_utf8_lossy(&buffer[..buffer.len().min(600)]).into_owned();
            assert!(text.starts_with(b"HTTP/1.1 200"), "unexpected answer: {}", shown());
            break (head + 4, content_length(text).expect("the server sends a content length"));
        }
    };
    while buffer.len() < head + length {
        let read = stream.read_buf(buffer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection in a body");
    }
    head
}

fn content_length(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// The value of a header in a response's head.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let matches = line[..colon].eq_ignore_ascii_case(name.as_bytes());
        matches.then(|| std::str::from_utf8(&line[colon + 1..]).map(str::trim).ok()).flatten()
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Sends one request and returns the head and the body of its answer.
pub fn once(address: SocketAddr, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    runtime.block_on(async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        stream.write_all(request).await.expect("the server reads");
        let mut buffer = Vec::new();
        let head = read_response(&mut stream, &mut buffer).await;
        let body = buffer.split_off(head);
        (buffer, body)
    })
}
