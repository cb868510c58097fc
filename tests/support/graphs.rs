//! Small models whose answers a test can work out by itself.

use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::onnx::proto::ModelProto;
use onnxd::tensor::DataType::{Bool, Float32, Int64};
use onnxd::tensor::{DataType, Tensor};

use super::request::{int64, numbers};

const OPSET: i64 = 17;

fn float(graph: &mut GraphBuilder, name: &str, shape: &[usize], values: &[f32]) -> String {
    let tensor = Tensor::from_f32(shape, values).expect("the values fill the shape");
    graph.initializer(name, &tensor)
}

/// `y = 2x + 1`, row by row.
pub fn affine() -> ModelProto {
    let mut graph = GraphBuilder::new("affine");
    let x = graph.input("x", Float32, "batch, 4");
    let two = float(&mut graph, "two", &[], &[2.0]);
    let one = float(&mut graph, "one", &[], &[1.0]);
    let doubled = graph.call("Mul", &[&x, &two]);
    graph.node(Node::new("Add", &[&doubled, &one]).name("shift").output("y"));
    graph.output("y", Float32, "batch, 4");
    graph.into_model(OPSET)
}

/// `y = x - mean of x over the batch`: every row depends on all others.
pub fn minus_batch_mean() -> ModelProto {
    let mut graph = GraphBuilder::new("minus_batch_mean");
    let x = graph.input("x", Float32, "batch, 4");
    let mean = Node::new("ReduceMean", &[&x]).attribute("axes", [0]).attribute("keepdims", 1i64);
    let mean = graph.node(mean);
    graph.node(Node::new("Sub", &[&x, &mean]).name("centre").output("y"));
    graph.output("y", Float32, "batch, 4");
    graph.into_model(OPSET)
}

/// Running sums along a first axis that is time: what came before counts.
pub fn running_sum() -> ModelProto {
    let mut graph = GraphBuilder::new("running_sum");
    let x = graph.input("x", Float32, "time, 2");
    let axis = graph.initializer("axis", &int64(&[], &[0]));
    graph.node(Node::new("CumSum", &[&x, &axis]).name("sum").output("y"));
    graph.output("y", Float32, "time, 2");
    graph.into_model(OPSET)
}

/// `y = x + sum of the state's two layers`, and the state doubled: the batch is the state's
/// second axis.
pub fn stateful() -> ModelProto {
    let mut graph = GraphBuilder::new("stateful");
    let x = graph.input("x", Float32, "batch, 3");
    let state = graph.input("state", Float32, "2, batch, 3");
    let axes = graph.initializer("axes", &int64(&[1], &[0]));
    let sum = Node::new("ReduceSum", &[&state, &axes]).attribute("keepdims", 0i64);
    let sum = graph.node(sum);
    graph.node(Node::new("Add", &[&x, &sum]).name("add").output("y"));
    graph.node(Node::new("Add", &[&state, &state]).name("double").output("next"));
    graph.output("y", Float32, "batch, 3");
    graph.output("next", Float32, "2, batch, 3");
    graph.into_model(OPSET)
}

/// `y = 10x`, and the ten: an output that belongs to the whole batch.
pub fn with_constant_output() -> ModelProto {
    let mut graph = GraphBuilder::new("with_constant_output");
    let x = graph.input("x", Float32, "batch, 2");
    let ten = float(&mut graph, "ten", &[1], &[10.0]);
    graph.node(Node::new("Mul", &[&x, &ten]).name("scale").output("y"));
    graph.node(Node::new("Identity", &[&ten]).name("tell").output("factor"));
    graph.output("y", Float32, "batch, 2");
    graph.output("factor", Float32, "1");
    graph.into_model(OPSET)
}

/// The sum of everything in the batch: an output without a batch axis that depends on all rows.
pub fn total() -> ModelProto {
    let mut graph = GraphBuilder::new("total");
    let x = graph.input("x", Float32, "batch, 2");
    let sum = Node::new("ReduceSum", &[&x]).attribute("keepdims", 0i64);
    graph.node(sum.name("sum").output("total"));
    graph.output("total", Float32, "");
    graph.into_model(OPSET)
}

/// Sequences of any length: every value negated, and each row's sum.
pub fn sequences() -> ModelProto {
    let mut graph = GraphBuilder::new("sequences");
    let x = graph.input("x", Float32, "batch, length");
    let axes = graph.initializer("axes", &int64(&[1], &[1]));
    graph.node(Node::new("Neg", &[&x]).name("negate").output("negative"));
    let sum = Node::new("ReduceSum", &[&x, &axes]).attribute("keepdims", 0i64);
    graph.node(sum.name("sum").output("sum"));
    graph.output("negative", Float32, "batch, length");
    graph.output("sum", Float32, "batch");
    graph.into_model(OPSET)
}

