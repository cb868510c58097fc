//! Weights that only happen to be equal, apart again.
//!
//! PyTorch's exporter stores equal tensors once and makes the others `Identity` of it: in a model
//! that was not trained yet, every scale is ones, every bias and running mean zeros. Trained so,
//! they would be one parameter for ever.

use std::collections::HashMap;

use super::graph::canonical_domain;
use super::proto::{ModelProto, NodeProto, TensorProto};
use super::weights::tensor;

/// Gives every `Identity` of an initializer that is one number over and over, and has one axis, an
/// initializer of its own, under the name that the node's output has. Tensors of more axes are
/// taken to be shared on purpose, as an embedding and the layer behind a language model are.
pub fn unshare(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    let plain: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .filter(|proto| is_repetition(proto))
        .map(|proto| (proto.name(), proto))
        .collect();
    let mut own = Vec::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        match copied(node).and_then(|(input, output)| Some((*plain.get(input)?, output))) {
            Some((source, output)) => {
                own.push(TensorProto { name: Some(output.to_owned()), ..source.clone() });
            }
            None => kept.push(node.clone()),
        }
    }
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
    // An output must be made by a node.
    if own.is_empty() || own.iter().any(|tensor| outputs.contains(&tensor.name())) {
        return;
    }
    graph.node = kept;
    graph.initializer.extend(own);
}

fn copied(node: &NodeProto) -> Option<(&str, &str)> {
    let plain = canonical_domain(node.domain()).is_empty() && node.op_type() == "Identity";
    Some((node.input.first().filter(|_| plain)?, node.output.first()?))
}

fn is_repetition(proto: &TensorProto) -> bool {
    let Ok(tensor) = tensor(proto) else { return false };
    let (Some(bytes), Some(size)) = (tensor.bytes(), tensor.data_type().size()) else {
        return false;
    };
    let mut elements = bytes.chunks_exact(size);
    let first = elements.next();
    tensor.shape().len() == 1 && elements.all(|element| Some(element) == first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node};
    use crate::tensor::{DataType, Tensor};

    fn shared(values: &[f32], shape: &[usize]) -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        let x = graph.input("x", DataType::Float32, "2");
        let weight = Tensor::from_f32(shape, values).expect("they fit");
        graph.initializer("one", &weight);
        graph.node(Node::new("Identity", &["one"]).output("other"));
        let sum = graph.call("Add", &[&x, "one"]);
        graph.node(Node::new("Add", &[&sum, "other"]).output("y"));
        graph.output("y", DataType::Float32, "2");
        graph.into_model(17)
    }

    fn check(values: &[f32], shape: &[usize], initializers: usize) {
        let mut model = shared(values, shape);
        unshare(&mut model);
        let graph = model.graph.expect("it has one");
        assert_eq!(graph.initializer.len(), initializers, "{values:?} {shape:?}");
        assert_eq!(graph.node.len(), 4 - initializers);
    }

    #[test]
    fn vectors_of_one_number_are_given_apart() {
        check(&[1.0, 1.0], &[2], 2);
        check(&[0.0], &[1], 2);
    }

    #[test]
    fn what_was_shared_on_purpose_stays_shared() {
        check(&[1.0, 2.0], &[2], 1);
        check(&[1.0, 1.0], &[1, 2], 1);
    }
}
