//! Spans as OTLP's JSON: identities in hexadecimal, 64-bit numbers as strings, enumerations as
//! numbers.

use serde_json::{Value, json};

use super::{RequestAttributes, Span};

const KIND_INTERNAL: u32 = 1;
const KIND_SERVER: u32 = 2;
const STATUS_ERROR: u32 = 2;

/// Who sends the spans; `instance` tells this process from others of the same name.
pub(super) fn resource(service_name: &str, instance: u128) -> Value {
    json!({"attributes": [
        text("service.name", service_name),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &format!("{instance:032x}")),
        number("process.pid", std::process::id().into()),
    ]})
}

/// The body of one export.
pub(super) fn request(resource: &Value, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope = json!({"name": "onnxd", "version": env!("CARGO_PKG_VERSION")});
    let body = json!({"resourceSpans": [
        {"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}
    ]});
    body.to_string().into_bytes()
}

fn span(span: &Span) -> Value {
    let mut value = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": KIND_INTERNAL,
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(request) = &span.request {
        value["kind"] = KIND_SERVER.into();
        value["attributes"] = attributes(request);
        // The convention for servers: what the client did wrong is no error of theirs.
        if request.status >= 500 {
            value["status"] = json!({"code": STATUS_ERROR, "message": request.outcome.name()});
        }
        if let Some(state) = &request.tracestate {
            value["traceState"] = state.as_str().into();
        }
    }
    value
}

fn attributes(request: &RequestAttributes) -> Value {
    let mut list = vec![
        number("http.response.status_code", request.status.into()),
        text("onnxd.request_id", &request.request_id),
        text("onnxd.outcome", request.outcome.name()),
    ];
    list.extend(request.model.as_ref().map(|model| text("onnxd.model", model)));
    list.extend(request.version.map(|version| number("onnxd.version", version)));
    list.extend(request.batch_size.map(|rows| number("onnxd.batch_size", rows as u64)));
    list.into()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}
