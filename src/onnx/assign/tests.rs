//! Every place that a file has for a weight, and what is refused.

use super::*;
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::constants::{floats, integers};
use crate::onnx::proto::{AttributeProto, SparseTensorProto, StringStringEntryProto};
use crate::onnx::weights::tensor;

/// Weights in every place that a file has for them.
fn model() -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph.initializer("raw", &floats(&[2], &[1.0, 2.0]));
    graph.node(Node::new("Constant", &[]).attribute("value", floats(&[1], &[3.0])).output("node"));
    graph.node(Node::new("Constant", &[]).attribute("value_float", 4.0f32).output("number"));
    graph.node(Node::new("Constant", &[]).attribute("value_ints", [5, 6]).output("list"));
    let mut model = graph.into_model(17);
    let graph = model.graph.as_mut().expect("just built");
    let typed = TensorProto {
        raw_data: None,
        float_data: vec![7.0],
        doc_string: Some("what it is".to_owned()),
        metadata_props: vec![StringStringEntryProto::default()],
        ..tensor_proto("typed", &floats(&[1], &[0.0]))
    };
    let elsewhere = TensorProto {
        raw_data: None,
        data_location: Some(1),
        external_data: vec![StringStringEntryProto {
            key: Some("location".to_owned()),
            value: Some("weights.bin".to_owned()),
        }],
        ..tensor_proto("elsewhere", &floats(&[1], &[0.0]))
    };
    let half = TensorProto {
        data_type: Some(ElementType::Float16 as i32),
        raw_data: Some(Bytes::from_static(&[0, 0])),
        ..tensor_proto("half", &floats(&[1], &[0.0]))
    };
    graph.initializer.extend([typed, elsewhere, half]);
    graph.sparse_initializer.push(SparseTensorProto {
        values: Some(tensor_proto("sparse", &floats(&[1], &[8.0]))),
        indices: Some(tensor_proto("", &integers(&[1], &[1]))),
        dims: vec![3],
    });
    model
}

fn table(entries: &[(&str, Tensor)]) -> HashMap<String, Tensor> {
    entries.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
}

#[test]
fn weights_are_assigned_wherever_they_are_and_all_else_stays() {
    let mut model = model();
    let before = model.clone();
    let names = ["raw", "typed", "elsewhere", "half", "sparse", "node", "number", "list"];
    assert_eq!(weight_names(&model), names);
    let new = table(&[
        ("raw", floats(&[2], &[-1.0, -2.0])),
        ("typed", floats(&[1], &[-7.0])),
        ("elsewhere", floats(&[1], &[-9.0])),
        ("half", floats(&[1], &[1.0 / 3.0])),
        ("sparse", floats(&[3], &[-8.0, 0.0, 1.0])),
        ("node", floats(&[1], &[-3.0])),
        ("number", floats(&[], &[-4.0])),
        ("list", integers(&[2], &[-5, -6])),
    ]);
    assign(&mut model, &new).expect("all fit");
    let graph = model.graph.as_ref().expect("still there");
    for proto in &graph.initializer {
        let tensor = tensor(proto).expect("in the model");
        match proto.name() {
            "half" => {
                let third = half::f16::from_f32(1.0 / 3.0).to_le_bytes();
                assert_eq!(tensor.bytes().expect("numbers").as_ref(), third);
            }
            name => assert_eq!(tensor, new[name], "{name}"),
        }
    }
    assert_eq!(graph.sparse_initializer, []);
    let typed = graph.initializer.iter().find(|proto| proto.name() == "typed").expect("kept");
    assert_eq!(typed.doc_string(), "what it is");
    assert_eq!(typed.metadata_props.len(), 1);
    for node in &graph.node {
        let proto = constant(node).expect("sound").expect("still a constant");
        assert_eq!(tensor(&proto).expect("sound"), new[proto.name()]);
    }
    let forms = |model: &ModelProto| -> Vec<String> {
        let nodes = &model.graph.as_ref().expect("there").node;
        nodes
            .iter()
            .flat_map(|node| &node.attribute)
            .map(AttributeProto::name)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(forms(&model), forms(&before));
}

#[test]
fn nothing_assigned_changes_nothing() {
    let mut same = model();
    assign(&mut same, &HashMap::new()).expect("nothing to do");
    assert_eq!(same, model());
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_nothing_changes() {
    let check = |entry: (&str, Tensor), expected: &str| {
        let mut tried = model();
        let new = table(&[("raw", floats(&[2], &[0.0, 0.0])), entry]);
        assert_eq!(assign(&mut tried, &new).expect_err(expected).to_string(), expected);
        assert_eq!(tried, model());
    };
    check(("nothing", floats(&[1], &[0.0])), "the model has no weight \"nothing\"");
    check(("node", floats(&[], &[0.0])), "tensor \"node\": the new one has shape [], not [1]");
    check(("list", floats(&[2], &[0.0, 0.0])), "tensor \"list\": the new one is FP32, not INT64");
    check(("typed", integers(&[1], &[0])), "tensor \"typed\": the new one is INT64, not FLOAT");
}
