//! A model file as tract reads it, and what it says of itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as OnnxDimension;
use tract_onnx::pb::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::{Arc, Framework, InferenceModel, Tensor as TractTensor};
use tract_onnx::tensor::load_tensor;

use super::errors::{Complaint, Node, guarded};
use super::support::Checked;
use super::value::datum_type_of;
use super::{constants, functions, operators, support};
use crate::engine::{EngineError, Signature};
use crate::tensor::{DataType, Dimension, TensorSpec};

/// The first version of the format in which a constant that is also an input is a default.
const DEFAULTS_SINCE_IR: i64 = 4;

/// A parsed model: not yet typed, shapes as declared.
pub(super) struct Model {
    /// Its inputs are those of the signature, in that order.
    pub graph: InferenceModel,
    pub signature: Signature,
    /// Values of the optional inputs, which are the signature's last.
    pub defaults: Vec<Arc<TractTensor>>,
    pub node_count: usize,
    /// ONNX's operators by node name.
    pub operators: HashMap<String, String>,
}

impl Model {
    /// Reads and checks a file. With `native_threads`, calls that there are native operators for
    /// stay calls, and a run of one may use so many threads.
    pub fn read(path: &Path, native_threads: Option<usize>) -> Result<Model, EngineError> {
        std::fs::File::open(path).map_err(|error| EngineError::ModelUnreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let mut framework = tract_onnx::onnx().with_ignore_output_shapes(true);
        if native_threads.is_some() {
            operators::register(&mut framework);
        }
        let refused = |complaint: Complaint| complaint.refusal(path);
        let invalid = |reason: String| Complaint { node: None, reason }.refusal(path);
        let mut proto = guarded(|| framework.proto_model_for_path(path)).map_err(refused)?;
        check_format(&proto).map_err(invalid)?;
        if !proto.functions.is_empty() {
            proto =
                functions::inlined(&framework, path, native_threads.is_some()).map_err(refused)?;
        }
        let ir_version = proto.ir_version;
        let opset = opset_of(&proto.opset_import).unwrap_or(0);
        let graph = proto.graph.as_mut().expect("`check_format` saw the graph");
        if let Some(threads) = native_threads {
            operators::make_native(graph, threads);
        }
        support::name_nodes(graph);
        let Checked { node_count, operators } =
            support::check(&framework, graph, opset).map_err(refused)?;
        let optional =
            if ir_version < DEFAULTS_SINCE_IR { Vec::new() } else { take_defaults(graph) };
        let signature = signature_of(path, graph, &optional)?;
        check_types(graph, &signature).map_err(refused)?;
        constants::normalise(graph).map_err(|(name, reason)| {
            invalid(format!("constant {name:?} cannot be read by tract: {reason}"))
        })?;
        let folder = path.parent().and_then(Path::to_str);
        let load = |tensor: &TensorProto| {
            let mut tensor = tensor.clone();
            constants::normalise_tensor(&mut tensor)
                .map_err(|(name, reason)| invalid(format!("default of {name:?}: {reason}")))?;
            guarded(|| load_tensor(&MmapDataResolver, &tensor, folder)).map_err(refused)
        };
        let defaults: Result<Vec<_>, _> =
            optional.iter().map(|tensor| load(tensor).map(Arc::new)).collect();
        let parsed = guarded(|| framework.parse(&proto, folder)).map_err(refused)?;
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(invalid(format!("nothing in the graph makes the value {name:?}")));
        }
        let graph = order_inputs(parsed.model, &signature).map_err(invalid)?;
        Ok(Model { graph, signature, defaults: defaults?, node_count, operators })
    }
}

/// Version of the standard operators.
fn opset_of(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let standard = imports.iter().find(|import| matches!(&*import.domain, "" | "ai.onnx"));
    standard.map(|import| import.version)
}

/// What protobuf admits and ONNX does not.
fn check_format(proto: &ModelProto) -> Result<(), String> {
    let graph = proto.graph.as_ref().ok_or_else(|| "it has no graph".to_owned())?;
    if proto.opset_import.is_empty() {
        return Err("it imports no operator set".to_owned());
    }
    if graph.output.is_empty() {
        return Err("its graph has no output".to_owned());
    }
    let mut made: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    made.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    made.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    match graph.output.iter().find(|output| !made.contains(output.name.as_str())) {
        Some(output) => Err(format!("nothing in the graph makes the output {:?}", output.name)),
        None => Ok(()),
    }
}

