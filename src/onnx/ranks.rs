//! How many axes values have, as far as the file tells: what it declares, and what follows from
//! that through operators that leave no doubt.

use std::collections::HashMap;

use super::constants::constant;
use super::graph::{attribute, canonical_domain};
use super::proto::{GraphProto, NodeProto, TensorProto, TypeValue, ValueInfoProto};

/// By the value's name. A subgraph sees values from outside it, of ranks that `outer` knows.
pub(super) fn value_ranks_within<'a>(
    graph: &'a GraphProto,
    outer: &dyn Fn(&str) -> Option<usize>,
) -> HashMap<&'a str, usize> {
    let mut ranks: HashMap<&str, usize> = HashMap::new();
    let declared = graph.input.iter().chain(&graph.value_info).chain(&graph.output);
    ranks.extend(declared.filter_map(|value| Some((value.name(), declared_rank(value)?))));
    ranks.extend(graph.initializer.iter().map(|tensor| (tensor.name(), tensor.dims.len())));
    // What a `Reshape` may read its shape from.
    let mut lengths: HashMap<&str, usize> =
        graph.initializer.iter().filter_map(|t| Some((t.name(), length(t)?))).collect();
    for node in &graph.node {
        let Some(output) = node.output.first() else { continue };
        if let Ok(Some(tensor)) = constant(node) {
            lengths.extend(length(&tensor).map(|length| (output.as_str(), length)));
            ranks.insert(output, tensor.dims.len());
            continue;
        }
        let known = |name: &str| ranks.get(name).copied().or_else(|| outer(name));
        if let Some(rank) = output_rank(node, &known, &lengths) {
            ranks.entry(output).or_insert(rank);
        }
    }
    ranks
}

fn declared_rank(value: &ValueInfoProto) -> Option<usize> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => Some(tensor.shape.as_ref()?.dim.len()),
        _ => None,
    }
}

/// Elements of a vector.
fn length(tensor: &TensorProto) -> Option<usize> {
    match *tensor.dims {
        [size] => usize::try_from(size).ok(),
        _ => None,
    }
}

fn output_rank(
    node: &NodeProto,
    known: &dyn Fn(&str) -> Option<usize>,
    lengths: &HashMap<&str, usize>,
) -> Option<usize> {
    let input = |index: usize| known(node.input.get(index)?);
    if !canonical_domain(node.domain()).is_empty() {
        return None;
    }
    match node.op_type() {
        "Gemm" | "Flatten" => Some(2),
        "Shape" => Some(1),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" => Some(input(0)?.max(input(1)?)),
        "MatMul" => match (input(0)?, input(1)?) {
            (1, other) | (other, 1) => Some(other.saturating_sub(1)),
            (first, second) => Some(first.max(second)),
        },
        "Transpose" => attribute(node, "perm").map(|perm| perm.ints.len()).or_else(|| input(0)),
        "Reshape" => lengths.get(node.input.get(1)?.as_str()).copied(),
        "Relu"
        | "LeakyRelu"
        | "Elu"
        | "Selu"
        | "Sigmoid"
        | "HardSigmoid"
        | "Tanh"
        | "Softplus"
        | "Clip"
        | "Erf"
        | "Exp"
        | "Log"
        | "Sqrt"
        | "Neg"
        | "Abs"
        | "Identity"
        | "Cast"
        | "Dropout"
        | "Softmax"
        | "LogSoftmax"
        | "Hardmax"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "LRN"
        | "Conv"
        | "ConvTranspose"
        | "MaxPool"
        | "AveragePool"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "Pad"
        | "Slice"
        | "Concat" => input(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node};
    use crate::onnx::constants::integers;
    use crate::tensor::DataType;

    #[test]
    fn ranks_follow_from_what_is_declared() {
        let mut graph = GraphBuilder::new("g");
        let x = graph.input("x", DataType::Float32, "n, 3, 4");
        let row = graph.input("row", DataType::Float32, "4");
        let product = graph.call("MatMul", &[&x, &row]);
        let shape = graph.node(Node::new("Constant", &[]).attribute("value_ints", [0, 2, 6, -1]));
        let shaped = graph.call("Reshape", &[&x, &shape]);
        let relu = graph.call("Relu", &[&shaped]);
        let sum = graph.call("Add", &[&relu, &row]);
        let fixed = graph.initializer("fixed", &integers(&[2], &[-1, 12]));
        let flat = graph.call("Reshape", &[&sum, &fixed]);
        let open = graph.call("Reshape", &[&sum, "computed"]);
        let graph = graph.into_graph();
        let ranks = value_ranks_within(&graph, &|_| None);
        let expected = [
            (&product, Some(2)),
            (&shape, Some(1)),
            (&sum, Some(4)),
            (&flat, Some(2)),
            (&open, None),
        ];
        for (name, rank) in expected {
            assert_eq!(ranks.get(name.as_str()).copied(), rank, "{name}");
        }
    }
}
