//! A model file as tract reads it, and what it says of itself.

use std::path::Path;

use tract_onnx::pb;
use tract_onnx::prelude::{Framework, InferenceModel};

use crate::engine::{EngineError, Signature};
use crate::tensor::{DataType, Dimension, TensorSpec};

/// A parsed model: not yet typed, shapes as declared.
pub(super) struct Model {
    pub graph: InferenceModel,
    pub signature: Signature,
    pub node_count: usize,
}

impl Model {
    pub fn read(path: &Path) -> Result<Model, EngineError> {
        let invalid = |reason: String| EngineError::ModelInvalid { path: path.to_owned(), reason };
        std::fs::File::open(path).map_err(|error| EngineError::ModelUnreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let framework = tract_onnx::onnx().with_ignore_output_shapes(true);
        let proto =
            framework.proto_model_for_path(path).map_err(|error| invalid(format!("{error:#}")))?;
        let graph = proto.graph.as_ref().ok_or_else(|| invalid("it has no graph".to_owned()))?;
        let signature = signature_of(path, graph)?;
        let folder = path.parent().and_then(Path::to_str);
        let parsed =
            framework.parse(&proto, folder).map_err(|error| invalid(format!("{error:#}")))?;
        Ok(Model { graph: parsed.model, signature, node_count: graph.node.len() })
    }
}

fn signature_of(path: &Path, graph: &pb::GraphProto) -> Result<Signature, EngineError> {
    let has_default = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let mut inputs = Vec::new();
    for input in graph.input.iter().filter(|input| !has_default(&input.name)) {
        inputs.push(spec_of(path, input)?);
    }
    let outputs: Result<_, _> = graph.output.iter().map(|output| spec_of(path, output)).collect();
    Ok(Signature { inputs, outputs: outputs? })
}

fn spec_of(path: &Path, value: &pb::ValueInfoProto) -> Result<TensorSpec, EngineError> {
    let unsupported = |kind: &str| EngineError::TypeUnsupported {
        path: path.to_owned(),
        name: value.name.clone(),
        kind: kind.to_owned(),
    };
    let Some(pb::type_proto::Value::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Err(unsupported("not a tensor"));
    };
    let data_type = data_type_of(tensor.elem_type)
        .ok_or_else(|| unsupported("a tensor of a type that the protocol lacks"))?;
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dimension_of).collect());
    Ok(TensorSpec { name: value.name.clone(), data_type, shape, optional: false })
}

fn dimension_of(dimension: &pb::tensor_shape_proto::Dimension) -> Dimension {
    use pb::tensor_shape_proto::dimension::Value;
    match &dimension.value {
        Some(Value::DimValue(size)) => match usize::try_from(*size) {
            Ok(size) => Dimension::Fixed(size),
            Err(_) => Dimension::Unknown,
        },
        Some(Value::DimParam(name)) if !name.is_empty() => Dimension::Named(name.clone()),
        _ => Dimension::Unknown,
    }
}

/// Our type of ONNX's number for it.
fn data_type_of(number: i32) -> Option<DataType> {
    use pb::tensor_proto::DataType as Onnx;
    Some(match Onnx::try_from(number).ok()? {
        Onnx::Bool => DataType::Bool,
        Onnx::Uint8 => DataType::Uint8,
        Onnx::Uint16 => DataType::Uint16,
        Onnx::Uint32 => DataType::Uint32,
        Onnx::Uint64 => DataType::Uint64,
        Onnx::Int8 => DataType::Int8,
        Onnx::Int16 => DataType::Int16,
        Onnx::Int32 => DataType::Int32,
        Onnx::Int64 => DataType::Int64,
        Onnx::Float16 => DataType::Float16,
        Onnx::Bfloat16 => DataType::BFloat16,
        Onnx::Float => DataType::Float32,
        Onnx::Double => DataType::Float64,
        Onnx::String => DataType::String,
        _ => return None,
    })
}
