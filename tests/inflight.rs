//! Bodies that are received or in work, over all connections, within one limit.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::client::{Client, PATIENCE, Response};
use crate::support::models::{Behaviour, Gate, Model, request};
use crate::support::server::TestServer;

const INFER: &str = "/v2/models/double/infer";
const MAX_BODY: usize = 10_000;
const MAX_INFLIGHT: usize = 2 * MAX_BODY;

/// A server with room for two of the largest bodies, and what holds its model back.
fn server() -> (TestServer, Gate) {
    server_with_room(MAX_INFLIGHT)
}

fn server_with_room(max_inflight_bytes: usize) -> (TestServer, Gate) {
    let model = Model::new("double", Behaviour::Double);
    let gate = model.gate.clone();
    let server = TestServer::start(vec![model], |settings| {
        settings.max_body_bytes = MAX_BODY;
        settings.max_inflight_bytes = max_inflight_bytes;
        settings.retry_after = Duration::from_secs(3);
    });
    (server, gate)
}

/// A request whose body has so many bytes.
fn body(length: usize) -> Vec<u8> {
    let mut body = request(&[1.0, 2.0]).into_bytes();
    body.resize(length, b' ');
    body
}

fn assert_full(response: &Response) {
    assert_full_of(response, MAX_INFLIGHT);
}

fn assert_full_of(response: &Response, max_inflight_bytes: usize) {
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.header("retry-after"), Some("3"));
    let error = response.error();
    let expected = format!("{max_inflight_bytes} allowed together (max_inflight");
    assert!(error.contains(&expected), "{error}");
}

/// Asks until there is room again; nothing tells when a body has been given up.
fn eventually_answers(server: &TestServer, length: usize) {
    let begin = Instant::now();
    while server.client().post(INFER, &[], &body(length)).status != 200 {
        assert!(begin.elapsed() < PATIENCE, "there is no room for {length} bytes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_body_beyond_what_is_in_work_is_refused_before_it_is_sent_and_taken_later() {
    let (server, gate) = server();
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send_request("POST", INFER, &[], &body(9_000));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    let mut third = server.client();
    let head = "POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n";
    third.send(format!("{head}content-length: 2001\r\n\r\n").as_bytes());
    assert_full(&third.receive());
    // There is room for a small one, and health never needs any.
    let mut small = server.client();
    small.send_request("POST", INFER, &[], &body(1_900));
    server.wait_for_queue("double", 2);
    assert_eq!(server.get("/v2/health/live").status, 200);
    gate.open();
    for client in clients.iter_mut().chain([&mut small]) {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(server.client().post(INFER, &[], &body(MAX_BODY)).status, 200);
}

#[test]
fn what_is_announced_counts_until_its_client_goes_away() {
    let (server, _) = server();
    let announce = || {
        let mut client = server.client();
        let head = "POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n";
        client.send(format!("{head}content-length: {MAX_BODY}\r\n\r\n ").as_bytes());
        client
    };
    let silent = [announce(), announce()];
    // Nothing tells when the server has read a head.
    let begin = Instant::now();
    let refused = loop {
        let response = server.client().post(INFER, &[], &body(MAX_BODY));
        if response.status != 200 {
            break response;
        }
        assert!(begin.elapsed() < PATIENCE, "what is announced does not count");
    };
    assert_full(&refused);
    for client in &silent {
        client.stream().shutdown(Shutdown::Both).expect("it is connected");
    }
    drop(silent);
    eventually_answers(&server, MAX_BODY);
}

#[test]
fn a_body_of_unknown_length_counts_as_it_comes() {
    let room = MAX_BODY + 5_000;
    let (server, gate) = server_with_room(room);
    gate.close();
    let mut held = server.client();
    held.send_request("POST", INFER, &[], &body(MAX_BODY));
    gate.wait_for_run();
    let begin = |client: &mut Client| {
        client.send(
            b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n\
              transfer-encoding: chunked\r\n\r\n",
        );
    };
    let chunk = |client: &mut Client, length: usize| {
        client.send(format!("{length:x}\r\n{}\r\n", " ".repeat(length)).as_bytes());
    };
    // One connection: what comes over two has no order among itself.
    let mut one = server.client();
    begin(&mut one);
    for _ in 0..2 {
        chunk(&mut one, 4_000);
    }
    assert_full_of(&one.receive(), room);
    gate.open();
    assert_eq!(held.receive().status, 200);
    let mut other = server.client();
    begin(&mut other);
    chunk(&mut other, 4_000);
    let rest = request(&[1.0, 2.0]);
    other.send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()).as_bytes());
    assert_eq!(other.receive().status, 200);
}

#[test]
fn a_compressed_body_counts_as_it_is_meant() {
    let (server, gate) = server();
    let compressed = |length: usize| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body(length)).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let headers = [("content-encoding", "gzip")];
    assert!(compressed(9_900).len() < 300);
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send_request("POST", INFER, &headers, &compressed(9_400));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    assert_full(&server.client().post(INFER, &headers, &compressed(1_000)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(server.client().post(INFER, &headers, &compressed(MAX_BODY)).status, 200);
}

#[test]
fn a_request_that_is_run_on_another_thread_than_it_came_to_counts_as_well() {
    let (server, gate) = server();
    gate.close();
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        // It begins with administration, so it stays with that thread.
        assert_eq!(client.get("/v2/health/live").status, 200);
        client.send_request("POST", INFER, &[], &body(MAX_BODY));
        gate.wait_for_run();
    }
    server.wait_for_queue("double", 1);
    assert_full(&server.client().post(INFER, &[], &body(300)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    eventually_answers(&server, MAX_BODY);
}
