//! Spans reach a collector, or are counted as lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::Value;

use super::*;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const MS: Duration = Duration::from_millis(1);

/// A collector that answers with these statuses in turn, and 200 after them. Each request's
/// first line and body come out of the receiver.
fn collector(statuses: &'static [u16]) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = sync_channel(64);
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a header");
                if line == "\r\n" {
                    break;
                }
                head.push(line.trim_end().to_owned());
            }
            let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.expect("a length").parse().unwrap()];
            stream.read_exact(&mut body).expect("the body");
            let status = statuses.get(index).copied().unwrap_or(200);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}");
            stream.get_mut().write_all(answer.as_bytes()).expect("the exporter reads");
            let body = serde_json::from_slice(&body).expect("JSON");
            if sender.send((head.swap_remove(0), body)).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

fn settings(endpoint: &str, sample_ratio: f64) -> TraceSettings {
    let service_name = "onnxd".to_owned();
    TraceSettings { endpoint: endpoint.to_owned(), sample_ratio, service_name }
}

fn ended(status: u16, stages: Option<Stages>) -> RequestEnded<'static> {
    let outcome = if status == 200 { Outcome::Ok } else { Outcome::Failed };
    let request_id = "r1";
    let (model, version) = (Some("digits"), Some(1));
    RequestEnded { name: "infer", model, version, request_id, status, outcome, stages }
}

fn stages(queued: Instant) -> Stages {
    Stages {
        queued,
        queue: MS,
        assembly: MS,
        inference: 2 * MS,
        split: MS,
        write: MS,
        batch_size: 8,
    }
}

fn spans(body: &Value) -> &Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans")
}

#[test]
fn a_request_becomes_a_span_with_a_child_per_stage_under_the_callers() {
    let (endpoint, received) = collector(&[]);
    let tracer = Tracer::start(&settings(&endpoint, 0.0)).expect("the settings are right");
    let trace = tracer.begin(Some(TRACEPARENT), Some("vendor=1")).expect("the caller samples");
    let context = trace.context();
    assert_eq!(format!("{:032x}", context.trace_id), TRACEPARENT[3..35]);
    let queued = trace.started;
    tracer.finish(trace, &ended(200, Some(stages(queued))));
    assert!(tracer.shutdown(Duration::from_secs(20)), "everything is sent before the end");

    let (line, body) = received.recv().expect("one export");
    assert_eq!(line, "POST /v1/traces HTTP/1.1");
    let spans = spans(&body);
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["infer", "queue", "batch", "inference", "split", "write"]);
    assert_eq!(spans[0]["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(spans[0]["traceState"], "vendor=1");
    assert_eq!(spans[0]["kind"], 2);
    assert!(spans[0].get("status").is_none());
    for child in &spans[1..] {
        assert_eq!(child["traceId"], spans[0]["traceId"]);
        assert_eq!(child["parentSpanId"], format!("{:016x}", context.span_id));
    }
    assert_eq!(spans[1]["endTimeUnixNano"], spans[2]["startTimeUnixNano"]);
    let attributes = spans[0]["attributes"].to_string();
    for expected in ["digits", "r1", "\"8\"", "\"200\"", "onnxd.outcome"] {
        assert!(attributes.contains(expected), "{expected} is not in {attributes}");
    }
}

#[test]
fn a_failed_export_is_tried_again() {
    let (endpoint, received) = collector(&[503]);
    let tracer = Tracer::start(&settings(&endpoint, 1.0)).expect("the settings are right");
    let trace = tracer.begin(None, None).expect("all are sampled");
    tracer.finish(trace, &ended(500, None));
    let (_, first) = received.recv().expect("an attempt");
    let (_, second) = received.recv().expect("another");
    assert_eq!(first, second);
    assert_eq!(spans(&second)[0]["status"]["code"], 2);
    assert!(spans(&second)[0].get("parentSpanId").is_none());
    assert!(tracer.shutdown(Duration::from_secs(20)));
}

#[test]
fn the_caller_decides_and_else_the_ratio() {
    let (endpoint, _received) = collector(&[]);
    let never = Tracer::start(&settings(&endpoint, 0.0)).unwrap();
    assert!(never.begin(None, None).is_none());
    assert!(never.begin(Some("nonsense"), None).is_none());
    assert!(never.begin(Some(TRACEPARENT), None).is_some());
    let always = Tracer::start(&settings(&endpoint, 1.0)).unwrap();
    assert!(always.begin(Some(&TRACEPARENT.replace("-01", "-00")), None).is_none());
    assert!(always.begin(None, Some("alone=1")).is_some_and(|trace| trace.tracestate.is_none()));
    let some = Tracer::start(&settings(&endpoint, 0.25)).unwrap();
    let sampled = (0..10_000).filter(|_| some.begin(None, None).is_some()).count();
    assert!((2200..2800).contains(&sampled), "a quarter of 10000, not {sampled}");
}

#[test]
fn an_endpoint_that_is_not_there_costs_spans_and_nothing_else() {
    // Bound and dropped: nobody listens on the port.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tracer = Tracer::start(&settings(&format!("http://{address}"), 1.0)).unwrap();
    for _ in 0..2 * QUEUE_CAPACITY {
        let trace = tracer.begin(None, None).unwrap();
        tracer.finish(trace, &ended(200, None));
    }
    assert!(tracer.shutdown(Duration::from_secs(20)), "the end is not held up by retries");
}

#[test]
fn wrong_settings_are_refused() {
    assert!(settings("http://localhost", 1.5).check().is_err());
    assert!(settings("http://localhost", f64::NAN).check().is_err());
    assert!(settings("grpc://localhost", 1.0).check().is_err());
}