/// Takes the constants that are inputs too out of the graph, so that tract sees inputs; in the
/// order of the inputs.
fn take_defaults(graph: &mut GraphProto) -> Vec<TensorProto> {
    let mut defaults = Vec::new();
    for input in &graph.input {
        let is_default = |tensor: &TensorProto| tensor.name == input.name;
        if let Some(index) = graph.initializer.iter().position(is_default) {
            defaults.push(graph.initializer.remove(index));
        }
    }
    defaults
}

/// Puts tract's inputs, which are in the file's order, into the signature's.
fn order_inputs(
    mut graph: InferenceModel,
    signature: &Signature,
) -> Result<InferenceModel, String> {
    let mut ordered = Vec::with_capacity(signature.inputs.len());
    for spec in &signature.inputs {
        let outlet = graph.inputs.iter().find(|outlet| graph.node(outlet.node).name == spec.name);
        ordered.push(*outlet.ok_or_else(|| format!("input {:?} is declared twice", spec.name))?);
    }
    graph.inputs = ordered;
    Ok(graph)
}

fn signature_of(
    path: &Path,
    graph: &GraphProto,
    optional: &[TensorProto],
) -> Result<Signature, EngineError> {
    let constant: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let is_optional = |name: &str| optional.iter().any(|tensor| tensor.name == name);
    let mut inputs = Vec::new();
    for input in graph.input.iter().filter(|input| !constant.contains(input.name.as_str())) {
        inputs.push(TensorSpec { optional: is_optional(&input.name), ..spec_of(path, input)? });
    }
    // A stable sort: both kinds stay in the file's order.
    inputs.sort_by_key(|spec| spec.optional);
    let outputs: Result<_, _> = graph.output.iter().map(|output| spec_of(path, output)).collect();
    Ok(Signature { inputs, outputs: outputs? })
}

fn spec_of(path: &Path, value: &ValueInfoProto) -> Result<TensorSpec, EngineError> {
    let unsupported = |kind: String| EngineError::TypeUnsupported {
        path: path.to_owned(),
        name: value.name.clone(),
        kind,
    };
    // tract's messages know no sequence, map or optional value: such a type reads as none.
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return Err(unsupported("not a tensor".to_owned()));
    };
    let onnx_type = OnnxType::try_from(tensor.elem_type).ok();
    let data_type = onnx_type.and_then(data_type_of).ok_or_else(|| {
        unsupported(match onnx_type {
            Some(onnx_type) => format!("a tensor of {onnx_type:?}"),
            None => format!("a tensor of the unknown type {}", tensor.elem_type),
        })
    })?;
    let dimension = |dimension: &tract_onnx::pb::tensor_shape_proto::Dimension| match &dimension
        .value
    {
        Some(OnnxDimension::DimValue(size)) if *size >= 0 => Dimension::Fixed(*size as usize),
        Some(OnnxDimension::DimParam(name)) if !name.is_empty() => Dimension::Named(name.clone()),
        _ => Dimension::Unknown,
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dimension).collect());
    Ok(TensorSpec { name: value.name.clone(), data_type, shape, optional: false })
}

/// Refuses types that tract lacks at the node that meets them.
fn check_types(graph: &GraphProto, signature: &Signature) -> Result<(), Complaint> {
    let lacking = |spec: &&TensorSpec| datum_type_of(spec.data_type).is_none();
    let Some(spec) = signature.inputs.iter().chain(&signature.outputs).find(lacking) else {
        return Ok(());
    };
    let touches = |names: &[String]| names.contains(&spec.name);
    let node = graph.node.iter().find(|node| touches(&node.input) || touches(&node.output));
    Err(Complaint {
        node: node.map(|node| Node { name: node.name.clone(), operator: node.op_type.clone() }),
        reason: format!("{:?} is {}, a type that tract lacks", spec.name, spec.data_type),
    })
}

#[cfg(test)]
pub(super) fn data_type_of_number(number: i32) -> Option<DataType> {
    OnnxType::try_from(number).ok().and_then(data_type_of)
}

fn data_type_of(onnx_type: OnnxType) -> Option<DataType> {
    Some(match onnx_type {
        OnnxType::Bool => DataType::Bool,
        OnnxType::Uint8 => DataType::Uint8,
        OnnxType::Uint16 => DataType::Uint16,
        OnnxType::Uint32 => DataType::Uint32,
        OnnxType::Uint64 => DataType::Uint64,
        OnnxType::Int8 => DataType::Int8,
        OnnxType::Int16 => DataType::Int16,
        OnnxType::Int32 => DataType::Int32,
        OnnxType::Int64 => DataType::Int64,
        OnnxType::Float16 => DataType::Float16,
        OnnxType::Bfloat16 => DataType::BFloat16,
        OnnxType::Float => DataType::Float32,
        OnnxType::Double => DataType::Float64,
        OnnxType::String => DataType::String,
        _ => return None,
    })
}
