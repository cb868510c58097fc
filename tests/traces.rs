//! The spans that leave the daemon, judged by the OpenTelemetry protocol's own definitions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use onnxd::telemetry::Outcome;
use onnxd::telemetry::traces::{RequestEnded, Stages, TraceSettings, Tracer};

use crate::support::python;

/// Reads a body from stdin with the official definitions, unknown fields refused, and prints
/// name, parent and duration of each span. Protobuf's JSON wants identities in base64, OTLP's in
/// hexadecimal: the one difference, undone first.
const READER: &str = r#"
import base64, json, sys
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
body = json.load(sys.stdin)
for resource in body["resourceSpans"]:
    for scope in resource["scopeSpans"]:
        for span in scope["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in span:
                    span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
request = json_format.ParseDict(body, ExportTraceServiceRequest())
names = {}
for resource in request.resource_spans:
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    print("service", attributes["service.name"])
    for scope in resource.scope_spans:
        names.update((span.span_id, span.name) for span in scope.spans)
        for span in scope.spans:
            assert len(span.trace_id) == 16 and len(span.span_id) == 8
            assert span.end_time_unix_nano >= span.start_time_unix_nano
            parent = names.get(span.parent_span_id, span.parent_span_id.hex() or "none")
            kind = span.SpanKind.Name(span.kind)
            print(span.name, parent, kind, span.end_time_unix_nano - span.start_time_unix_nano)
"#;

/// Takes one export and gives its body.
fn collector() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let body = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the exporter connects");
        let mut stream = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).expect("a header");
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the body");
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("it reads");
        body
    });
    (endpoint, body)
}

#[test]
fn the_official_definitions_read_what_is_exported() {
    let (endpoint, body) = collector();
    let service_name = "onnxd-test".to_owned();
    let settings = TraceSettings { endpoint, sample_ratio: 1.0, service_name };
    let tracer = Tracer::start(&settings).expect("the settings are right");
    let trace = tracer
        .begin(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), Some("a=1"))
        .expect("the caller samples");
    let ms = Duration::from_millis;
    let stages = Stages {
        queued: Instant::now(),
        queue: ms(1),
        assembly: ms(2),
        inference: ms(3),
        split: ms(4),
        write: Duration::ZERO,
        batch_size: 2,
    };
    let ended = RequestEnded {
        name: "infer",
        model: Some("digits \"quoted\" \u{1f522}"),
        version: Some(1),
        request_id: "42",
        status: 504,
        outcome: Outcome::Expired,
        stages: Some(stages),
    };
    tracer.finish(trace, &ended);
    assert!(tracer.shutdown(Duration::from_secs(30)));

    let mut reader = Command::new(python::interpreter())
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let body = body.join().expect("one export comes");
    let mut stdin = reader.stdin.take().expect("stdin is a pipe");
    stdin.write_all(&body).expect("the reader reads");
    drop(stdin);
    let output = reader.wait_with_output().expect("the reader ends");
    assert!(output.status.success(), "the definitions refuse the body; see stderr");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "service onnxd-test");
    assert!(lines[1].starts_with("infer 00f067aa0ba902b7 SPAN_KIND_SERVER "), "{text}");
    assert_eq!(
        lines[2..6],
        [
            "queue infer SPAN_KIND_INTERNAL 1000000",
            "batch infer SPAN_KIND_INTERNAL 2000000",
            "inference infer SPAN_KIND_INTERNAL 3000000",
            "split infer SPAN_KIND_INTERNAL 4000000",
        ]
    );
    assert!(lines[6].starts_with("write infer "), "{text}");
}
