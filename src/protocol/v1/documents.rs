//! Status and metadata as documents: plain values in, their JSON by serde.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tensor::{DataType, Dimension, TensorSpec};

/// Answer of `GET /v1/models/{model}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    pub model_version_status: Vec<ModelVersionStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelVersionStatus {
    pub version: String,
    pub state: VersionState,
    pub status: VersionStatus,
}

impl ModelVersionStatus {
    /// A version in this state, or with this error where there is one.
    pub fn new(version: u64, state: VersionState, error: Option<&str>) -> ModelVersionStatus {
        let status = match error {
            None => VersionStatus { error_code: "OK", error_message: String::new() },
            Some(error) => VersionStatus { error_code: "UNKNOWN", error_message: error.to_owned() },
        };
        ModelVersionStatus { version: version.to_string(), state, status }
    }
}

/// TensorFlow Serving's words for the life of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VersionState {
    Start,
    Loading,
    Available,
    Unloading,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionStatus {
    pub error_code: &'static str,
    pub error_message: String,
}

/// Answer of `GET /v1/models/{model}/metadata`: the signature, as clients of TensorFlow Serving
/// look it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureMetadata {
    model_spec: ModelSpec,
    metadata: Metadata,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ModelSpec {
    name: String,
    signature_name: &'static str,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Metadata {
    signature_def: SignatureMap,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SignatureMap {
    signature_def: BTreeMap<&'static str, Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Signature {
    inputs: BTreeMap<String, TensorInfo>,
    outputs: BTreeMap<String, TensorInfo>,
    method_name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TensorInfo {
    name: String,
    dtype: &'static str,
    tensor_shape: TensorShape,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TensorShape {
    dim: Vec<Dim>,
    unknown_rank: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Dim {
    /// A string, as protobuf's JSON writes 64-bit integers.
    size: String,
    name: String,
}

impl SignatureMetadata {
    pub fn new(
        model: &str,
        version: u64,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> SignatureMetadata {
        let infos = |specs: &[TensorSpec]| {
            specs.iter().map(|spec| (spec.name.clone(), tensor_info(spec))).collect()
        };
        let signature = Signature {
            inputs: infos(inputs),
            outputs: infos(outputs),
            method_name: "tensorflow/serving/predict",
        };
        SignatureMetadata {
            model_spec: ModelSpec {
                name: model.to_owned(),
                signature_name: "",
                version: version.to_string(),
            },
            metadata: Metadata {
                signature_def: SignatureMap {
                    signature_def: BTreeMap::from([("serving_default", signature)]),
                },
            },
        }
    }
}

fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    let dim = |dimension: &Dimension| Dim {
        size: dimension.protocol_size().to_string(),
        name: match dimension {
            Dimension::Named(name) => name.clone(),
            Dimension::Fixed(_) | Dimension::Unknown => String::new(),
        },
    };
    TensorInfo {
        name: spec.name.clone(),
        dtype: tensorflow_name(spec.data_type),
        tensor_shape: TensorShape {
            dim: spec.shape.iter().flatten().map(dim).collect(),
            unknown_rank: spec.shape.is_none(),
        },
    }
}

const fn tensorflow_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "DT_BOOL",
        DataType::Uint8 => "DT_UINT8",
        DataType::Uint16 => "DT_UINT16",
        DataType::Uint32 => "DT_UINT32",
        DataType::Uint64 => "DT_UINT64",
        DataType::Int8 => "DT_INT8",
        DataType::Int16 => "DT_INT16",
        DataType::Int32 => "DT_INT32",
        DataType::Int64 => "DT_INT64",
        DataType::Float16 => "DT_HALF",
        DataType::BFloat16 => "DT_BFLOAT16",
        DataType::Float32 => "DT_FLOAT",
        DataType::Float64 => "DT_DOUBLE",
        DataType::String => "DT_STRING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_version_state_and_error() {
        let status = ModelStatus {
            model_version_status: vec![
                ModelVersionStatus::new(2, VersionState::Available, None),
                ModelVersionStatus::new(1, VersionState::End, Some("no such file")),
            ],
        };
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            "{\"model_version_status\":[{\"version\":\"2\",\"state\":\"AVAILABLE\",\"status\":\
             {\"error_code\":\"OK\",\"error_message\":\"\"}},{\"version\":\"1\",\"state\":\"END\",\
             \"status\":{\"error_code\":\"UNKNOWN\",\"error_message\":\"no such file\"}}]}"
        );
    }

    #[test]
    fn metadata_holds_the_signature() {
        let shape = Some(vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(3)]);
        let data_type = DataType::Float32;
        let input = TensorSpec { name: "x".to_owned(), data_type, shape, optional: false };
        let output = TensorSpec { name: "y".to_owned(), shape: None, ..input.clone() };
        let metadata = SignatureMetadata::new("m", 7, &[input], &[output]);
        assert_eq!(
            serde_json::to_value(&metadata).unwrap(),
            serde_json::json!({
                "model_spec": {"name": "m", "signature_name": "", "version": "7"},
                "metadata": {"signature_def": {"signature_def": {"serving_default": {
                    "inputs": {"x": {"name": "x", "dtype": "DT_FLOAT", "tensor_shape": {
                        "dim": [{"size": "-1", "name": "batch"}, {"size": "3", "name": ""}],
                        "unknown_rank": false}}},
                    "outputs": {"y": {"name": "y", "dtype": "DT_FLOAT", "tensor_shape": {
                        "dim": [], "unknown_rank": true}}},
                    "method_name": "tensorflow/serving/predict"
                }}}}
            })
        );
    }
}
