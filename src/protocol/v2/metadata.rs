//! What the server and a model say of themselves.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tensor::{Dimension, TensorSpec};

/// Answer of `GET /v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerMetadata {
    pub name: String,
    pub version: String,
    /// Only what is implemented: clients branch on it.
    pub extensions: Vec<&'static str>,
}

/// Answer of `GET /v2/models/{model}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelMetadata {
    pub name: String,
    pub versions: Vec<String>,
    pub platform: String,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
    /// Beyond the protocol: engine, device and layout, as they really are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorMetadata {
    pub name: String,
    pub datatype: &'static str,
    /// -1 where an axis is open; one open axis where even the rank is.
    pub shape: Vec<i64>,
}

impl From<&TensorSpec> for TensorMetadata {
    fn from(spec: &TensorSpec) -> TensorMetadata {
        let sizes =
            |dimensions: &Vec<Dimension>| dimensions.iter().map(Dimension::protocol_size).collect();
        TensorMetadata {
            name: spec.name.clone(),
            datatype: spec.data_type.protocol_name(),
            shape: spec.shape.as_ref().map_or_else(|| vec![-1], sizes),
        }
    }
}

/// Answer of `GET /v2/models/{model}/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelReady {
    pub name: String,
    pub ready: bool,
}

/// Body of every answer that is an error, in both protocols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;

    #[test]
    fn a_model_says_names_types_and_shapes() {
        let spec = TensorSpec {
            name: "x".to_owned(),
            data_type: DataType::String,
            shape: Some(vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(3)]),
            optional: false,
        };
        let no_rank = TensorSpec { shape: None, ..spec.clone() };
        let metadata = ModelMetadata {
            name: "m".to_owned(),
            versions: vec!["1".to_owned()],
            platform: "onnx_onnxv1".to_owned(),
            inputs: vec![TensorMetadata::from(&spec)],
            outputs: vec![TensorMetadata::from(&no_rank)],
            parameters: BTreeMap::new(),
        };
        assert_eq!(
            serde_json::to_string(&metadata).unwrap(),
            "{\"name\":\"m\",\"versions\":[\"1\"],\"platform\":\"onnx_onnxv1\",\"inputs\":[{\"name\":\
             \"x\",\"datatype\":\"BYTES\",\"shape\":[-1,3]}],\"outputs\":[{\"name\":\"x\",\"datatype\":\
             \"BYTES\",\"shape\":[-1]}]}"
        );
    }
}
