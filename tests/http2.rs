//! HTTP/2 without TLS: the same answers, many requests at once on one connection.

use std::future::Future;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::models::{Behaviour, Model};
use crate::support::server::TestServer;

/// Runs a client against a server of one model.
fn with_client<F: Future>(test: impl FnOnce(SendRequest<Bytes>) -> F) -> F::Output {
    let server = TestServer::start(vec![Model::new("double", Behaviour::Double)], |settings| {
        settings.max_body_bytes = 100_000;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = TcpStream::connect(server.address).await.expect("the server listens");
        let (client, connection) = handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        test(client).await
    })
}

async fn send(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let mut client = client.clone().ready().await.expect("there is room for a stream");
    let request = Request::builder().method(method).uri(format!("http://test{path}"));
    let request = request.body(()).expect("a request");
    let (response, mut stream) = client.send_request(request, false).expect("it is sent");
    stream.send_data(body.into(), true).expect("it is sent");
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
