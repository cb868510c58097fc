//! Where a model breaks: the first value that is no number any more.

use super::{TrainError, open};
use crate::engine::{Engine, SessionSettings};
use crate::onnx::build::value_info;
use crate::onnx::graph::{node_label, operator_label};
use crate::onnx::proto::ModelProto;
use crate::onnx::types::value_types;
use crate::tensor::{DataType, Tensor};
use crate::train::numbers::floats;

/// The first node, in the order of execution, that gives infinite values or none at all from
/// finite ones: its name and operator. `inputs` gives the inputs' values by name.
///
/// # Errors
/// The engine cannot run the model with all values as outputs.
pub fn first_broken(
    engine: &dyn Engine,
    model: &ModelProto,
    inputs: &dyn Fn(&str) -> Option<Tensor>,
) -> Result<Option<String>, TrainError> {
    let mut shown = model.clone();
    let types = value_types(model.graph.as_ref().ok_or(TrainError::NoGraph)?);
    let graph = shown.graph.as_mut().ok_or(TrainError::NoGraph)?;
    graph.output.clear();
    let names = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let is_float =
        |data_type: &&DataType| matches!(data_type, DataType::Float32 | DataType::Float64);
    let outputs = names.filter_map(|name| {
        let data_type = types.get(name.as_str()).filter(is_float)?;
        Some(value_info(name, *data_type, None))
    });
    graph.output = outputs.collect();
    let mut session = open(engine, &shown, &SessionSettings::cpu())?;
    let signature = session.signature().clone();
    let given: Vec<Option<Tensor>> =
        signature.inputs.iter().map(|spec| inputs(&spec.name)).collect();
    let wanted: Vec<usize> = (0..signature.outputs.len()).collect();
    let results = session.run(&given, &wanted)?;
    let is_broken = |tensor: &Tensor| floats(tensor).iter().any(|value| !value.is_finite());
    let broken = signature.outputs.iter().zip(&results).find(|(_, tensor)| is_broken(tensor));
    let Some((spec, _)) = broken else { return Ok(None) };
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let maker = nodes.into_iter().find(|node| node.output.contains(&spec.name));
    Ok(maker.map(|node| format!("node {:?} ({})", node_label(node), operator_label(node))))
}
