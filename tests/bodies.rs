//! Bodies: chunked, large, compressed, over the limit.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::models::{Behaviour, Model, binary_request, floats, request};
use crate::support::server::TestServer;

const INFER: &str = "/v2/models/double/infer";

fn double() -> TestServer {
    TestServer::start(vec![Model::new("double", Behaviour::Double)], |_| {})
}

fn compressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
            encoder.write_all(bytes).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), fast);
            encoder.write_all(bytes).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        _ => zstd::encode_all(bytes, 1).expect("memory takes it"),
    }
}

fn decompressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain),
        _ => zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut plain)),
    }
    .expect("the server compresses well");
    plain
}

#[test]
fn bodies_may_be_compressed_both_ways() {
    let server = double();
    // Large enough that its answer is worth compressing.
    let (length, body) = binary_request(&[1.5; 1000]);
    for encoding in ["gzip", "deflate", "zstd"] {
        let headers = [
            ("inference-header-content-length", length.as_str()),
            ("content-encoding", encoding),
            ("accept-encoding", encoding),
        ];
        let response = server.client().post(INFER, &headers, &compressed(encoding, &body));
        assert_eq!(response.status, 200, "{encoding}");
        assert_eq!(response.header("content-encoding"), Some(encoding));
        assert_eq!(response.header("vary"), Some("accept-encoding"));
        assert!(response.body.len() < 1000, "{encoding}");
        let plain = decompressed(encoding, &response.body);
        // It counts bytes before compression, as the client will count them after.
        let header = response.header("inference-header-content-length").expect("binary outputs");
        let tensors = &plain[header.parse::<usize>().expect("a number")..];
        assert_eq!(floats(tensors), vec![3.0; 1000], "{encoding}");
    }
}

#[test]
fn small_responses_and_unasked_ones_are_plain() {
    let server = double();
    let small = request(&[1.0, 2.0]);
    let response = server.client().post(INFER, &[("accept-encoding", "gzip")], small.as_bytes());
    assert_eq!(response.header("content-encoding"), None);
    let large = request(&[1.0; 4000]);
    let response = server.client().post(INFER, &[], large.as_bytes());
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(response.json()["outputs"][0]["shape"], json!([2000, 2]));
}

#[test]
fn a_body_may_come_in_chunks() {
    let server = double();
    let mut client = server.client();
    client.send(
        b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n\
                  transfer-encoding: chunked\r\n\r\n",
    );
    for piece in request(&[1.0, 2.0]).as_bytes().chunks(7) {
        client.send(format!("{:x}\r\n", piece.len()).as_bytes());
        client.send(piece);
        client.send(b"\r\n");
    }
    client.send(b"0\r\ntrailer: ignored\r\n\r\n");
    assert_eq!(client.receive().json()["outputs"][0]["data"], json!([2.0, 4.0]));
    assert_eq!(client.get("/v2/health/live").status, 200);
}

#[test]
fn large_bodies_arrive_whole() {
    let models = vec![Model::new("repeat", Behaviour::Repeat(50))];
    let server = TestServer::start(models, |_| {});
    let values: Vec<f32> = (0..40_000u16).map(f32::from).collect();
    let (length, body) = binary_request(&values);
    let headers = [("inference-header-content-length", length.as_str())];
    let response = server.client().post("/v2/models/repeat/infer", &headers, &body);
    assert_eq!(response.status, 200);
    let header = response.header("inference-header-content-length").expect("binary outputs");
    let tensors = floats(&response.body[header.parse::<usize>().expect("a number")..]);
    assert_eq!(tensors.len(), 40_000 * 50);
    assert_eq!(tensors[100..104], [2.0, 3.0, 2.0, 3.0]);
}

fn limited() -> TestServer {
    let models = vec![Model::new("double", Behaviour::Double)];
    TestServer::start(models, |settings| settings.max_body_bytes = 10_000)
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let server = limited();
    let mut client = server.client();
    client.send(
        b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n\
                  content-length: 10001\r\nexpect: 100-continue\r\n\r\n",
    );
    let response = client.receive();
    assert_eq!(response.status, 413);
    assert_eq!(response.error(), "the body has 10001 bytes, at most 10000 are allowed");
}

#[test]
fn a_client_that_sends_too_much_all_the_same_still_gets_its_answer() {
    let server = limited();
    let mut client = server.client();
    // Far more than sockets hold: the server must take it, or the client never comes to reading.
    let response = client.post(INFER, &[], &vec![b' '; 20_000_000]);
    assert_eq!(response.status, 413);
}

#[test]
fn chunks_over_the_limit_are_refused() {
    let server = limited();
    let mut client = server.client();
    client.send(
        b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\n\
                  transfer-encoding: chunked\r\n\r\n",
    );
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
    for _ in 0..3 {
        client.send(&chunk);
    }
    let response = client.receive();
    assert_eq!(response.status, 413);
    assert_eq!(response.error(), "the body is longer than the 10000 bytes allowed");
}

#[test]
fn a_bomb_is_refused() {
    let server = limited();
    for encoding in ["gzip", "deflate", "zstd"] {
        let bomb = compressed(encoding, &vec![b' '; 1_000_000]);
        assert!(bomb.len() < 10_000);
        let headers = [("content-encoding", encoding)];
        let response = server.client().post(INFER, &headers, &bomb);
        assert_eq!(response.status, 413, "{encoding}");
        let corrupt = server.client().post(INFER, &headers, b"\xff\xfe\xfd not compressed");
        assert_eq!(corrupt.status, 400, "{encoding}");
    }
}

#[test]
fn a_body_at_the_limit_is_taken() {
    let server = limited();
    let mut body = request(&[1.0, 2.0]);
    body.push_str(&" ".repeat(10_000 - body.len()));
    assert_eq!(server.post(INFER, &body).status, 200);
    body.push(' ');
    assert_eq!(server.post(INFER, &body).status, 413);
}

#[test]
fn a_client_that_waits_for_the_word_is_told_to_continue() {
    let server = double();
    let mut client = server.client();
    let body = request(&[1.0, 2.0]);
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes());
    assert_eq!(client.receive_with_body(false).status, 100);
    client.send(body.as_bytes());
    assert_eq!(client.receive().status, 200);
}
