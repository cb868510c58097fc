//! Clients that are slow, silent, greedy or gone; and how the server ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use onnxd::batching::LayoutChoice;
use onnxd::server::{BoundListener, ListenAddress, ServerError, ServerSettings};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{AddressFamily, SocketType, connect, socket};

use crate::support::client::{Client, PATIENCE};
use crate::support::models::{Behaviour, Gate, Model, request};
use crate::support::server::TestServer;

const INFER: &str = "/v2/models/held/infer";
const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
const SHORT: Duration = Duration::from_millis(150);

/// A server of one model whose runs can be held back.
fn held(change: impl FnOnce(&mut Model)) -> (TestServer, Gate) {
    let mut model = Model::new("held", Behaviour::Double);
    change(&mut model);
    let gate = model.gate.clone();
    let server = TestServer::start(vec![model], |settings| {
        settings.retry_after = Duration::from_secs(3);
    });
    (server, gate)
}

#[test]
fn a_full_queue_is_refused_with_its_limit() {
    let (server, gate) = held(|model| model.max_queue_size = 1);
    gate.close();
    let mut running = server.client();
    running.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    let mut waiting = server.client();
    waiting.send_request("POST", INFER, &[], BODY.as_bytes());
    server.wait_for_queue("held", 1);
    let refused = server.post(INFER, BODY);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("3"));
    assert!(refused.error().contains("(1 requests wait)"), "{}", refused.error());
    gate.open();
    assert_eq!(running.receive().status, 200);
    assert_eq!(waiting.receive().status, 200);
}

#[test]
fn a_deadline_that_passes_in_the_queue_is_said() {
    let (server, gate) = held(|_| {});
    gate.close();
    let mut running = server.client();
    running.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    let body = BODY.replacen('{', r#"{"parameters":{"timeout":20000},"#, 1);
    let response = server.post(INFER, &body);
    assert_eq!(response.status, 504);
    assert_eq!(response.error(), "the request's deadline passed before it was answered");
    gate.open();
    assert_eq!(running.receive().status, 200);
}

#[test]
fn a_client_that_goes_away_leaves_the_queue() {
    let (server, gate) = held(|model| model.max_queue_size = 1);
    gate.close();
    let mut running = server.client();
    running.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    for begins_with_health in [false, true] {
        let mut gone = server.client();
        if begins_with_health {
            // It lives on the admin thread, its request on a data thread.
            assert_eq!(gone.get("/v2/health/live").status, 200);
        }
        gone.send_request("POST", INFER, &[], BODY.as_bytes());
        server.wait_for_queue("held", 1);
        drop(gone);
        server.wait_for_queue("held", 0);
    }
    gate.open();
    assert_eq!(running.receive().status, 200);
    let statistics = server.get("/v2/models/held/stats").json();
    assert_eq!(statistics["model_stats"][0]["inference_count"], 1);
}

#[test]
fn health_answers_while_a_model_holds_its_network_thread() {
    let (server, gate) = held(|model| model.layout = LayoutChoice::Inline);
    gate.close();
    // This connection begins with administration, so it lives on the admin thread.
    let mut mixed = server.client();
    assert_eq!(mixed.get("/v2/health/live").status, 200);
    mixed.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/metrics").status, 200);
    gate.open();
    assert_eq!(mixed.receive().status, 200);
    assert_eq!(mixed.get("/v2/health/live").status, 200);
}

/// A server that waits for nobody's head or body.
fn hasty() -> TestServer {
    let models = vec![Model::new("held", Behaviour::Double)];
    TestServer::start(models, |settings| {
        settings.header_timeout = SHORT;
        settings.body_timeout = SHORT;
    })
}

#[test]
fn a_silent_client_is_cut_off() {
    let server = hasty();
    server.client().expect_end();
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let server = hasty();
    for beginning in
        ["P", "POST /v2/models/held/infer HTTP/1.1\r\nhost", "GET /metrics HTTP/1.1\r\n"]
    {
        let mut client = server.client();
        client.send(beginning.as_bytes());
        client.expect_end();
    }
    // The second request of a connection as well.
    let mut client = server.client();
    assert_eq!(client.get("/v2/health/live").status, 200);
    client.send(b"GET /metr");
    client.expect_end();
}

#[test]
fn an_empty_line_behind_a_body_begins_no_request() {
    let models = vec![Model::new("held", Behaviour::Double)];
    let server = TestServer::start(models, |settings| {
        settings.header_timeout = Duration::from_millis(500);
        settings.network_threads = 1;
    });
    let mut client = server.client();
    assert_eq!(client.post(INFER, &[], BODY.as_bytes()).status, 200);
    client.send(b"\r\n");
    // Who begins a request after that, on the same thread, and does not end it tells the time.
    let mut later = server.client();
    later.send(b"POST /v2/models/held/infer HTTP/1.1\r\nhost");
    later.expect_end();
    assert_eq!(client.post(INFER, &[], BODY.as_bytes()).status, 200);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = hasty();
    let mut client = server.client();
    client
        .send(b"POST /v2/models/held/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 90\r\n\r\n{\"in");
    let response = client.receive();
    assert_eq!(response.status, 408);
    assert_eq!(response.error(), "the body did not come within 0.15 seconds");
    client.expect_end();
}

#[test]
fn an_idle_connection_is_closed() {
    let models = vec![Model::new("held", Behaviour::Double)];
    let server = TestServer::start(models, |settings| {
        settings.header_timeout = Duration::from_millis(20);
        settings.idle_timeout = Duration::from_millis(200);
    });
    let started = Instant::now();
    let mut client = server.client();
    assert_eq!(client.post(INFER, &[], BODY.as_bytes()).status, 200);
    client.expect_end();
    let idle = started.elapsed();
    assert!(idle >= Duration::from_millis(200), "it was closed after {idle:?}");
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let models = vec![Model::new("repeat", Behaviour::Repeat(1000))];
    let server = TestServer::start(models, |settings| {
        settings.idle_timeout = SHORT;
        settings.max_connections = 1;
    });
    let values = vec!["1"; 8000].join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[4000,2],"data":[{values}]}}],
            "parameters":{{"binary_data_output":true}}}}"#
    );
    let mut greedy = server.client();
    greedy.send_request("POST", "/v2/models/repeat/infer", &[], body.as_bytes());
    // The one connection becomes free although 32 MB were never taken.
    assert_eq!(server.get("/v2/health/live").status, 200);
}

