//! The OpenAPI document: the fixed routes, and one path per loaded model that says which tensors
//! it takes and gives.

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::Response;
use serde_json::{Map, Value, json};

use super::response_body::Answer;
use super::{Services, respond};
use crate::lifecycle::ActiveVersion;
use crate::tensor::{DataType, Dimension, TensorSpec};

pub fn document(services: &Services) -> Response<Answer> {
    let table = services.active.snapshot();
    let current = table.values().filter_map(|model| model.current.as_deref());
    let models: BTreeMap<&str, &ActiveVersion> =
        current.map(|version| (version.model.as_str(), version)).collect();
    let mut paths = fixed_paths();
    for (name, version) in models {
        let signature = version.batcher.signature();
        let described = Described {
            name,
            version: version.number,
            inputs: &signature.inputs,
            outputs: &signature.outputs,
        };
        paths.insert(format!("/v2/models/{}/infer", path_segment(name)), described.infer());
    }
    respond::json(whole(paths).to_string())
}

fn whole(paths: Map<String, Value>) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "onnxd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Open Inference Protocol v2 and TensorFlow Serving's v1, with the \
                            models that are loaded now.",
        },
        "paths": paths,
        "components": { "schemas": schemas(), "responses": responses() },
    })
}

/// A model as the document needs it.
struct Described<'a> {
    name: &'a str,
    version: u64,
    inputs: &'a [TensorSpec],
    outputs: &'a [TensorSpec],
}

impl Described<'_> {
    fn infer(&self) -> Value {
        let required: Vec<&TensorSpec> =
            self.inputs.iter().filter(|input| !input.optional).collect();
        let inputs: Vec<Value> = self.inputs.iter().map(input_schema).collect();
        let outputs: Vec<Value> = self.outputs.iter().map(output_schema).collect();
        let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        let request = json!({
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": { "type": "string" },
                "parameters": { "$ref": "#/components/schemas/RequestParameters" },
                "inputs": {
                    "type": "array",
                    "minItems": required.len(),
                    "maxItems": self.inputs.len(),
                    "items": one_of(inputs),
                },
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": one_of_names(&names),
                            "parameters": { "$ref": "#/components/schemas/OutputParameters" },
                        },
                    },
                },
            },
        });
        let response = json!({
            "type": "object",
            "required": ["model_name", "model_version", "outputs"],
            "properties": {
                "model_name": { "const": self.name },
                "model_version": { "type": "string" },
                "id": { "type": "string" },
                "outputs": { "type": "array", "items": one_of(outputs) },
            },
        });
        json!({
            "post": {
                "operationId": format!("infer_{}", self.name),
                "summary": format!("Run {}, now version {}", self.name, self.version),
                "tags": ["inference"],
                "parameters": [header_length_parameter()],
                "requestBody": { "required": true, "content": both_forms(request) },
                "responses": answers(&["400", "404", "413", "415", "429", "500", "503", "504"], json!({
                    "description": "The outputs",
                    "content": both_forms(response),
                })),
            },
        })
    }
}

/// JSON, or JSON with binary tensors behind it.
fn both_forms(schema: Value) -> Value {
    json!({
        "application/json": { "schema": schema },
        "application/octet-stream": {
            "schema": { "$ref": "#/components/schemas/WithBinaryTensors" },
        },
    })
}

fn header_length_parameter() -> Value {
    json!({
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of JSON in front of binary tensors; 0 makes the body the one input.",
        "schema": { "type": "integer", "minimum": 0 },
    })
}

/// A schema that one of these must fit; nothing fits where there are none.
fn one_of(schemas: Vec<Value>) -> Value {
    if schemas.is_empty() { json!(false) } else { json!({ "oneOf": schemas }) }
}

fn one_of_names(names: &[&str]) -> Value {
    if names.is_empty() { json!(false) } else { json!({ "enum": names }) }
}

fn input_schema(spec: &TensorSpec) -> Value {
    let mut schema = tensor_schema(spec);
    // The tensor is here or behind the JSON.
    schema["anyOf"] = json!([
        { "required": ["data"] },
        {
            "required": ["parameters"],
            "properties": { "parameters": { "required": ["binary_data_size"] } },
        },
    ]);
    schema
}

fn output_schema(spec: &TensorSpec) -> Value {
    let mut schema = tensor_schema(spec);
    // A classification has another type and shape; its name stays.
    schema["properties"]["datatype"] = json!({ "enum": [spec.data_type.protocol_name(), "BYTES"] });
    schema["properties"]["shape"] = json!({ "$ref": "#/components/schemas/Shape" });
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("data");
    }
    schema["properties"]["data"] = json!({ "type": "array" });
    schema
}

fn tensor_schema(spec: &TensorSpec) -> Value {
    json!({
        "type": "object",
        "description": format!("{} of shape {}", spec.data_type, spec.shape_text()),
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": { "const": spec.name },
            "datatype": { "const": spec.data_type.protocol_name() },
            "shape": shape_schema(spec),
            "parameters": { "$ref": "#/components/schemas/TensorParameters" },
            "data": data_schema(spec.data_type),
        },
    })
}

