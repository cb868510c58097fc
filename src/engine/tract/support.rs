//! What tract is trusted with: it looks operators up by name alone, and ignores what it does not
//! know of them. What it would get wrong is refused here, by node and operator.

use tract_onnx::Onnx;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

use super::errors::{Complaint, Node};

/// Operators of `ai.onnx.ml` that tract has.
const MACHINE_LEARNING: [&str; 6] = [
    "ArrayFeatureExtractor",
    "CategoryMapper",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "TreeEnsembleClassifier",
];

/// Operators of ONNX Runtime's own domain that tract has.
const MICROSOFT: [&str; 0] = [];

/// Names in tract's table that the standard does not have.
const NOT_STANDARD: [&str; 12] = [
    "BiasGelu",
    "FastGelu",
    "GatherBlockQuantized",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuickGelu",
    "Rsqrt",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "ConstantLike",
];

/// Gives every node a name, so that what is said of it later names something.
pub(super) fn name_nodes(graph: &mut GraphProto) {
    for (index, node) in graph.node.iter_mut().enumerate() {
        if node.name.is_empty() {
            let output = node.output.iter().find(|output| !output.is_empty());
            node.name = match output {
                Some(output) => output.clone(),
                None => format!("{}-{index}", node.op_type),
            };
        }
        for graph in node.attribute.iter_mut().flat_map(subgraphs) {
            name_nodes(graph);
        }
    }
}

fn subgraphs(attribute: &mut AttributeProto) -> impl Iterator<Item = &mut GraphProto> {
    attribute.g.iter_mut().chain(&mut attribute.graphs)
}

/// Checks every node of a graph and its subgraphs, and counts them.
///
/// # Errors
/// The first node that tract cannot be trusted with.
pub(super) fn check(framework: &Onnx, graph: &GraphProto) -> Result<usize, Complaint> {
    let mut count = graph.node.len();
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |values| values.name.as_str());
        let reason = format!("constant {name:?} is sparse, which tract cannot read");
        return Err(Complaint { node: None, reason });
    }
    for node in &graph.node {
        if let Some(reason) = refusal(framework, node) {
            let node = Node { name: node.name.clone(), operator: full_name(node) };
            return Err(Complaint { node: Some(node), reason });
        }
        for attribute in &node.attribute {
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                count += check(framework, graph)?;
            }
        }
    }
    Ok(count)
}

fn full_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}:{}", node.op_type),
    }
}

fn refusal(framework: &Onnx, node: &NodeProto) -> Option<String> {
    let name = node.op_type.as_str();
    let in_domain = match node.domain.as_str() {
        "" | "ai.onnx" => !MACHINE_LEARNING.contains(&name) && !NOT_STANDARD.contains(&name),
        "ai.onnx.ml" => MACHINE_LEARNING.contains(&name),
        "com.microsoft" => MICROSOFT.contains(&name),
        _ => false,
    };
    if !in_domain || !framework.op_register.0.contains_key(name) {
        return Some("tract has no such operator".to_owned());
    }
    None
}
