//! A perceptron: the smallest model that is worth serving, so all cost is the server's.

use super::{OPSET, Random};
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::proto::ModelProto;
use crate::tensor::DataType;

/// `input` FP32 `[batch, inputs]` to `output` FP32 `[batch, outputs]`: fully connected layers, each
/// hidden one followed by `Relu`.
pub fn mlp(inputs: usize, hidden: &[usize], outputs: usize) -> ModelProto {
    let mut random = Random::new(1);
    let mut graph = GraphBuilder::new("mlp");
    let mut value = graph.input("input", DataType::Float32, &format!("batch, {inputs}"));
    let mut width = inputs;
    for (index, &next) in hidden.iter().chain([&outputs]).enumerate() {
        // Keeps the variance through a Relu, which halves it.
        let deviation = (2.0 / width as f32).sqrt();
        let weight = random.tensor(&[width, next], deviation);
        let weight = graph.initializer(&format!("layer{index}.weight"), &weight);
        let bias = graph.initializer(&format!("layer{index}.bias"), &random.tensor(&[next], 0.1));
        value = if index < hidden.len() {
            let sum = graph.call("Gemm", &[&value, &weight, &bias]);
            graph.call("Relu", &[&sum])
        } else {
            let last = Node::new("Gemm", &[&value, &weight, &bias]);
            graph.node(last.output("output"))
        };
        width = next;
    }
    graph.output("output", DataType::Float32, &format!("batch, {outputs}"));
    graph.into_model(OPSET)
}
