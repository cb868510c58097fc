//! Functions, as ONNX Runtime calls them and as their bodies.

use std::path::Path;

use onnxd::onnx::build::{AttributeValue, GraphBuilder, Node, attribute, operator_set};
use onnxd::onnx::check::check;
use onnxd::onnx::normalize::normalize;
use onnxd::onnx::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};
use onnxd::onnx::read;
use onnxd::tensor::{DataType, Tensor};

use super::{answers, answers_of, assert_same, check_normal_form, model};
use crate::engines::tract;

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: owned(inputs),
        output: owned(outputs),
        node: nodes,
        opset_import: vec![operator_set("", 17), operator_set("local", 1)],
        ..FunctionProto::default()
    }
}

/// An attribute whose value is the call's of the name `of`.
fn referring(mut node: NodeProto, name: &str, of: &str, like: AttributeValue) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        ref_attr_name: Some(of.to_owned()),
        r#type: attribute(name, like).r#type,
        ..AttributeProto::default()
    });
    node
}

/// `LeakyRelu(a)` plus `b`, whose slope has a default.
fn sloped() -> FunctionProto {
    let relu = Node::new("LeakyRelu", &["a"]).output("t").into_proto();
    let nodes = vec![
        referring(relu, "alpha", "slope", AttributeValue::Float(0.0)),
        Node::new("Add", &["t", "b"]).output("c").into_proto(),
    ];
    let mut function = function("Sloped", &["a", "b"], &["c"], nodes);
    function.attribute_proto = vec![attribute("slope", AttributeValue::Float(0.25))];
    function
}

fn local(operator: &str, inputs: &[&str]) -> Node {
    Node::new(operator, inputs).domain("local")
}

fn row(values: &[f32]) -> Tensor {
    Tensor::from_f32(&[values.len()], values).expect("as many as the shape has")
}

/// On tract, too, which knows no functions itself.
fn check_everywhere(name: &str, model: &ModelProto) -> ModelProto {
    let inputs = [row(&[-1.0, 0.5, 2.0])];
    let normal = check_normal_form(name, model, &inputs);
    let on_tract = answers_of(tract().as_ref(), model, &inputs);
    assert_same(name, &answers(&normal, &inputs), &on_tract, 1e-6);
    normal
}

fn calling(functions: Vec<FunctionProto>, build: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
    model(17, true, |graph| {
        graph.import("local", 1);
        graph.input("x", DataType::Float32, "3");
        functions.into_iter().for_each(|function| graph.function(function));
        build(graph);
    })
}

fn check_calls(name: &str, functions: Vec<FunctionProto>, build: impl FnOnce(&mut GraphBuilder)) {
    let normal = check_everywhere(name, &calling(functions, build));
    assert_eq!(normal.functions, []);
    assert_eq!(normal.opset_import.len(), 1);
}

#[test]
fn attributes_come_from_the_call_or_are_the_default() {
    check_calls("attributes", vec![sloped()], |graph| {
        let given = graph.node(local("Sloped", &["x", "x"]).attribute("slope", 0.5f32));
        // Twice: each call has values of its own.
        let first = graph.node(local("Sloped", &[&given, "x"]));
        let second = graph.node(local("Sloped", &[&first, &given]));
        graph.output(&second, DataType::Float32, "");
    });
}

#[test]
fn names_inside_are_not_those_outside() {
    check_calls("collisions", vec![sloped()], |graph| {
        let t = graph.node(Node::new("Neg", &["x"]).output("t"));
        let c = graph.node(local("Sloped", &[&t, "x"]).name("call").output("c"));
        let b = graph.node(Node::new("Add", &[&c, &t]).output("call/t"));
        let y = graph.node(local("Sloped", &[&b, &c]).name("call/c").output("a"));
        graph.output(&y, DataType::Float32, "");
    });
}

#[test]
fn functions_call_functions_and_pass_their_attributes_on() {
    let call = referring(
        local("Sloped", &["a", "a"]).output("t").into_proto(),
        "slope",
        "outer",
        AttributeValue::Float(0.0),
    );
    let again = local("Sloped", &["t", "a"]).output("b").into_proto();
    let mut outer = function("Outer", &["a"], &["b"], vec![call, again]);
    outer.attribute = vec!["outer".to_owned()];
    check_calls("nested", vec![outer, sloped()], |graph| {
        let y = graph.node(local("Outer", &["x"]).attribute("outer", 2.0f32));
        graph.output(&y, DataType::Float32, "");
        let z = graph.node(local("Outer", &["x"]));
        graph.output(&z, DataType::Float32, "");
    });
}