#[test]
fn a_client_that_takes_hardly_anything_is_cut_off() {
    // Small buffers: what is taken shows at once.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    set_socket_send_buffer_size(&listener, 4096).expect("a socket has a buffer");
    let address = listener.local_addr().expect("a bound port");
    let model = Model::new("repeat", Behaviour::Repeat(1000));
    let server = TestServer::behind(listener, model, |settings| {
        settings.idle_timeout = Duration::from_millis(1500);
        settings.max_connections = 1;
    });
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    set_socket_recv_buffer_size(&socket, 2048).expect("a socket has a buffer");
    connect(&socket, &address).expect("the server listens");
    let mut slow = TcpStream::from(socket);
    let body = request(&[1.0; 2000]);
    let head = format!(
        "POST /v2/models/repeat/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all((head + &body).as_bytes()).expect("the server takes it");
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get("/v2/health/live").status);
        // 5 KB a second: some bytes go in every part of the idle timeout.
        while !waiting.is_finished() {
            // How its end looks to the client does not matter here.
            let _ = slow.read(&mut [0; 250]);
            assert!(started.elapsed() < PATIENCE / 2, "the connection goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(waiting.join().expect("the one connection became free"), 200);
    });
    let lasted = started.elapsed();
    assert!(lasted > Duration::from_millis(1500), "it was cut off after {lasted:?}");
}

#[test]
fn connections_beyond_the_limit_wait_their_turn() {
    let models = vec![Model::new("held", Behaviour::Double)];
    let server = TestServer::start(models, |settings| settings.max_connections = 1);
    let mut first = server.client();
    assert_eq!(first.get("/v2/health/live").status, 200);
    let mut second = server.client();
    second.send_request("GET", "/v2/health/live", &[], b"");
    second.stream().set_read_timeout(Some(SHORT)).expect("a timeout");
    assert!(second.stream().peek(&mut [0]).is_err(), "it was not its turn");
    second.stream().set_read_timeout(Some(PATIENCE)).expect("a timeout");
    drop(first);
    assert_eq!(second.receive().status, 200);
}

