//! The element type of every value of a graph, from the operators that make them.

use std::collections::HashMap;

use super::graph::{attribute, canonical_domain};
use super::proto::{ElementType, GraphProto, NodeProto, TypeValue, ValueInfoProto};
use crate::tensor::DataType;

/// By the value's name. What is made by operators that are not known here, or is no tensor, is
/// missing unless the file declares its type.
pub fn value_types(graph: &GraphProto) -> HashMap<&str, DataType> {
    value_types_within(graph, &|_| None)
}

/// As [`value_types`], of a subgraph that sees values from outside it, of types that `outer` knows.
pub(super) fn value_types_within<'a>(
    graph: &'a GraphProto,
    outer: &dyn Fn(&str) -> Option<DataType>,
) -> HashMap<&'a str, DataType> {
    let mut types: HashMap<&str, DataType> = HashMap::new();
    let declared = graph.input.iter().chain(&graph.value_info).chain(&graph.output);
    types.extend(declared.filter_map(|value| Some((value.name(), declared_type(value)?))));
    let initializers = graph.initializer.iter();
    types.extend(
        initializers.filter_map(|tensor| Some((tensor.name(), data_type(tensor.data_type())?))),
    );
    for node in &graph.node {
        for (position, name) in node.output.iter().enumerate() {
            let known = |name: &str| types.get(name).copied().or_else(|| outer(name));
            if let Some(data_type) = output_type(node, position, &known) {
                types.entry(name).or_insert(data_type);
            }
        }
    }
    types
}

fn data_type(element_type: i32) -> Option<DataType> {
    ElementType::try_from(element_type).ok().and_then(ElementType::data_type)
}

fn declared_type(value: &ValueInfoProto) -> Option<DataType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => data_type(tensor.elem_type()),
        _ => None,
    }
}

fn output_type(
    node: &NodeProto,
    position: usize,
    known: &dyn Fn(&str) -> Option<DataType>,
) -> Option<DataType> {
    let input = |index: usize| known(node.input.get(index)?);
    let own = canonical_domain(node.domain()).is_empty();
    match node.op_type() {
        _ if !own => input(0),
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "NonMaxSuppression" => {
            Some(DataType::Int64)
        }
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor"
        | "Not" | "IsNaN" | "IsInf" => Some(DataType::Bool),
        "TopK" | "MaxPool" | "Unique" if position > 0 => Some(DataType::Int64),
        "Dropout" if position == 1 => Some(DataType::Bool),
        "Where" => input(1),
        "OneHot" => input(2),
        "QuantizeLinear" => Some(input(2).unwrap_or(DataType::Uint8)),
        "DequantizeLinear" => input(1),
        "DynamicQuantizeLinear" => {
            Some(if position == 1 { DataType::Float32 } else { DataType::Uint8 })
        }
        "MatMulInteger" | "ConvInteger" => Some(DataType::Int32),
        "Cast" => attribute(node, "to").and_then(|to| data_type(i32::try_from(to.i?).ok()?)),
        "CastLike" => input(1),
        "Constant" => constant_type(node),
        "ConstantOfShape" => {
            Some(match attribute(node, "value").and_then(|value| value.t.as_ref()) {
                Some(tensor) => data_type(tensor.data_type())?,
                None => DataType::Float32,
            })
        }
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" | "Multinomial"
        | "RandomNormal" | "RandomUniform" => match attribute(node, "dtype") {
            Some(to) => data_type(i32::try_from(to.i?).ok()?),
            None if node.op_type() == "Multinomial" => Some(DataType::Int32),
            None => input(0).or(Some(DataType::Float32)),
        },
        "If" => {
            let branch = attribute(node, "then_branch")?.g.as_deref()?;
            declared_type(branch.output.get(position)?)
        }
        "Loop" | "Scan" => None,
        _ => input(0).or_else(|| input(1)),
    }
}

fn constant_type(node: &NodeProto) -> Option<DataType> {
    let value = node.attribute.first()?;
    match value.name() {
        "value" => data_type(value.t.as_ref()?.data_type()),
        "value_float" | "value_floats" => Some(DataType::Float32),
        "value_int" | "value_ints" => Some(DataType::Int64),
        "value_string" | "value_strings" => Some(DataType::String),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node};

    #[test]
    fn types_follow_the_operators() {
        let mut graph = GraphBuilder::new("g");
        let x = graph.input("x", DataType::Float64, "batch, 3");
        let shape = graph.call("Shape", &[&x]);
        let double = graph.call("Add", &[&x, &x]);
        let less = graph.call("Less", &[&x, &double]);
        let chosen = graph.call("Where", &[&less, &x, &double]);
        let number = graph.node(Node::new("Cast", &[&less]).attribute("to", 7i64));
        let unknown = graph.node(Node::new("If", &[&less]));
        let graph = graph.into_graph();
        let types = value_types(&graph);
        let expected = [
            (&shape, Some(DataType::Int64)),
            (&double, Some(DataType::Float64)),
            (&less, Some(DataType::Bool)),
            (&chosen, Some(DataType::Float64)),
            (&number, Some(DataType::Int64)),
            (&unknown, None),
        ];
        for (name, data_type) in expected {
            assert_eq!(types.get(name.as_str()).copied(), data_type, "{name}");
        }
    }
}
