//! A closed-loop HTTP/1.1 load generator: each connection sends a request, reads the whole
//! answer, and sends the next. One thread, so that on two cores the server has one to itself.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::figures::{Latency, Spread};

/// No head of a response of ours is longer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// So much of an answer is shown where it is not what was asked for.
const SHOWN_BYTES: usize = 400;

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
    pub latency: Spread,
    /// Answers that refused for now (429, 503), and what the first of them said. They are not among
    /// the requests.
    pub refused: usize,
    pub refusal: Option<String>,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Runs the load; `at_start` and `at_end` are called when the measured span begins and ends.
///
/// # Errors
/// The server cannot be reached, goes away, or gives an answer that is neither 200 nor a refusal
/// for now: a benchmark of errors would measure nothing.
pub fn run(load: &Load, at_start: impl FnOnce(), at_end: impl FnOnce()) -> Result<Measured> {
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime()?, async {
        let begin = Instant::now() + load.warm_up;
        let end = begin + load.duration;
        let mut connections = Vec::new();
        for first in 0..load.connections {
            let connection = Connection {
                address: load.address,
                requests: load.requests.clone(),
                first,
                begin,
                end,
            };
            connections.push(tokio::task::spawn_local(connection.run()));
        }
        tokio::time::sleep_until(begin.into()).await;
        at_start();
        tokio::time::sleep_until(end.into()).await;
        at_end();
        let mut total = Answers::default();
        for connection in connections {
            let answers = connection.await.context("a connection of the load panicked")??;
            total.latencies.extend(answers.latencies);
            total.refused += answers.refused;
            total.refusal = total.refusal.or(answers.refusal);
        }
        Ok(Measured {
            requests: total.latencies.len(),
            seconds: load.duration.as_secs_f64(),
            latency: Spread::of(total.latencies),
            refused: total.refused,
            refusal: total.refusal,
        })
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime for the load generator")
}

/// One connection of the load.
struct Connection {
    address: SocketAddr,
    requests: Rc<Vec<Vec<u8>>>,
    /// The request that it begins with.
    first: usize,
    begin: Instant,
    end: Instant,
}

/// The answers that came between a connection's begin and end.
#[derive(Default)]
struct Answers {
    latencies: Vec<Latency>,
    refused: usize,
    refusal: Option<String>,
}

impl Connection {
    async fn run(self) -> Result<Answers> {
        let mut stream = connect(self.address).await?;
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut answers = Answers::default();
        for turn in self.first.. {
            let sent = Instant::now();
            if sent >= self.end {
                break;
            }
            let request = &self.requests[turn % self.requests.len()];
            stream.write_all(request).await.context("sending a request")?;
            let head = read_response(&mut stream, &mut buffer).await?;
            let done = Instant::now();
            let counts = done >= self.begin && done < self.end;
            match status(&buffer[..head]) {
                Some(200) if counts => answers.latencies.push(Latency::of(done - sent)),
                Some(200) => {}
                Some(429 | 503) => {
                    answers.refused += usize::from(counts);
                    answers.refusal.get_or_insert_with(|| shown(&buffer[head..]));
                }
                _ => bail!("the server answered {}", shown(&buffer)),
            }
        }
        Ok(answers)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true).context("an option of a socket")?;
    Ok(stream)
}

/// Reads one response into `buffer`, which then holds head and body, and returns the head's
/// length.
async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize> {
    buffer.clear();
    let head = loop {
        read_more(stream, buffer).await?;
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(buffer.len() <= MAX_HEAD_BYTES, "a response's head has no end");
    };
    let length = header(&buffer[..head], "content-length").and_then(|length| length.parse().ok());
    let length: usize =
        length.with_context(|| format!("an answer without content length: {}", shown(buffer)))?;
    while buffer.len() < head + length {
        read_more(stream, buffer).await?;
    }
    Ok(head)
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    let read = stream.read_buf(buffer).await.context("reading an answer")?;
    ensure!(read > 0, "the server closed the connection after {:?}", shown(buffer));
    Ok(())
}

fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned()
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
///
/// # Errors
/// The server cannot be reached, or its answer is not 200.
pub fn once(address: SocketAddr, request: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    runtime()?.block_on(async {
        let mut stream = connect(address).await?;
        stream.write_all(request).await.context("sending a request")?;
        let mut buffer = Vec::new();
        let head = read_response(&mut stream, &mut buffer).await?;
        ensure!(status(&buffer) == Some(200), "the server answered {}", shown(&buffer));
        let body = buffer.split_off(head);
        Ok((buffer, body))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers every read on every connection with these bytes.
    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        if stream.write_all(answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn load(answer: &'static [u8]) -> Result<Measured> {
        let load = Load {
            address: server(answer),
            requests: Rc::new(vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()]),
            connections: 2,
            warm_up: Duration::from_millis(5),
            duration: Duration::from_millis(50),
        };
        run(&load, || {}, || {})
    }

    #[test]
    fn answers_are_counted_and_timed() {
        let measured = load(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").expect("it runs");
        assert!(measured.requests > 0 && measured.rate() > 0.0, "{measured:?}");
        assert!(measured.latency.median_us <= measured.latency.p99_us, "{measured:?}");
        assert_eq!((measured.refused, measured.refusal), (0, None));
    }

    #[test]
    fn refusals_are_counted_apart_and_errors_end_the_load() {
        let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nfull";
        let measured = load(answer).expect("it runs");
        assert_eq!(measured.requests, 0);
        assert!(measured.refused > 0 && measured.refusal.as_deref() == Some("full"));
        let error = load(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nshape");
        assert!(format!("{:#}", error.unwrap_err()).contains("shape"));
        let error = load(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err();
        assert!(format!("{error:#}").contains("without content length"), "{error:#}");
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        drop(listener);
        let error = format!("{:#}", once(address, b"").unwrap_err());
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
