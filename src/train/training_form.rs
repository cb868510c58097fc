//! A model as it is trained, where that is not as it is used: batch normalisations take the batch's
//! own statistics and keep the running ones, dropouts drop, and convolutions are calls of our
//! function, whose kernel does not mind that their weights change.

use std::collections::{HashMap, HashSet};

use super::TrainError;
use super::dropout::drop_at_random;
use crate::autodiff::{DOMAIN, functions};
use crate::onnx::build::{Node, operator_set};
use crate::onnx::graph::{attribute, canonical_domain};
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};

/// The model in training, and what it keeps besides parameters.
#[derive(Clone, Debug)]
pub struct TrainingForm {
    pub model: ModelProto,
    /// Running statistics: the initializer, and the value that it becomes after a step.
    pub running: Vec<(String, String)>,
    /// Whether the model is another one at all.
    pub differs: bool,
}

/// PyTorch's and ONNX's defaults of a batch normalisation.
const EPSILON: f32 = 1e-5;
const MOMENTUM: f32 = 0.9;

/// The form for these parameters. A batch normalisation whose scale and bias are both frozen
/// stays as it is, with frozen statistics.
///
/// # Errors
/// The model has no graph.
pub fn training_form(
    model: &ModelProto,
    parameters: &[String],
    (seed, opset): (u64, i64),
) -> Result<TrainingForm, TrainError> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
    let initializers: HashSet<String> =
        graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    let is_trained = |node: &NodeProto| {
        let own = canonical_domain(node.domain()).is_empty();
        let place = |index: usize| node.input.get(index).map_or("", String::as_str);
        let trained = [1, 2].iter().any(|&index| parameters.iter().any(|it| it == place(index)));
        let kept = [3, 4].iter().all(|&index| initializers.contains(place(index)));
        own && node.op_type() == "BatchNormalization" && trained && kept
    };
    let mut running = Vec::new();
    for node in graph.node.iter_mut().filter(|node| is_trained(node)) {
        let output = node.output[0].clone();
        let after = |what: &str| format!("{output}/{what}");
        running.push((node.input[3].clone(), after("running_mean")));
        running.push((node.input[4].clone(), after("running_variance")));
        let number = |name: &str, default: f32| {
            attribute(node, name).and_then(|attribute| attribute.f).unwrap_or(default)
        };
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        *node = Node::new("BatchNormalizationTraining", &inputs)
            .domain(DOMAIN)
            .name(node.name())
            .output(&output)
            .output(&after("running_mean"))
            .output(&after("running_variance"))
            .output(&after("mean"))
            .output(&after("inverse_deviation"))
            .attribute("epsilon", number("epsilon", EPSILON))
            .attribute("momentum", number("momentum", MOMENTUM))
            .into_proto();
    }
    let mut called: Vec<FunctionProto> = Vec::new();
    if !running.is_empty() {
        called.push(functions::normalization::batch_normalization_training(opset));
    }
    if call_convolutions(graph, parameters) {
        called.push(functions::convolution::conv(opset));
    }
    called.extend(drop_at_random(graph, seed, opset));
    let differs = !called.is_empty();
    if differs {
        model.functions.extend(called);
        model.opset_import.push(operator_set(DOMAIN, 1));
    }
    Ok(TrainingForm { model, running, differs })
}

/// Makes convolutions with trained weights calls of our function; whether there are any. Those
/// whose pads follow from sizes stay as they are.
fn call_convolutions(graph: &mut GraphProto, parameters: &[String]) -> bool {
    let kernels: HashMap<&str, Vec<i64>> = graph
        .initializer
        .iter()
        .filter(|proto| parameters.iter().any(|name| name == proto.name()))
        .map(|proto| (proto.name(), proto.dims.iter().skip(2).copied().collect()))
        .collect();
    let mut any = false;
    for node in &mut graph.node {
        let own = canonical_domain(node.domain()).is_empty();
        let text = |name: &str| attribute(node, name).and_then(|attribute| attribute.s.clone());
        let explicit = text("auto_pad").is_none_or(|pad| pad.as_ref() == b"NOTSET");
        let kernel = node.input.get(1).and_then(|weight| kernels.get(weight.as_str()));
        let Some(kernel) = kernel.filter(|kernel| own && explicit && !kernel.is_empty()) else {
            continue;
        };
        if node.op_type() != "Conv" {
            continue;
        }
        let axes = kernel.len();
        let ints = |name: &str, default: i64, count: usize| {
            let given = attribute(node, name).map(|attribute| attribute.ints.clone());
            given.filter(|given| !given.is_empty()).unwrap_or_else(|| vec![default; count])
        };
        let group = attribute(node, "group").and_then(|group| group.i).unwrap_or(1);
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        *node = Node::new("Conv", &inputs)
            .domain(DOMAIN)
            .name(node.name())
            .output(&node.output[0])
            .attribute("kernel_shape", &kernel[..])
            .attribute("strides", &ints("strides", 1, axes)[..])
            .attribute("dilations", &ints("dilations", 1, axes)[..])
            .attribute("pads", &ints("pads", 0, 2 * axes)[..])
            .attribute("group", group)
            .into_proto();
        any = true;
    }
    any
}
