//! HTTP/2 without TLS: the same answers, many requests at once on one connection.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest, handshake};
use h2::{Ping, PingPong, Reason, SendStream};
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use onnxd::batching::LayoutChoice;

use crate::support::client::PATIENCE;
use crate::support::exposition;
use crate::support::models::{Behaviour, Model};
use crate::support::server::TestServer;

/// Runs a client against a server of one model.
fn with_client<F: Future>(test: impl FnOnce(SendRequest<Bytes>) -> F) -> F::Output {
    let server = TestServer::start(vec![Model::new("double", Behaviour::Double)], |settings| {
        settings.max_body_bytes = 100_000;
    });
    run(async {
        let (client, connection) = connect(&server).await;
        tokio::spawn(connection);
        test(client).await
    })
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

async fn connect(server: &TestServer) -> (SendRequest<Bytes>, Connection<TcpStream>) {
    let stream = TcpStream::connect(server.address).await.expect("the server listens");
    handshake(stream).await.expect("it speaks HTTP/2")
}

/// Sends a request and waits for nothing.
async fn begin(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = client.clone().ready().await.expect("there is room for a stream");
    let request = Request::builder().method(method).uri(format!("http://test{path}"));
    let request = request.body(()).expect("a request");
    let (response, mut stream) = client.send_request(request, false).expect("it is sent");
    stream.send_data(body.into(), true).expect("it is sent");
    (response, stream)
}

async fn send(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let (response, _stream) = begin(client, method, path, body).await;
    let (head, mut body) = response.await.expect("an answer").into_parts();
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("the body comes");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        whole.extend_from_slice(&data);
    }
    Response::from_parts(head, whole)
}

fn body(value: u32) -> Vec<u8> {
    let x = json!({ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, 1] });
    json!({ "inputs": [x] }).to_string().into_bytes()
}

fn output(response: &Response<Vec<u8>>) -> Value {
    assert_eq!(response.status(), 200);
    let answer: Value = serde_json::from_slice(response.body()).expect("JSON");
    answer["outputs"][0]["data"].clone()
}

#[test]
fn many_requests_share_a_connection() {
    with_client(async |client| {
        let sent: Vec<_> = (0..10)
            .map(|value| {
                let client = client.clone();
                tokio::spawn(async move {
                    send(&client, "POST", "/v2/models/double/infer", body(value)).await
                })
            })
            .collect();
        for (value, response) in sent.into_iter().enumerate() {
            let response = response.await.expect("no client panics");
            assert_eq!(output(&response), json!([value as f64 * 2.0, 2.0]));
        }
        let health = send(&client, "GET", "/v2/health/ready", Vec::new()).await;
        assert_eq!(health.status(), 200);
    });
}

#[test]
fn failures_are_the_same() {
    with_client(async |client| {
        let unknown = send(&client, "POST", "/v2/models/none/infer", body(1)).await;
        assert_eq!(unknown.status(), 404);
        let large = send(&client, "POST", "/v2/models/double/infer", vec![b' '; 100_001]).await;
        assert_eq!(large.status(), 413);
        let error: Value = serde_json::from_slice(large.body()).expect("JSON");
        assert!(error["error"].as_str().is_some_and(|text| text.contains("100000 bytes")));
        assert_eq!(
            output(&send(&client, "POST", "/v2/models/double/infer", body(3)).await)[0],
            6.0
        );
    });
}

#[test]
fn probes_answer_beside_a_model_that_holds_its_network_thread() {
    let mut model = Model::new("double", Behaviour::Double);
    model.layout = LayoutChoice::Inline;
    let gate = model.gate.clone();
    let server = TestServer::start(vec![model], |_| {});
    gate.close();
    run(async {
        let (client, connection) = connect(&server).await;
        tokio::spawn(connection);
        let inference = tokio::spawn({
            let client = client.clone();
            async move { send(&client, "POST", "/v2/models/double/infer", body(3)).await }
        });
        let held = gate.clone();
        blocking(move || held.wait_for_run()).await;
        for path in ["/v2/health/ready", "/metrics", "/v2/models/double/stats"] {
            assert_eq!(send(&client, "GET", path, Vec::new()).await.status(), 200, "{path}");
        }
        assert!(!inference.is_finished());
        gate.open();
        assert_eq!(output(&inference.await.expect("no client panics")), json!([6.0, 2.0]));
    });
}

/// Waits while other tasks go on.
async fn blocking(wait: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(wait).await.expect("the wait does not fail");
}