fn shape_schema(spec: &TensorSpec) -> Value {
    let Some(dimensions) = &spec.shape else {
        return json!({ "$ref": "#/components/schemas/Shape" });
    };
    let sizes: Vec<Value> = dimensions
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(size) => json!({ "const": size }),
            Dimension::Named(name) => {
                json!({ "type": "integer", "minimum": 0, "description": name })
            }
            Dimension::Unknown => json!({ "type": "integer", "minimum": 0 }),
        })
        .collect();
    if sizes.is_empty() {
        return json!({ "type": "array", "maxItems": 0 });
    }
    let count = sizes.len();
    json!({ "type": "array", "prefixItems": sizes, "minItems": count, "maxItems": count })
}

/// JSON values of a type, flat or nested; types without a JSON form only go in binary.
fn data_schema(data_type: DataType) -> Value {
    let name = match data_type {
        DataType::Float16 | DataType::BFloat16 => return json!(false),
        DataType::Bool => "Booleans",
        DataType::String => "Strings",
        DataType::Float32 | DataType::Float64 => "Numbers",
        _ => "Integers",
    };
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schemas() -> Value {
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

const STATUSES: [(&str, &str); 9] = [
    ("400", "The request is wrong"),
    ("403", "Not allowed by the configuration"),
    ("404", "Unknown model or version"),
    ("413", "The body is too large"),
    ("415", "The body's type or encoding is not known"),
    ("429", "The queue is full"),
    ("500", "The model failed"),
    ("503", "Not ready, or stopping"),
    ("504", "The deadline passed"),
];

fn responses() -> Value {
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
fn answers(failures: &[&str], success: Value) -> Value {
    let mut answers = Map::new();
    answers.insert("200".to_owned(), success);
    for status in failures {
        let reference = format!("#/components/responses/Status{status}");
        answers.insert((*status).to_owned(), json!({ "$ref": reference }));
    }
    Value::Object(answers)
}

/// A route whose path and answers do not depend on what is loaded.
struct FixedRoute {
    path: &'static str,
    method: &'static str,
    summary: &'static str,
    /// Type of the answer; `None` where it has no body.
    content: Option<&'static str>,
    failures: &'static [&'static str],
}

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain");

const fn get(
    path: &'static str,
    summary: &'static str,
    content: Option<&'static str>,
    failures: &'static [&'static str],
) -> FixedRoute {
    FixedRoute { path, method: "get", summary, content, failures }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    content: Option<&'static str>,
    failures: &'static [&'static str],
) -> FixedRoute {
    FixedRoute { path, method: "post", summary, content, failures }
}

const OF_MODEL: &[&str] = &["404", "503"];
const OF_INFERENCE: &[&str] = &["400", "404", "413", "415", "429", "500", "503", "504"];

const FIXED_ROUTES: &[FixedRoute] = &[
    get("/", "The routes, for people", TEXT, &[]),
    get("/metrics", "Prometheus metrics", TEXT, &[]),
    get("/openapi.json", "This document", JSON, &[]),
    get("/v2", "The server", JSON, &[]),
    get("/v2/health/live", "Is the server alive", None, &[]),
    get("/v2/health/ready", "Does the server want requests", None, &["503"]),
    get("/v2/models/stats", "Statistics of all models", JSON, &[]),
    get("/v2/models/{model}", "A model", JSON, OF_MODEL),
    get("/v2/models/{model}/ready", "Is a model ready", None, OF_MODEL),
    get("/v2/models/{model}/config", "A model's configuration", JSON, OF_MODEL),
    get("/v2/models/{model}/stats", "A model's statistics", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}", "A version", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/ready", "Is a version ready", None, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/config", "Its configuration", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/stats", "Its statistics", JSON, OF_MODEL),
    post("/v2/models/{model}/versions/{version}/infer", "Run a version", JSON, OF_INFERENCE),
    post("/v2/repository/index", "Every model, version and state", JSON, &["400"]),
    post("/v2/repository/models/{model}/load", "Load or reload", None, &["400", "403", "404"]),
    post("/v2/repository/models/{model}/unload", "Unload", None, &["400", "403", "404"]),
    get("/v1/models/{model}", "State of a model's versions", JSON, &["404"]),
    get("/v1/models/{model}/metadata", "A model's signature", JSON, OF_MODEL),
    post("/v1/models/{model}:predict", "Run a model, rows or columns", JSON, OF_INFERENCE),
    get("/v1/models/{model}/versions/{version}", "State of a version", JSON, &["404"]),
    get("/v1/models/{model}/versions/{version}/metadata", "Its signature", JSON, OF_MODEL),
    post("/v1/models/{model}/versions/{version}:predict", "Run a version", JSON, OF_INFERENCE),
];

fn fixed_paths() -> Map<String, Value> {
    FIXED_ROUTES.iter().map(|route| (route.path.to_owned(), fixed_path(route))).collect()
}

fn fixed_path(route: &FixedRoute) -> Value {
    let mut success = json!({ "description": "Success" });
    if let Some(content) = route.content {
        let schema =
            if content == "application/json" { json!({}) } else { json!({ "type": "string" }) };
        success["content"] = json!({ content: { "schema": schema } });
    }
    let mut operation = json!({
        "summary": route.summary,
        "responses": answers(route.failures, success),
    });
    let parameters: Vec<Value> = ["model", "version"]
        .into_iter()
        .filter(|name| route.path.contains(&format!("{{{name}}}")))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if route.method == "post" {
        let schema = json!({ "type": "object" });
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
    }
    json!({ route.method: operation })
}

/// A name as a path segment.
fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            write!(segment, "%{byte:02X}").expect("a string takes everything");
        }
    }
    segment
}
