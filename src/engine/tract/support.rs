//! What tract is trusted with: it looks operators up by name alone, and ignores what it does not
//! know of them. What it would get wrong is refused here, by node and operator.
//!
//! The table comes from running the standard's own test cases, and ONNX Runtime beside tract on
//! attributes that those leave out.

use std::collections::HashMap;
use std::path::Path;

use tract_onnx::Onnx;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};
use tract_onnx::prelude::Framework;

use super::errors::{Complaint, Node, guarded};
use super::operators::public_name;
use crate::engine::operators::DOMAIN;

/// Operators of `ai.onnx.ml` that tract has.
const MACHINE_LEARNING: [&str; 6] = [
    "ArrayFeatureExtractor",
    "CategoryMapper",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "TreeEnsembleClassifier",
];

/// Operators of ONNX Runtime's own domain that tract computes as ONNX Runtime does.
const MICROSOFT: [&str; 6] = [
    "BiasGelu",
    "FastGelu",
    "Gelu",
    "QuickGelu",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Names in tract's table that the standard does not have.
const NOT_STANDARD: [&str; 13] = [
    "BiasGelu",
    "ConstantLike",
    "FastGelu",
    "GatherBlockQuantized",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "ParametricSoftplus",
    "QuickGelu",
    "Rsqrt",
    "ScaledTanh",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// A model's nodes, as the checks need them.
pub(super) struct Checked {
    pub node_count: usize,
    /// Operators by node name.
    pub operators: HashMap<String, String>,
}

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
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(name_nodes);
        }
    }
}

/// Checks every node of a graph and its subgraphs.
///
/// # Errors
/// The first node that tract cannot be trusted with.
pub(super) fn check(
    framework: &Onnx,
    graph: &GraphProto,
    opset: i64,
) -> Result<Checked, Complaint> {
    let mut checked = Checked { node_count: 0, operators: HashMap::new() };
    check_graph(framework, graph, opset, &mut checked)?;
    Ok(checked)
}

fn check_graph(
    framework: &Onnx,
    graph: &GraphProto,
    opset: i64,
    checked: &mut Checked,
) -> Result<(), Complaint> {
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |values| values.name.as_str());
        let reason = format!("constant {name:?} is sparse, which tract cannot read");
        return Err(Complaint { node: None, reason });
    }
    for node in &graph.node {
        let operator = full_name(node);
        let refusal = if is_known(framework, node) {
            distrust(graph, node, opset)
        } else {
            Some("tract has no such operator".to_owned())
        };
        if let Some(reason) = refusal {
            let node = Node { name: node.name.clone(), operator };
            return Err(Complaint { node: Some(node), reason });
        }
        checked.node_count += 1;
        checked.operators.insert(node.name.clone(), operator);
        for attribute in &node.attribute {
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                check_graph(framework, graph, opset, checked)?;
            }
        }
    }
    Ok(())
}

/// The name of the first node with that operator (`domain:Operator` outside the standard) in a
/// model file: ONNX Runtime does not always name the node that it refuses.
pub(in crate::engine) fn find_node(path: &Path, operator: &str) -> Option<String> {
    let mut proto = guarded(|| tract_onnx::onnx().proto_model_for_path(path)).ok()?;
    let graph = proto.graph.as_mut()?;
    name_nodes(graph);
    let in_functions = proto.functions.iter().flat_map(|function| &function.node);
    find_in(&graph.node, operator).or_else(|| find_in(in_functions, operator))
}

fn find_in<'a>(nodes: impl IntoIterator<Item = &'a NodeProto>, operator: &str) -> Option<String> {
    nodes.into_iter().find_map(|node| {
        if full_name(node) == operator {
            return Some(node.name.clone());
        }
        let graphs =
            node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        graphs.into_iter().find_map(|graph| find_in(&graph.node, operator))
    })
}

fn full_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}:{}", public_name(&node.op_type)),
    }
}

