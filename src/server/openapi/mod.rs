//! The OpenAPI document: the fixed routes, and one path per loaded model that says which tensors
//! it takes and gives.
//!
//! Reading order: [`document`] here, `model` (a loaded model's path), `routes` (the fixed ones),
//! `components` (what both refer to).

mod components;
mod model;
mod routes;

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::Response;
use serde_json::{Map, Value, json};

use self::components::{responses, schemas};
use self::model::Described;
use self::routes::fixed_paths;
use super::response_body::Answer;
use super::{Services, respond};
use crate::lifecycle::ActiveVersion;

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
