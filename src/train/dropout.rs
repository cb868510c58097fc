//! Dropout as it is in training. In a model as it is used it passes everything on.

use std::collections::HashMap;

use super::numbers::{floats, scalar};
use super::step_graph::DRAW;
use crate::autodiff::DOMAIN;
use crate::autodiff::functions::dropout::{MODULUS, dropout_mask};
use crate::onnx::build::Node;
use crate::onnx::graph::canonical_domain;
use crate::onnx::proto::{FunctionProto, GraphProto, NodeProto};
use crate::onnx::weights::{tensor, tensor_proto};
use crate::tensor::{DataType, Tensor};

/// The share that is dropped where a node does not say it.
const RATIO: f64 = 0.5;

/// Has each dropout multiply by a mask, which follows from the seed, the node and the number of the
/// batch; the function that makes masks, where there are any. A node whose ratio is computed, or
/// that drops nothing, stays.
pub(super) fn drop_at_random(
    graph: &mut GraphProto,
    seed: u64,
    opset: i64,
) -> Option<FunctionProto> {
    let ratios: HashMap<String, f64> = graph
        .initializer
        .iter()
        .filter(|proto| proto.dims.iter().all(|&size| size == 1))
        .filter_map(|proto| Some((proto.name().to_owned(), number(&tensor(proto).ok()?)?)))
        .collect();
    let ratio = |node: &NodeProto| match node.input.get(1).filter(|name| !name.is_empty()) {
        Some(name) => ratios.get(name).copied(),
        None => Some(RATIO),
    };
    let mut count = 0;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let is_dropout = node.op_type() == "Dropout" && canonical_domain(node.domain()).is_empty();
        match ratio(&node).filter(|ratio| is_dropout && *ratio > 0.0) {
            Some(ratio) => {
                nodes.extend(masked(&node, ratio, (seed, count)));
                count += 1;
            }
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    if count == 0 {
        return None;
    }
    graph.initializer.push(tensor_proto(DRAW, &scalar(DataType::Int64, 1.0)));
    Some(dropout_mask(opset))
}

/// A ratio as it was written: 0.1 in 32 bits is not 0.1 any more.
fn number(tensor: &Tensor) -> Option<f64> {
    match tensor.data_type() {
        DataType::Float32 => tensor.to_f32()?.first()?.to_string().parse().ok(),
        DataType::Float64 => floats(tensor).first().copied(),
        _ => None,
    }
}

/// The nodes in the place of the `count`th dropout.
fn masked(node: &NodeProto, ratio: f64, (seed, count): (u64, i64)) -> Vec<NodeProto> {
    let kept = (1.0 - ratio).clamp(0.0, 1.0);
    let scale = if kept > 0.0 { 1.0 / kept } else { 0.0 };
    let (x, y) = (node.input[0].as_str(), node.output[0].as_str());
    let mask = format!("{y}/mask");
    let drawn = Node::new("DropoutMask", &[x, DRAW])
        .domain(DOMAIN)
        .name(&mask)
        .output(&mask)
        .attribute("seed", (seed % MODULUS.unsigned_abs()).cast_signed())
        .attribute("node", count)
        .attribute("threshold", (kept * MODULUS as f64).round() as i64)
        .attribute("scale", scale as f32);
    let product = Node::new("Mul", &[x, &mask]).name(node.name()).output(y);
    let mut nodes = vec![drawn.into_proto(), product.into_proto()];
    if let Some(kept) = node.output.get(1).filter(|name| !name.is_empty()) {
        let to = i64::from(crate::onnx::element_type_of(DataType::Bool));
        let cast = Node::new("Cast", &[&mask]).name(kept).output(kept).attribute("to", to);
        nodes.push(cast.into_proto());
    }
    nodes
}