/// Rows of a table by their number; a number beyond the table is refused by the engine itself.
pub fn table() -> ModelProto {
    let mut graph = GraphBuilder::new("table");
    let index = graph.input("index", Int64, "batch");
    let values: Vec<f32> = (0..300).map(|value| value as f32).collect();
    // A hundred rows and a half: the proof's made-up numbers are below a hundred.
    let rows = float(&mut graph, "rows", &[150, 2], &values);
    graph.node(Node::new("Gather", &[&rows, &index]).name("pick").output("y"));
    graph.output("y", Float32, "batch, 2");
    graph.into_model(OPSET)
}

/// `y = x + n`, one by one: as slow as the request asks for.
pub fn counter() -> ModelProto {
    let mut body = GraphBuilder::new("count");
    body.input("iteration", Int64, "");
    body.input("go_on", Bool, "");
    body.input("value", Float32, "1");
    let one = float(&mut body, "one", &[1], &[1.0]);
    body.node(Node::new("Identity", &["go_on"]).name("again").output("go_on_out"));
    body.node(Node::new("Add", &["value", &one]).name("count").output("value_out"));
    body.output("go_on_out", Bool, "");
    body.output("value_out", Float32, "1");

    let mut graph = GraphBuilder::new("counter");
    let x = graph.input("x", Float32, "1");
    let n = graph.input("n", Int64, "");
    let yes = graph.initializer("yes", &numbers(Bool, &[], vec![1]));
    let count = Node::new("Loop", &[&n, &yes, &x]).attribute("body", body.into_graph());
    graph.node(count.name("loop").output("y"));
    graph.output("y", Float32, "1");
    graph.into_model(OPSET)
}

/// `y = 2x` in the operators of that version.
pub fn twice(opset: i64) -> ModelProto {
    let mut graph = GraphBuilder::new("twice");
    let x = graph.input("x", Float32, "batch, 3");
    graph.node(Node::new("Add", &[&x, &x]).name("add").output("y"));
    graph.output("y", Float32, "batch, 3");
    graph.into_model(opset)
}

/// A classifier of three operators that changed over the versions.
pub fn classifier(opset: i64) -> ModelProto {
    let mut graph = GraphBuilder::new("classifier");
    let x = graph.input("x", Float32, "batch, 2");
    let weights = float(&mut graph, "weights", &[2, 3], &[1.0, 0.0, -1.0, 0.5, 1.0, 2.0]);
    let bias = float(&mut graph, "bias", &[3], &[0.0, 1.0, -1.0]);
    let logits = graph.call("Gemm", &[&x, &weights, &bias]);
    let positive = graph.call("Relu", &[&logits]);
    graph.node(Node::new("Softmax", &[&positive]).name("classify").output("y"));
    graph.output("y", Float32, "batch, 3");
    graph.into_model(opset)
}

/// Two inputs of unlike types and three outputs: their sum, the difference, and a copy.
pub fn several() -> ModelProto {
    let mut graph = GraphBuilder::new("several");
    let a = graph.input("a", Float32, "batch, 2");
    let b = graph.input("b", Int64, "batch, 2");
    let number = graph.node(Node::new("Cast", &[&b]).attribute("to", 1i64));
    graph.node(Node::new("Add", &[&a, &number]).name("add").output("sum"));
    graph.node(Node::new("Sub", &[&a, &number]).name("subtract").output("difference"));
    graph.node(Node::new("Identity", &[&b]).name("copy").output("same"));
    graph.output("sum", Float32, "batch, 2");
    graph.output("difference", Float32, "batch, 2");
    graph.output("same", Int64, "batch, 2");
    graph.into_model(OPSET)
}

/// A node that no engine knows.
pub fn unknown_operator() -> ModelProto {
    let mut graph = GraphBuilder::new("unknown_operator");
    let x = graph.input("x", Float32, "batch, 3");
    graph.node(Node::new("Twist", &[&x]).name("twist").output("y"));
    graph.output("y", Float32, "batch, 3");
    graph.into_model(OPSET)
}

/// A tensor that passes through, of any type and shape.
pub fn identity(data_type: DataType, shape: &str) -> ModelProto {
    let mut graph = GraphBuilder::new("identity");
    let x = graph.input("x", data_type, shape);
    graph.node(Node::new("Identity", &[&x]).name("same").output("y"));
    graph.output("y", data_type, shape);
    graph.into_model(OPSET)
}

/// `y = x * scale`, where the scale has a default.
pub fn with_default() -> ModelProto {
    let mut graph = GraphBuilder::new("with_default");
    let x = graph.input("x", Float32, "batch, 2");
    let scale = float(&mut graph, "scale", &[2], &[2.0, 3.0]);
    graph.input("scale", Float32, "2");
    graph.node(Node::new("Mul", &[&x, &scale]).name("scale_it").output("y"));
    graph.output("y", Float32, "batch, 2");
    graph.into_model(OPSET)
}

/// `y = x * k` with one number for all rows: requests with different ones belong apart.
pub fn scaled() -> ModelProto {
    let mut graph = GraphBuilder::new("scaled");
    let x = graph.input("x", Float32, "batch, 2");
    let k = graph.input("k", Float32, "");
    graph.node(Node::new("Mul", &[&x, &k]).name("scale").output("y"));
    graph.output("y", Float32, "batch, 2");
    graph.into_model(OPSET)
}
