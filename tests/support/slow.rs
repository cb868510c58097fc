//! Models that take as long as a test needs.

use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::onnx::proto::ModelProto;
use onnxd::tensor::DataType::{Bool, Float32, Int64};
use onnxd::tensor::Tensor;

use super::request::numbers;

const OPSET: i64 = 17;

/// `y = x + n` for every row, one by one: as slow as the request asks for, and batched with those
/// that ask for as much.
pub fn counter() -> ModelProto {
    let mut body = GraphBuilder::new("count");
    body.input("iteration", Int64, "");
    body.input("go_on", Bool, "");
    body.input("value", Float32, "?");
    let one = Tensor::from_f32(&[], &[1.0]).expect("one value");
    let one = body.initializer("one", &one);
    body.node(Node::new("Identity", &["go_on"]).name("again").output("go_on_out"));
    body.node(Node::new("Add", &["value", &one]).name("count").output("value_out"));
    body.output("go_on_out", Bool, "");
    body.output("value_out", Float32, "?");

    let mut graph = GraphBuilder::new("counter");
    let x = graph.input("x", Float32, "batch");
    let n = graph.input("n", Int64, "");
    let yes = graph.initializer("yes", &numbers(Bool, &[], vec![1]));
    let count = Node::new("Loop", &[&n, &yes, &x]).attribute("body", body.into_graph());
    graph.node(count.name("loop").output("y"));
    graph.output("y", Float32, "batch");
    graph.into_model(OPSET)
}

/// Side of the matrices of [`heavy`].
pub const WIDTH: usize = 128;

/// Nothing but zeros, after enough products of matrices for a run to take about a millisecond.
pub fn heavy() -> ModelProto {
    let mut graph = GraphBuilder::new("heavy");
    let mut value = graph.input("x", Float32, "batch, 128");
    let zeros = Tensor::from_f32(&[WIDTH, WIDTH], &vec![0.0; WIDTH * WIDTH]).expect("it fits");
    let weights = graph.initializer("weights", &zeros);
    for _ in 0..64 {
        value = graph.call("MatMul", &[&value, &weights]);
    }
    graph.node(Node::new("Identity", &[&value]).name("tell").output("y"));
    graph.output("y", Float32, "batch, 128");
    graph.into_model(OPSET)
}
