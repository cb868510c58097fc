//! What becomes of a graph; that it computes the same is shown on an engine, in
//! `tests/gradients/preparation`.

use super::*;
use crate::onnx::build::{GraphBuilder, Node, value_info};
use crate::onnx::check::check;
use crate::onnx::constants::{floats, integers};
use crate::onnx::proto::SparseTensorProto;
use crate::onnx::weights::tensor_proto;
use crate::tensor::DataType;

fn normalized(mut model: ModelProto) -> GraphProto {
    normalize(&mut model).expect("it has a normal form");
    assert_eq!(check(&model), []);
    model.graph.expect("still there")
}

fn stored(graph: &GraphProto) -> Vec<&str> {
    graph.initializer.iter().map(TensorProto::name).collect()
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(NodeProto::op_type).collect()
}

#[test]
fn constants_of_every_kind_become_initializers_under_their_names() {
    let mut graph = GraphBuilder::new("g");
    graph.node(Node::new("Constant", &[]).attribute("value", floats(&[1], &[1.0])).output("a"));
    graph.node(Node::new("Constant", &[]).attribute("value_ints", [2]).output("b"));
    let y = graph.call("Add", &["a", "sparse"]);
    graph.output(&y, DataType::Float32, "3");
    let mut model = graph.into_model(17);
    let sparse = SparseTensorProto {
        values: Some(tensor_proto("sparse", &floats(&[1], &[5.0]))),
        indices: Some(tensor_proto("", &integers(&[1], &[2]))),
        dims: vec![3],
    };
    model.graph.as_mut().expect("just built").sparse_initializer.push(sparse);
    let graph = normalized(model);
    assert_eq!(stored(&graph), ["sparse", "a", "b"]);
    assert_eq!(operators(&graph), ["Add"]);
    assert_eq!(graph.initializer[0], tensor_proto("sparse", &floats(&[3], &[0.0, 0.0, 5.0])));
}

#[test]
fn initializers_are_no_inputs() {
    for ir_version in [3, 8] {
        let mut graph = GraphBuilder::new("g");
        graph.input("w", DataType::Float32, "1");
        graph.input("x", DataType::Float32, "1");
        graph.initializer("w", &floats(&[1], &[0.5]));
        let y = graph.call("Add", &["x", "w"]);
        graph.output(&y, DataType::Float32, "1");
        let mut model = graph.into_model(17);
        model.ir_version = Some(ir_version);
        let graph = normalized(model);
        let inputs: Vec<&str> = graph.input.iter().map(|input| input.name()).collect();
        assert_eq!(inputs, ["x"]);
    }
}

#[test]
fn other_names_of_initializers_are_replaced_in_subgraphs_too() {
    let mut branch = GraphBuilder::new("branch");
    let inside = branch.call("Neg", &["second"]);
    branch.output(&inside, DataType::Float32, "1");
    let branch = branch.into_graph();
    let mut graph = GraphBuilder::new("g");
    graph.input("flag", DataType::Bool, "");
    graph.initializer("w", &floats(&[1], &[0.5]));
    graph.node(Node::new("Identity", &["w"]).output("first"));
    graph.node(Node::new("Identity", &["first"]).output("second"));
    graph.node(Node::new("Identity", &["first"]).output("shown"));
    let choice = Node::new("If", &["flag"]).attribute("then_branch", branch.clone());
    graph.node(choice.attribute("else_branch", branch).output("y"));
    graph.output("y", DataType::Float32, "1");
    graph.output("shown", DataType::Float32, "1");
    let graph = normalized(graph.into_model(17));
    assert_eq!(operators(&graph), ["Identity", "If"]);
    assert_eq!(graph.node[0].input, ["w"]);
    let branch = graph.node[1].attribute[0].g.as_ref().expect("a branch");
    assert_eq!(branch.node[0].input, ["w"]);
}

#[test]
fn nodes_come_behind_what_they_read() {
    let mut branch = GraphBuilder::new("branch");
    let inside = branch.call("Neg", &["b"]);
    branch.output(&inside, DataType::Float32, "1");
    let branch = branch.into_graph();
    let mut graph = GraphBuilder::new("g");
    graph.input("x", DataType::Float32, "1");
    graph.input("flag", DataType::Bool, "");
    let choice = Node::new("If", &["flag"]).attribute("then_branch", branch.clone());
    graph.node(choice.attribute("else_branch", branch).output("y"));
    graph.node(Node::new("Relu", &["a"]).output("b"));
    graph.node(Node::new("Abs", &["x"]).output("a"));
    graph.node(Node::new("Exp", &["x"]).output("z"));
    graph.output("y", DataType::Float32, "1");
    let graph = normalized(graph.into_model(17));
    assert_eq!(operators(&graph), ["Abs", "Relu", "If", "Exp"]);
}

#[test]
fn nodes_that_wait_for_each_other_are_refused_by_name() {
    let mut graph = GraphBuilder::new("g");
    graph.node(Node::new("Relu", &["b"]).name("first").output("a"));
    graph.node(Node::new("Abs", &["a"]).name("second").output("b"));
    let error = normalize(&mut graph.into_model(17)).expect_err("a circle").to_string();
    let reason = "it reads, over other nodes, what it makes itself";
    assert_eq!(error, format!("node \"first\" (Relu): {reason}"));
}

#[test]
fn a_long_chain_is_sorted_without_a_deep_stack() {
    let length = 200_000;
    let mut graph = GraphProto::default();
    for index in (0..length).rev() {
        let (from, to) = (format!("v{index}"), format!("v{}", index + 1));
        graph.node.push(Node::new("Relu", &[&from]).output(&to).into_proto());
    }
    graph.input.push(value_info("v0", DataType::Float32, None));
    sort(&mut graph).expect("a chain");
    assert_eq!(graph.node[0].input, ["v0"]);
    assert_eq!(graph.node[length - 1].input, [format!("v{}", length - 1)]);
}

#[test]
fn every_node_has_a_name_of_its_own() {
    let mut graph = GraphBuilder::new("g");
    graph.input("x", DataType::Float32, "1");
    graph.node(Node::new("Relu", &["x"]).name("same").output("a"));
    graph.node(Node::new("Abs", &["x"]).name("same").output("b"));
    graph.node(Node::new("Exp", &["x"]).name("").output("c"));
    let graph = normalized(graph.into_model(17));
    let names: Vec<&str> = graph.node.iter().map(NodeProto::name).collect();
    assert_eq!(names, ["same", "same.1", "c"]);
}