#[test]
fn overloads_are_told_apart() {
    let overload = |name: &str, operator: &str| FunctionProto {
        overload: Some(name.to_owned()),
        ..function("F", &["a"], &["b"], vec![Node::new(operator, &["a"]).output("b").into_proto()])
    };
    let mut model = model(17, true, |graph| {
        graph.import("local", 1);
        graph.input("x", DataType::Float32, "3");
        graph.function(overload("one", "Neg"));
        graph.function(overload("two", "Exp"));
        graph.node(local("F", &["x"]).output("first"));
        graph.node(local("F", &["first"]).output("y"));
        graph.output("y", DataType::Float32, "");
    });
    let nodes = &mut model.graph.as_mut().expect("just built").node;
    nodes[0].overload = Some("one".to_owned());
    nodes[1].overload = Some("two".to_owned());
    // The first with overloads.
    model.ir_version = Some(10);
    check_everywhere("overloads", &model);
}

/// ONNX Runtime takes no function that gives an input back, so that the answers stand here.
#[test]
fn optional_inputs_and_outputs_may_be_left_out() {
    let nodes = vec![
        Node::new("Clip", &["a", "low", "high"]).output("b").into_proto(),
        Node::new("Neg", &["b"]).output("unread").into_proto(),
    ];
    let bounded = function("Bounded", &["a", "low", "high"], &["b", "unread", "a"], nodes);
    let mut model = model(17, true, |graph| {
        graph.import("local", 1);
        graph.function(bounded);
        graph.input("x", DataType::Float32, "3");
        let zero = Tensor::from_f32(&[], &[0.0]).expect("one value");
        graph.initializer("zero", &zero);
        graph.node(local("Bounded", &["x", "zero"]).output("y"));
        graph.node(local("Bounded", &["x", "", "zero"]).output("z").output("").output("same"));
        ["y", "z", "same"].iter().for_each(|name| graph.output(name, DataType::Float32, ""));
    });
    normalize(&mut model).expect("it has a normal form");
    assert_eq!(check(&model), []);
    let answers = answers(&model, &[row(&[-1.0, 0.5, 2.0])]);
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_f32().expect("floats")).collect();
    assert_eq!(answers, [vec![0.0, 0.5, 2.0], vec![-1.0, 0.0, 0.0], vec![-1.0, 0.5, 2.0]]);
}

#[test]
fn functions_in_branches_and_branches_in_functions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine/functions.onnx");
    let shipped = read(&path).expect("it ships");
    for flag in [0, 1] {
        let flag = Tensor::numbers(DataType::Bool, [].into_iter().collect(), vec![flag].into());
        let inputs = [flag.expect("one byte"), row(&[1.0, -2.0, 3.0])];
        check_normal_form("functions.onnx", &shipped, &inputs);
    }
    let branch = |operator: &str| {
        let mut branch = GraphBuilder::new(operator);
        branch.node(Node::new(operator, &["a"]).output("inside"));
        branch.node(local("Sloped", &["inside", "a"]).output("chosen"));
        branch.output("chosen", DataType::Float32, "3");
        branch.into_graph()
    };
    let sum = Node::new("ReduceSum", &["a"]).attribute("keepdims", 0).output("t").into_proto();
    let zero = Node::new("Constant", &[]).attribute("value_float", 0.0f32).output("zero");
    let less = Node::new("Less", &["t", "zero"]).output("negative").into_proto();
    let choice = Node::new("If", &["negative"])
        .attribute("then_branch", branch("Neg"))
        .attribute("else_branch", branch("Exp"))
        .output("b");
    let nodes = vec![sum, zero.into_proto(), less, choice.into_proto()];
    let choose = function("Choose", &["a"], &["b"], nodes);
    let model = calling(vec![choose, sloped()], |graph| {
        let first = graph.node(local("Choose", &["x"]));
        let minus = graph.call("Neg", &["x"]);
        let second = graph.node(local("Choose", &[&minus]));
        let y = graph.call("Sub", &[&first, &second]);
        graph.output(&y, DataType::Float32, "");
    });
    // tract cannot run two branches of one graph whose conditions are computed.
    check_normal_form("branches", &model, &[row(&[-1.0, 0.5, 2.0])]);
}
