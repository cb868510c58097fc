//! What is refused, and what becomes of the nodes; that they compute the same is shown on an
//! engine, in `tests/gradients/preparation`.

use super::*;
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::check::check;
use crate::onnx::graph::attribute;
use crate::onnx::proto::GraphProto;
use crate::tensor::DataType;

fn upgraded(version: i64, build: impl FnOnce(&mut GraphBuilder)) -> Result<GraphProto, OnnxError> {
    let mut graph = GraphBuilder::new("g");
    graph.input("x", DataType::Float32, "2, 3, 4");
    build(&mut graph);
    let mut model = graph.into_model(version);
    upgrade(&mut model)?;
    assert_eq!(check(&model), []);
    assert_eq!(model.opset_import[0].version(), version.max(RAISED_OPERATORS));
    Ok(model.graph.expect("still there"))
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(NodeProto::op_type).collect()
}

fn check_refused(version: i64, node: Node, reason: &str) {
    let error = upgraded(version, |graph| {
        graph.node(node.name("it"));
    });
    let text = error.expect_err(reason).to_string();
    assert!(text.starts_with("node \"it\" (") && text.ends_with(reason), "{text}");
}

#[test]
fn operators_that_are_too_old_or_too_new_are_refused_with_their_version() {
    for version in [1, 6, 29] {
        let error = upgraded(version, |_| {}).expect_err("unknown").to_string();
        let expected = format!("operators of version {version}; those from 7 to 28 are known");
        assert_eq!(error, expected);
    }
}

#[test]
fn newer_operators_stay_as_they_are() {
    for version in [17, 18, 28] {
        let build = |graph: &mut GraphBuilder| {
            graph.node(Node::new("ReduceMax", &["x"]).attribute("axes", [1]));
        };
        let graph = upgraded(version, build).expect("known");
        assert_eq!(operators(&graph), ["ReduceMax"]);
        assert!(attribute(&graph.node[0], "axes").is_some());
    }
}

#[test]
fn softmax_over_the_last_axis_stays_one_node() {
    for (version, axis) in [(7, 2), (11, -1), (12, 2)] {
        let build = |graph: &mut GraphBuilder| {
            let relu = graph.call("Relu", &["x"]);
            graph.node(Node::new("Softmax", &[&relu]).attribute("axis", axis));
        };
        assert_eq!(operators(&upgraded(version, build).expect("known")), ["Relu", "Softmax"]);
    }
    let build = |graph: &mut GraphBuilder| drop(graph.call("Softmax", &["x"]));
    let graph = upgraded(11, build).expect("known");
    assert_eq!(operators(&graph), ["Shape", "Flatten", "Softmax", "Reshape"]);
    assert_eq!(graph.node[3].output, ["Softmax_0"]);
}

#[test]
fn operators_of_other_domains_stay_as_they_are() {
    let build = |graph: &mut GraphBuilder| {
        graph.import("com.example", 1);
        graph.node(Node::new("Clip", &["x"]).domain("com.example").attribute("min", 0.5f32));
    };
    assert_eq!(operators(&upgraded(9, build).expect("known")), ["Clip"]);
}

#[test]
fn nodes_without_an_equivalent_are_refused_by_name() {
    check_refused(
        8,
        Node::new("BatchNormalization", &["x"; 5]).attribute("spatial", 0i64),
        "statistics for every element (spatial is 0) have no equivalent",
    );
    check_refused(
        8,
        Node::new("Scan", &["", "x"]),
        "the batched form of version 8, which has no equivalent",
    );
    check_refused(
        10,
        Node::new("Resize", &["x", "x"]),
        "its scales are computed: whether it rounds up or down is not known",
    );
    check_refused(
        11,
        Node::new("Resize", &["x", "x", "x"])
            .attribute("coordinate_transformation_mode", "tf_half_pixel_for_nn"),
        "which has an equivalent only where nearest_mode is floor",
    );
    check_refused(9, Node::new("Slice", &["x"]), "it lacks its starts or ends");
    check_refused(9, Node::new("Pad", &["x"]), "it lacks its pads");
}

#[test]
fn statistics_that_a_backward_pass_was_to_get_are_refused_where_they_are_read() {
    let build = |graph: &mut GraphBuilder| {
        let outputs = ["y", "mean", "var", "saved_mean", "saved_var"];
        let node = Node::new("BatchNormalization", &["x"; 5]).name("norm");
        graph.node(outputs.iter().fold(node, |node, output| node.output(output)));
        graph.call("Relu", &["saved_var"]);
    };
    let error = upgraded(9, build).expect_err("it is read").to_string();
    let reason = "its saved statistics \"saved_var\" are read, which have no equivalent";
    assert_eq!(error, format!("node \"norm\" (BatchNormalization): {reason}"));
}
