//! A loaded model's path: the schemas of its requests and responses.

use serde_json::{Value, json};

use super::components::{OF_INFERENCE, answers};
use crate::tensor::{DataType, Dimension, TensorSpec};

/// A model as the document needs it.
pub(super) struct Described<'a> {
    pub name: &'a str,
    pub version: u64,
    pub inputs: &'a [TensorSpec],
    pub outputs: &'a [TensorSpec],
}

impl Described<'_> {
    pub fn infer(&self) -> Value {
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
        let success = json!({ "description": "The outputs", "content": both_forms(response) });
        json!({
            "post": {
                "operationId": format!("infer_{}", self.name),
                "summary": format!("Run {}, now version {}", self.name, self.version),
                "tags": ["inference"],
                "parameters": [header_length_parameter()],
                "requestBody": { "required": true, "content": both_forms(request) },
                "responses": answers(OF_INFERENCE, success),
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
