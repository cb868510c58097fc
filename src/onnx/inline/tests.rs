//! What is refused, and the names; that bodies compute what calls did is shown on an engine, in
//! `tests/gradients/preparation`.

use super::*;
use crate::onnx::build::{GraphBuilder, Node, operator_set};
use crate::onnx::check::check;
use crate::onnx::proto::FunctionProto;
use crate::tensor::DataType;

fn function(name: &str, nodes: Vec<Node>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: nodes.into_iter().map(Node::into_proto).collect(),
        opset_import: vec![operator_set("", 17)],
        ..FunctionProto::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> Node {
    Node::new(name, &[input]).domain("local").output(output)
}

/// A model that calls `F` once, with these functions.
fn model(functions: Vec<FunctionProto>) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph.import("local", 1);
    graph.input("x", DataType::Float32, "1");
    functions.into_iter().for_each(|function| graph.function(function));
    graph.node(call("F", "x", "y").name("top"));
    graph.output("y", DataType::Float32, "1");
    graph.into_model(17)
}

#[test]
fn what_is_inside_is_named_after_the_call() {
    let relu = Node::new("Relu", &["a"]).output("b").name("relu");
    let outer = vec![call("G", "a", "top/t").name("g"), call("G", "top/t", "b")];
    let mut model = model(vec![function("F", outer), function("G", vec![relu])]);
    inline(&mut model).expect("sound");
    assert_eq!(check(&model), []);
    assert_eq!(model.functions, []);
    assert_eq!(model.opset_import, [operator_set("", 17)]);
    let graph = model.graph.expect("still there");
    let names: Vec<(&str, &str)> =
        graph.node.iter().map(|node| (node.name(), node.output[0].as_str())).collect();
    assert_eq!(names, [("top/g/relu", "top/top/t"), ("top/G/relu", "y")]);
}

fn check_refused(model: &mut ModelProto, expected: &str) {
    assert_eq!(inline(model).expect_err(expected).to_string(), expected);
}

#[test]
fn functions_that_stand_for_nothing_sensible_are_refused() {
    check_refused(
        &mut model(vec![function("F", vec![call("F", "a", "b").name("f")])]),
        "node \"top/f\" (local.F): the function calls itself",
    );
    let relu = || Node::new("Relu", &["a"]).output("b");
    check_refused(
        &mut model(vec![function("F", vec![relu()]), function("F", vec![relu()])]),
        "node \"top\" (local.F): the model has several functions of this name",
    );
    let mut other = function("F", vec![relu()]);
    other.opset_import = vec![operator_set("ai.onnx", 18)];
    check_refused(
        &mut model(vec![other]),
        "node \"top\" (local.F): the function is written in version 18 of ai.onnx, the model in 17",
    );
    let mut open = function("F", vec![relu()]);
    open.node[0].attribute.push(AttributeProto {
        name: Some("alpha".to_owned()),
        ref_attr_name: Some("slope".to_owned()),
        ..AttributeProto::default()
    });
    check_refused(
        &mut model(vec![open.clone()]),
        "node \"top\" (local.F): the function uses an attribute \"slope\" that it does not declare",
    );
    open.attribute.push("slope".to_owned());
    inline(&mut model(vec![open])).expect("the call may leave it out");
}

#[test]
fn calls_that_stand_for_too_much_are_refused() {
    // Every function calls the next one twice.
    let doubling = |count: usize| {
        let name = |index: usize| if index == 0 { "F".to_owned() } else { format!("F{index}") };
        let level = |index: usize| {
            let next = name(index + 1);
            let calls = vec![call(&next, "a", "t").name("l"), call(&next, "t", "b").name("r")];
            function(&name(index), calls)
        };
        let last = function(&name(count), vec![Node::new("Relu", &["a"]).output("b")]);
        (0..count).map(level).chain([last]).collect::<Vec<_>>()
    };
    let text = inline(&mut model(doubling(25))).expect_err("33 million nodes").to_string();
    assert!(text.contains("stand for more than 1000000 nodes"), "{text}");
    let text = inline(&mut model(doubling(40))).expect_err("40 levels").to_string();
    assert!(text.ends_with("functions call each other more than 32 deep"), "{text}");
}