#[test]
fn stopping_lets_kept_connections_ask_once_more() {
    let (mut server, _) = held(|_| {});
    let mut data = server.client();
    assert_eq!(data.post(INFER, &[], BODY.as_bytes()).status, 200);
    let mut admin = server.client();
    assert_eq!(admin.get("/v2/health/live").header("connection"), None);
    server.stop_accepting();
    let response = data.post(INFER, &[], BODY.as_bytes());
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    data.expect_end();
    let response = admin.get("/v2/health/live");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(server.finish(PATIENCE));
    assert!(TcpStream::connect(server.address).is_err(), "the listener is closed");
}

#[test]
fn finishing_waits_for_what_runs_and_closes_what_idles() {
    let (mut server, gate) = held(|_| {});
    let mut idle = server.client();
    assert_eq!(idle.post(INFER, &[], BODY.as_bytes()).status, 200);
    gate.close();
    let mut running = server.client();
    running.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    let opener = std::thread::spawn(move || {
        idle.expect_end();
        gate.open();
        running.receive()
    });
    assert!(server.finish(PATIENCE));
    let response = opener.join().expect("the client is content");
    assert_eq!(response.status, 200);
}

#[test]
fn finishing_answers_whose_request_is_on_its_way() {
    let models = vec![Model::new("held", Behaviour::Double)];
    let mut server = TestServer::start(models, |settings| {
        settings.header_timeout = 8 * PATIENCE;
    });
    let mut clients = [(); 3].map(|()| server.client());
    let [idle, half, silent] = &mut clients;
    for client in [&mut *idle, &mut *half] {
        assert_eq!(client.post(INFER, &[], BODY.as_bytes()).status, 200);
    }
    let length = BODY.len();
    let head = format!("POST {INFER} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n");
    let (first, rest) = head.split_at(20);
    half.send(first.as_bytes());
    std::thread::scope(|scope| {
        let finished = scope.spawn(|| server.finish(PATIENCE));
        // Told to finish as the others are.
        idle.expect_end();
        half.send(format!("{rest}{BODY}").as_bytes());
        assert_eq!(half.receive().status, 200);
        half.expect_end();
        assert_eq!(silent.post(INFER, &[], BODY.as_bytes()).status, 200);
        silent.expect_end();
        assert!(finished.join().expect("the server ends"));
    });
}

#[test]
fn finishing_ends_at_its_deadline() {
    let (mut server, gate) = held(|_| {});
    gate.close();
    let mut running = server.client();
    running.send_request("POST", INFER, &[], BODY.as_bytes());
    gate.wait_for_run();
    assert!(!server.finish(SHORT));
    running.expect_end();
    gate.open();
}

#[test]
fn a_unix_socket_serves_and_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("onnxd.sock");
    // What a daemon that was killed left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let models = vec![Model::new("held", Behaviour::Double)];
    let mut server = TestServer::start(models, |settings| {
        settings.listen = vec![ListenAddress::Unix(path.clone())];
    });
    for request in [
        "GET /v2/health/live HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n".to_owned(),
        format!(
            "POST {INFER} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{BODY}",
            BODY.len()
        ),
    ] {
        let mut stream = UnixStream::connect(&path).expect("the server listens");
        stream.write_all(request.as_bytes()).expect("the server takes it");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the server answers");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    }
    assert!(server.finish(PATIENCE));
    assert!(!path.exists());
}

#[test]
fn an_inherited_socket_is_served_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a bound port");
    let settings = ServerSettings::standard(Vec::new());
    let server = TestServer::try_start(settings, vec![BoundListener::Tcp(listener)]);
    let server = server.expect("the server starts");
    assert_eq!(server.addresses(), [ListenAddress::Tcp(address)]);
    assert_eq!(Client::connect(address).get("/v2/health/live").status, 200);
    assert!(server.finish(Instant::now() + PATIENCE));
}

#[test]
fn a_server_needs_an_address() {
    let refused = TestServer::try_start(ServerSettings::standard(Vec::new()), Vec::new());
    assert_eq!(refused.err(), Some(ServerError::NoAddress));
}

#[test]
fn an_address_in_use_is_named() {
    let (server, _) = held(|_| {});
    let settings = ServerSettings::standard(vec![ListenAddress::Tcp(server.address)]);
    let refused = TestServer::try_start(settings, Vec::new()).err().expect("the port is taken");
    let refused = refused.to_string();
    assert!(refused.starts_with(&format!("cannot listen on {}", server.address)), "{refused}");
}
