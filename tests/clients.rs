//! Clients of the real binary that are slow, silent or too many: each costs what its configuration
//! says, and those beside it nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json, output};

fn serve(section: &str) -> (Repository, Daemon) {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let text = format!("repositories = [{:?}]\n[server]\n{section}", repository.text());
    let file = repository.write("onnxd.toml", text);
    let file = file.to_str().expect("a UTF-8 path");
    let daemon = Daemon::start(&["--config", file, "--engine", "tract"]);
    (repository, daemon)
}

fn connect(daemon: &Daemon, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(bytes).expect("the daemon reads");
    stream
}

/// What comes until the daemon closes, and how long that took.
fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let begin = Instant::now();
    let mut received = String::new();
    // A reset is an end as well.
    let _ = stream.read_to_string(&mut received);
    (received, begin.elapsed())
}

fn assert_answers(daemon: &Daemon) {
    let answer = infer_json(daemon, "affine", &[fp32("x", &[1, 4], &[1.0; 4])]);
    assert_eq!(output(&answer, "y"), json!([3.0, 3.0, 3.0, 3.0]));
}

const HEAD: &[u8] = b"POST /v2/models/affine/infer HTTP/1.1\r\nHost: onnxd\r\n";
const HALF: &[u8] = b"POST /v2/models/affine/infer HTTP/1.1\r\nHost: onnxd\r\n\
                      Content-Length: 100\r\n\r\n{\"inputs\":";

#[test]
fn slow_and_silent_clients_cost_a_timeout_and_no_worker() {
    let (_repository, daemon) = serve(
        "network_threads = 1\nheader_timeout = \"2s\"\nbody_timeout = \"2s\"\n\
         idle_timeout = \"4s\"\n",
    );
    // Far more than there are threads, each somewhere in the middle of its request.
    let silent: Vec<TcpStream> = (0..30).map(|_| connect(&daemon, b"")).collect();
    let heads: Vec<TcpStream> = (0..30).map(|_| connect(&daemon, HEAD)).collect();
    let halves: Vec<TcpStream> = (0..30).map(|_| connect(&daemon, HALF)).collect();
    for _ in 0..20 {
        assert_answers(&daemon);
    }
    for stream in silent.into_iter().chain(heads) {
        let (received, took) = until_closed(stream);
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 408"), "{received}");
    }
    for stream in halves {
        let (received, _) = until_closed(stream);
        assert!(received.starts_with("HTTP/1.1 408 "), "{received:?}");
        assert!(received.contains("the body did not come within 2 seconds"), "{received}");
    }
    let invalid = [("model", "affine"), ("outcome", "invalid")];
    daemon.await_metric("onnxd_requests_total", &invalid, 30.0);
    // The one that asks is the only one left.
    daemon.await_metric("onnxd_connections", &[], 1.0);
    assert_answers(&daemon);
}

#[test]
fn connections_over_the_limit_wait_their_turn() {
    let (_repository, daemon) = serve("max_connections = 2\n");
    let live = b"GET /v2/health/live HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n\r\n";
    let kept = b"GET /v2/health/live HTTP/1.1\r\nHost: onnxd\r\n\r\n";
    let mut first = connect(&daemon, kept);
    let mut start = [0; 12];
    first.read_exact(&mut start).expect("an answer");
    let second = connect(&daemon, kept);
    let mut third = connect(&daemon, live);
    third.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket option");
    assert!(third.read(&mut start).is_err(), "it was not its turn");
    third.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    drop((first, second));
    assert!(until_closed(third).0.starts_with("HTTP/1.1 200 "));
    assert_answers(&daemon);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_is_counted_and_harms_nobody() {
    let (_repository, daemon) = serve("");
    for _ in 0..5 {
        drop(connect(&daemon, HALF));
    }
    let cancelled = [("model", "affine"), ("outcome", "cancelled")];
    daemon.await_metric("onnxd_requests_total", &cancelled, 5.0);
    assert_answers(&daemon);
}

#[test]
fn what_is_no_http_is_refused_and_the_daemon_lives_on() {
    let (_repository, daemon) = serve("");
    let long = [b"GET /".as_slice(), &[b'a'; 1 << 20], b" HTTP/1.1\r\n\r\n"].concat();
    let many = [b"GET /v2 HTTP/1.1\r\n".as_slice(), &b"X: y\r\n".repeat(5000), b"\r\n"].concat();
    let rows: [(&str, &[u8], &str); 7] = [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n", "400"),
        ("words", b"hello there\r\n\r\n", "400"),
        (
            "two lengths",
            b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
        ),
        ("a negative length", b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("a long target", &long, "4"),
        ("many headers", &many, "431"),
        ("HTTP/2 with garbage", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage, no frames", ""),
    ];
    for (what, bytes, status) in rows {
        let mut stream = TcpStream::connect(daemon.address).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        // It may be refused before it is all sent.
        let _ = stream.write_all(bytes);
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        let received = String::from_utf8_lossy(&received);
        assert!(
            status.is_empty()
                || received.is_empty()
                || received.starts_with(&format!("HTTP/1.1 {status}")),
            "{what}: {received}"
        );
        assert_answers(&daemon);
    }
}
