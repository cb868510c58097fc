//! Triton's ModelConfig as JSON: what its clients and its load generator read of a model.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tensor::{DataType, Dimension, TensorSpec};

/// Answer of `GET /v2/models/{model}/config`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelConfig {
    pub name: String,
    pub platform: String,
    pub backend: String,
    pub version_policy: VersionPolicy,
    /// 0: served unbatched, and `dims` are whole shapes.
    pub max_batch_size: usize,
    pub input: Vec<ConfigInput>,
    pub output: Vec<ConfigOutput>,
    pub instance_group: Vec<InstanceGroup>,
    pub default_model_filename: String,
    /// Left out where the version is served unbatched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    pub parameters: BTreeMap<String, ConfigParameter>,
    pub model_transaction_policy: ModelTransactionPolicy,
    pub response_cache: ResponseCache,
}

/// Which versions are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionPolicy {
    Latest { num_versions: usize },
    All {},
    Specific { versions: Vec<u64> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigInput {
    pub name: String,
    pub data_type: &'static str,
    pub dims: Vec<i64>,
    pub is_shape_tensor: bool,
    pub allow_ragged_batch: bool,
    pub optional: bool,
}

impl ConfigInput {
    /// `batched`: the first axis is the batch, which the configuration leaves out.
    pub fn new(spec: &TensorSpec, batched: bool) -> ConfigInput {
        ConfigInput {
            name: spec.name.clone(),
            data_type: config_type(spec.data_type),
            dims: config_dims(spec, batched),
            is_shape_tensor: false,
            allow_ragged_batch: false,
            optional: spec.optional,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigOutput {
    pub name: String,
    pub data_type: &'static str,
    pub dims: Vec<i64>,
    /// Empty where there are no class labels.
    pub label_filename: String,
    pub is_shape_tensor: bool,
}

impl ConfigOutput {
    /// As [`ConfigInput::new`].
    pub fn new(spec: &TensorSpec, batched: bool) -> ConfigOutput {
        ConfigOutput {
            name: spec.name.clone(),
            data_type: config_type(spec.data_type),
            dims: config_dims(spec, batched),
            label_filename: String::new(),
            is_shape_tensor: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceGroup {
    pub name: String,
    /// `KIND_CPU` or `KIND_GPU`.
    pub kind: &'static str,
    pub count: usize,
    pub gpus: Vec<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DynamicBatching {
    pub preferred_batch_size: Vec<usize>,
    pub max_queue_delay_microseconds: u64,
    pub preserve_ordering: bool,
    pub priority_levels: u32,
    pub default_priority_level: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigParameter {
    pub string_value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelTransactionPolicy {
    pub decoupled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResponseCache {
    pub enable: bool,
}

/// A type's name in the configuration.
pub const fn config_type(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "TYPE_BOOL",
        DataType::Uint8 => "TYPE_UINT8",
        DataType::Uint16 => "TYPE_UINT16",
        DataType::Uint32 => "TYPE_UINT32",
        DataType::Uint64 => "TYPE_UINT64",
        DataType::Int8 => "TYPE_INT8",
        DataType::Int16 => "TYPE_INT16",
        DataType::Int32 => "TYPE_INT32",
        DataType::Int64 => "TYPE_INT64",
        DataType::Float16 => "TYPE_FP16",
        DataType::BFloat16 => "TYPE_BF16",
        DataType::Float32 => "TYPE_FP32",
        DataType::Float64 => "TYPE_FP64",
        DataType::String => "TYPE_STRING",
    }
}

/// A shape in the configuration: without the batch axis where there is one.
pub fn config_dims(spec: &TensorSpec, batched: bool) -> Vec<i64> {
    let Some(dimensions) = &spec.shape else { return vec![-1] };
    let skipped = usize::from(batched && !dimensions.is_empty());
    dimensions[skipped..].iter().map(Dimension::protocol_size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(batched: bool) -> serde_json::Value {
        let spec = TensorSpec {
            name: "x".to_owned(),
            data_type: DataType::String,
            shape: Some(vec![Dimension::Unknown, Dimension::Fixed(3)]),
            optional: true,
        };
        let config = ModelConfig {
            name: "m".to_owned(),
            platform: "onnxruntime_onnx".to_owned(),
            backend: "onnxruntime".to_owned(),
            version_policy: VersionPolicy::Latest { num_versions: 1 },
            max_batch_size: if batched { 8 } else { 0 },
            input: vec![ConfigInput::new(&spec, batched)],
            output: vec![ConfigOutput::new(&spec, batched)],
            instance_group: vec![InstanceGroup {
                name: "m_0".to_owned(),
                kind: "KIND_CPU",
                count: 2,
                gpus: vec![],
            }],
            default_model_filename: "model.onnx".to_owned(),
            dynamic_batching: batched.then(DynamicBatching::default),
            parameters: BTreeMap::new(),
            model_transaction_policy: ModelTransactionPolicy::default(),
            response_cache: ResponseCache::default(),
        };
        serde_json::to_value(config).unwrap()
    }

    #[test]
    fn a_batched_model_leaves_out_the_batch_axis() {
        let config = config(true);
        assert_eq!(config["max_batch_size"], 8);
        assert_eq!(config["input"][0]["dims"], serde_json::json!([3]));
        assert_eq!(config["dynamic_batching"]["max_queue_delay_microseconds"], 0);
    }

    #[test]
    fn an_unbatched_model_has_no_batching() {
        let config = config(false);
        assert_eq!(config["output"][0]["dims"], serde_json::json!([-1, 3]));
        assert_eq!(config.get("dynamic_batching"), None);
    }

    #[test]
    fn a_load_generator_finds_what_it_looks_for() {
        let config = config(true);
        assert_eq!(config["model_transaction_policy"]["decoupled"], false);
        assert_eq!(config["response_cache"]["enable"], false);
        assert_eq!(config["input"][0]["data_type"], "TYPE_STRING");
        assert_eq!(config["input"][0]["optional"], true);
        assert_eq!(config["input"][0]["is_shape_tensor"], false);
        assert_eq!(config["version_policy"], serde_json::json!({"latest": {"num_versions": 1}}));
    }

    #[test]
    fn policies_have_the_configurations_form() {
        let json = |policy| serde_json::to_string(&policy).unwrap();
        assert_eq!(json(VersionPolicy::All {}), "{\"all\":{}}");
        let specific = VersionPolicy::Specific { versions: vec![1, 3] };
        assert_eq!(json(specific), "{\"specific\":{\"versions\":[1,3]}}");
    }
}