fn is_known(framework: &Onnx, node: &NodeProto) -> bool {
    let name = node.op_type.as_str();
    let in_domain = match node.domain.as_str() {
        "" | "ai.onnx" => !MACHINE_LEARNING.contains(&name) && !NOT_STANDARD.contains(&name),
        "ai.onnx.ml" => MACHINE_LEARNING.contains(&name),
        "com.microsoft" => MICROSOFT.contains(&name),
        // Registered where native operators are asked for, under names that nothing else has.
        DOMAIN => name.starts_with(DOMAIN),
        _ => false,
    };
    in_domain && framework.op_register.0.contains_key(name)
}

/// Why tract would compute something else than ONNX says, where it would.
fn distrust(graph: &GraphProto, node: &NodeProto, opset: i64) -> Option<String> {
    let ignored = |name: &str| Some(format!("tract ignores its attribute {name:?}"));
    let integer = |name: &str| attribute(node, name).map(|attribute| attribute.i);
    let float = |name: &str| attribute(node, name).map(|attribute| attribute.f);
    let has_text = |name: &str, text: &str| {
        attribute(node, name).is_some_and(|attribute| attribute.s == text.as_bytes())
    };
    let has_input = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    match node.op_type.as_str() {
        "Add" | "And" | "Div" | "Equal" | "Greater" | "Less" | "Mul" | "Or" | "Pow" | "Sub"
        | "Xor"
            if attribute(node, "axis").is_some() =>
        {
            ignored("axis")
        }
        "Attention" if (4..8).any(has_input) => {
            Some("tract does not keep past keys and values as ONNX does".to_owned())
        }
        "Attention" => ["left_window_size", "right_window_size"]
            .into_iter()
            .find(|name| integer(name).is_some_and(|size| size >= 0))
            .and_then(ignored),
        "BatchNormalization" if integer("training_mode") == Some(1) => ignored("training_mode"),
        "BitShift" => Some("tract shifts wrongly by the type's width or more".to_owned()),
        "Celu" | "Swish" if float("alpha").is_some_and(|alpha| alpha != 1.0) => ignored("alpha"),
        "DequantizeLinear" | "QuantizeLinear" => ["output_dtype", "precision"]
            .into_iter()
            .find(|name| integer(name).is_some_and(|kind| kind != 0))
            .and_then(ignored),
        "Einsum" if sums_all(node) => {
            Some("tract takes the empty right side of its equation for none".to_owned())
        }
        "GlobalLpPool" => Some("tract divides by the number of elements".to_owned()),
        "GRU" => distrust_recurrence(node, &["Sigmoid", "Tanh"]),
        "LSTM"
            if !(has_input(5) && has_input(6))
                && node.output.get(2).is_some_and(|name| !name.is_empty()) =>
        {
            Some("tract begins with the state of one sequence, however many there are".to_owned())
        }
        "LSTM" => distrust_recurrence(node, &["Sigmoid", "Tanh", "Tanh"]),
        "RNN" => distrust_recurrence(node, &["Tanh"]),
        "LinearClassifier" => distrust_classifier(node),
        "LinearRegressor" if !has_text("post_transform", "NONE") => {
            attribute(node, "post_transform").and_then(|_| ignored("post_transform"))
        }
        "Normalizer" if !has_text("norm", "L1") && !has_text("norm", "L2") => {
            Some("tract takes the largest magnitude for the largest value".to_owned())
        }
        "Pad" => distrust_pads(graph, node),
        "Resize" if opset < 11 => Some("tract has only the newer operator of this name".to_owned()),
        "Scan" if opset < 9 => Some("tract has only the newer operator of this name".to_owned()),
        "SpaceToDepth" if has_text("mode", "CRD") => ignored("mode"),
        "TreeEnsembleClassifier" => distrust_trees(node),
        _ => None,
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Whether the equation asks for a single number although some index occurs once.
fn sums_all(node: &NodeProto) -> bool {
    let equation = attribute(node, "equation").map(|equation| equation.s.as_slice());
    let text = String::from_utf8_lossy(equation.unwrap_or_default());
    let Some((left, right)) = text.split_once("->") else { return false };
    let once = |letter: char| left.chars().filter(|&other| other == letter).count() == 1;
    right.trim().is_empty() && left.chars().any(|c| c.is_alphabetic() && once(c))
}

fn distrust_recurrence(node: &NodeProto, usual: &[&str]) -> Option<String> {
    let ignored = |name: &str| Some(format!("tract ignores its attribute {name:?}"));
    let present = ["clip", "activation_alpha", "activation_beta"]
        .into_iter()
        .find(|name| attribute(node, name).is_some());
    if let Some(name) = present {
        return ignored(name);
    }
    if attribute(node, "input_forget").is_some_and(|forget| forget.i != 0) {
        return ignored("input_forget");
    }
    let activations = attribute(node, "activations");
    let unusual = activations.is_some_and(|activations| {
        let usual = usual.iter().cycle();
        let mut pairs = activations.strings.iter().zip(usual);
        pairs.any(|(given, usual)| !given.eq_ignore_ascii_case(usual.as_bytes()))
    });
    if unusual {
        return ignored("activations");
    }
    let reverse = attribute(node, "direction").is_some_and(|direction| direction.s == b"reverse");
    reverse.then(|| "tract runs its sequence forwards".to_owned())
}

fn distrust_classifier(node: &NodeProto) -> Option<String> {
    let count = |name: &str| {
        attribute(node, name).map_or(0, |labels| labels.ints.len() + labels.strings.len())
    };
    let labels = count("classlabels_ints") + count("classlabels_strings");
    let rows = attribute(node, "intercepts").map_or(0, |intercepts| intercepts.floats.len());
    let logistic =
        attribute(node, "post_transform").is_some_and(|transform| transform.s == b"LOGISTIC");
    (rows != labels && !logistic)
        .then(|| "tract scores two classes from one row otherwise".to_owned())
}

fn distrust_trees(node: &NodeProto) -> Option<String> {
    let tensors = node.attribute.iter().find(|attribute| attribute.name.ends_with("_as_tensor"));
    if let Some(attribute) = tensors {
        return Some(format!("tract ignores its attribute {:?}", attribute.name));
    }
    let ids = attribute(node, "class_ids").map(|ids| ids.ints.as_slice()).unwrap_or_default();
    let one_class = ids.iter().all(|id| Some(id) == ids.first());
    one_class.then(|| "tract scores two classes from one otherwise".to_owned())
}

fn distrust_pads(graph: &GraphProto, node: &NodeProto) -> Option<String> {
    let constant = node.input.get(1).and_then(|name| integers(graph, name));
    let attribute = attribute(node, "pads").map(|pads| pads.ints.clone());
    let negative = constant.or(attribute)?.iter().any(|&size| size < 0);
    negative.then(|| "tract cannot take away with negative pads".to_owned())
}

/// A constant of 64-bit integers, where the graph has one of that name.
fn integers(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    let initializer = graph.initializer.iter().find(|tensor| tensor.name == name);
    let made = || {
        let makes = |node: &&NodeProto| node.output.first().is_some_and(|output| output == name);
        let node = graph.node.iter().find(makes).filter(|node| node.op_type == "Constant")?;
        attribute(node, "value")?.t.as_ref()
    };
    let tensor = initializer.or_else(made)?;
    if !tensor.int64_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    let chunks = tensor.raw_data.chunks_exact(8);
    Some(chunks.map(|bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_all_are_told_from_inner_products() {
        let cases =
            [("ij->", true), ("i, j -> ", true), ("i,i->", false), ("ij->i", false), ("ij", false)];
        for (equation, expected) in cases {
            let attribute = AttributeProto {
                name: "equation".to_owned(),
                s: equation.as_bytes().to_vec(),
                ..AttributeProto::default()
            };
            let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
            assert_eq!(sums_all(&node), expected, "{equation}");
        }
    }
}
