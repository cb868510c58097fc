//! What paths refer to: the schemas that all models share, and the failures.

use serde_json::{Map, Value, json};

pub(super) fn schemas() -> Value {
    let nested = |name: &str, item: Value| {
        json!({
            "type": "array",
            "items": { "anyOf": [item, { "$ref": format!("#/components/schemas/{name}") }] },
        })
    };
    json!({
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": { "error": { "type": "string" } },
        },
        "Shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
        "Numbers": nested("Numbers", json!({ "type": "number" })),
        "Integers": nested("Integers", json!({ "type": "integer" })),
        "Booleans": nested("Booleans", json!({ "type": "boolean" })),
        "Strings": nested("Strings", json!({ "type": "string" })),
        "RequestParameters": {
            "type": "object",
            "properties": {
                "timeout": { "type": "integer", "minimum": 0, "description": "microseconds" },
                "priority": { "type": "integer", "minimum": 0, "description": "1 is the highest" },
                "binary_data_output": { "type": "boolean" },
            },
        },
        "TensorParameters": {
            "type": "object",
            "properties": { "binary_data_size": { "type": "integer", "minimum": 0 } },
        },
        "OutputParameters": {
            "type": "object",
            "properties": {
                "binary_data": { "type": "boolean" },
                "classification": { "type": "integer", "minimum": 0 },
            },
        },
        "WithBinaryTensors": {
            "type": "string",
            "format": "binary",
            "description": "JSON of Inference-Header-Content-Length bytes, then the raw tensors",
        },
    })
}

/// Failures of an inference.
pub(super) const OF_INFERENCE: &[&str] =
    &["400", "404", "408", "413", "415", "429", "500", "503", "504"];

const STATUSES: [(&str, &str); 10] = [
    ("400", "The request is wrong"),
    ("403", "Not allowed by the configuration"),
    ("404", "Unknown model or version"),
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "The body's type or encoding is not known"),
    ("429", "The queue is full"),
    ("500", "The model failed"),
    ("503", "Not ready, or stopping"),
    ("504", "The deadline passed"),
];

pub(super) fn responses() -> Value {
    let mut responses = Map::new();
    for (status, description) in STATUSES {
        let mut response = json!({
            "description": description,
            "content": {
                "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
            },
        });
        if matches!(status, "429" | "503") {
            response["headers"] = json!({
                "Retry-After": { "schema": { "type": "integer" }, "description": "seconds" },
            });
        }
        responses.insert(format!("Status{status}"), response);
    }
    Value::Object(responses)
}

/// The responses of an operation: what it gives, and the failures it knows.
pub(super) fn answers(failures: &[&str], success: Value) -> Value {
    let mut answers = Map::new();
    answers.insert("200".to_owned(), success);
    for status in failures {
        let reference = format!("#/components/responses/Status{status}");
        answers.insert((*status).to_owned(), json!({ "$ref": reference }));
    }
    Value::Object(answers)
}