#[test]
fn a_stream_that_its_client_resets_leaves_the_queue_and_is_counted() {
    const INFER: &str = "/v2/models/reset/infer";
    let model = Model::new("reset", Behaviour::Double);
    let gate = model.gate.clone();
    let server = Arc::new(TestServer::start(vec![model], |_| {}));
    let await_queue = |depth| {
        let server = server.clone();
        blocking(move || server.wait_for_queue("reset", depth))
    };
    gate.close();
    run(async {
        let (client, connection) = connect(&server).await;
        tokio::spawn(connection);
        let (running, _stream) = begin(&client, "POST", INFER, body(3)).await;
        let held = gate.clone();
        blocking(move || held.wait_for_run()).await;
        let (waiting, mut stream) = begin(&client, "POST", INFER, body(4)).await;
        await_queue(1).await;
        stream.send_reset(Reason::CANCEL);
        // The run that is held back still goes on: only its client can have taken it out.
        await_queue(0).await;
        let cancelled = [("model", "reset"), ("outcome", "cancelled")];
        blocking(move || {
            exposition::await_in_this_process("onnxd_requests_total", &cancelled, 1.0);
        })
        .await;
        let error = waiting.await.expect_err("it was reset");
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        gate.open();
        assert_eq!(running.await.expect("an answer").status(), 200);
        // The connection lives on.
        assert_eq!(output(&send(&client, "POST", INFER, body(5)).await), json!([10.0, 2.0]));
        let statistics = send(&client, "GET", "/v2/models/reset/stats", Vec::new()).await;
        let statistics: Value = serde_json::from_slice(statistics.body()).expect("JSON");
        let executions = &statistics["model_stats"][0]["execution_count"];
        assert_eq!(*executions, 2, "what was reset never ran");
    });
}

const IDLE: Duration = Duration::from_millis(200);

/// A server that soon closes what is not used.
fn hasty(model: Model) -> TestServer {
    TestServer::start(vec![model], |settings| {
        settings.header_timeout = IDLE / 4;
        settings.idle_timeout = IDLE;
    })
}

/// Pings without a pause, until the connection ends or it is time.
async fn ping(mut pings: PingPong, until: Instant) {
    while Instant::now() < until && pings.ping(Ping::opaque()).await.is_ok() {}
}

#[test]
fn a_client_that_only_pings_is_closed() {
    let server = hasty(Model::new("double", Behaviour::Double));
    run(async {
        let (client, mut connection) = connect(&server).await;
        let pings = connection.ping_pong().expect("nobody else pings");
        let started = Instant::now();
        tokio::spawn(ping(pings, started + PATIENCE));
        let ended = tokio::time::timeout(PATIENCE, connection).await;
        assert!(ended.is_ok(), "it pinged for {PATIENCE:?}");
        assert!(started.elapsed() >= IDLE - IDLE / 4, "after {:?}", started.elapsed());
        drop(client);
    });
}

#[test]
fn a_connection_with_a_running_request_is_not_idle() {
    let model = Model::new("double", Behaviour::Double);
    let gate = model.gate.clone();
    let server = hasty(model);
    gate.close();
    run(async {
        let (client, mut connection) = connect(&server).await;
        let pings = connection.ping_pong().expect("nobody else pings");
        let connection = tokio::spawn(connection);
        let pinged = async {
            ping(pings, Instant::now() + 4 * IDLE).await;
            assert!(!connection.is_finished(), "it was closed");
            gate.open();
        };
        let answered = send(&client, "POST", "/v2/models/double/infer", body(3));
        assert_eq!(output(&tokio::join!(answered, pinged).0), json!([6.0, 2.0]));
    });
}

#[test]
fn an_opening_or_a_head_that_does_not_end_is_cut_off() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    /// HEADERS of a hundred bytes, of which none come yet.
    const HEADERS: &[u8] = b"\x00\x00\x64\x01\x04\x00\x00\x00\x01";
    let server = hasty(Model::new("double", Behaviour::Double));
    for beginning in [
        b"PRI * HTTP/2.0\r\n".to_vec(),
        PREFACE.to_vec(),
        [PREFACE, SETTINGS].concat(),
        [PREFACE, SETTINGS, HEADERS].concat(),
    ] {
        let more: &[u8] = if beginning.len() > PREFACE.len() + 9 { b"\x00" } else { b"" };
        let ended = run(async {
            let stream = TcpStream::connect(server.address).await.expect("the server listens");
            let (mut reader, mut writer) = stream.into_split();
            writer.write_all(&beginning).await.expect("the server takes it");
            let dribble = async {
                // Fewer bytes than the head is said to have, even if it takes all the time.
                for _ in 0..90 {
                    tokio::time::sleep(IDLE / 8).await;
                    if writer.write_all(more).await.is_err() {
                        break;
                    }
                }
                std::future::pending::<()>().await;
            };
            let mut said = Vec::new();
            tokio::select! {
                _ = reader.read_to_end(&mut said) => true,
                () = dribble => unreachable!("it never ends"),
                () = tokio::time::sleep(PATIENCE) => false,
            }
        });
        assert!(ended, "{}", beginning.escape_ascii());
    }
}

#[test]
fn a_connection_that_comes_while_the_server_finishes_is_answered_and_closed() {
    let models = vec![Model::new("double", Behaviour::Double)];
    let mut server = TestServer::start(models, |settings| settings.header_timeout = 8 * PATIENCE);
    run(async {
        let mut idle = server.client();
        assert_eq!(idle.get("/v2/health/live").status, 200);
        let stream = TcpStream::connect(server.address).await.expect("the server listens");
        let finished = std::thread::spawn(move || server.finish(PATIENCE));
        idle.expect_end();
        let (client, connection) = handshake(stream).await.expect("it speaks HTTP/2");
        let connection = tokio::spawn(connection);
        let answer = send(&client, "POST", "/v2/models/double/infer", body(3)).await;
        assert_eq!(output(&answer)[0], 6.0);
        connection.await.expect("no panic").expect("an orderly end");
        assert!(finished.join().expect("the server ends"));
    });
}
