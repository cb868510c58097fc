//! A node written out in others: the same answers.

use onnxd::autodiff::{Fact, Facts, expand};
use onnxd::onnx::facts::signature;
use onnxd::onnx::proto::ModelProto;
use onnxd::onnx::types::value_types;
use onnxd::onnx::weights::tensor;
use onnxd::tensor::{Dimension, Tensor};

use crate::engines::{onnxruntime, tract};
use crate::graph::run;
use crate::numbers::values;

/// What the file says of its values; of those that nodes make, the types alone.
pub fn declared(model: &ModelProto) -> Facts {
    let graph = model.graph.as_ref().expect("a model has one");
    let mut facts = Facts::new();
    for (name, data_type) in value_types(graph) {
        facts.insert(name.to_owned(), Fact { data_type, shape: Vec::new() });
    }
    for spec in signature(model).expect("tensors").inputs {
        let shape = spec.shape.expect("inputs have shapes");
        facts.insert(spec.name, Fact { data_type: spec.data_type, shape });
    }
    for proto in &graph.initializer {
        let weight = tensor(proto).expect("sound");
        let shape = weight.shape().iter().map(|&size| Dimension::Fixed(size)).collect();
        let fact = Fact { data_type: weight.data_type(), shape };
        facts.insert(proto.name().to_owned(), fact);
    }
    facts
}

/// The model with what is between those values written out.
pub fn expanded(model: &ModelProto, wanted: &[String], output: &str) -> ModelProto {
    let expanded = expand(model, &declared(model), output, wanted);
    expanded.unwrap_or_else(|error| panic!("{error}")).expect("there is something to write out")
}

/// Both engines answer for the written out model what ONNX Runtime does for the other, but for
/// rounding.
pub fn assert_same_answers(
    name: &str,
    model: &ModelProto,
    expanded: &ModelProto,
    given: &[Tensor],
) {
    let expected = run(&*onnxruntime(), model, given).unwrap_or_else(|error| panic!("{error}"));
    for engine in [onnxruntime(), tract()] {
        let actual = run(&*engine, expanded, given)
            .unwrap_or_else(|error| panic!("{name} on {}: {error}", engine.name()));
        for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert_eq!(actual.shape(), expected.shape(), "{name}, output {index}");
            let pairs = values(actual).into_iter().zip(values(expected));
            for (place, (a, e)) in pairs.enumerate() {
                let near = (a - e).abs() <= 2e-5 * e.abs().max(1.0);
                let engine = engine.name();
                assert!(near, "{name} on {engine}, output {index}, element {place}: {a}, not {e}");
            }
        }
    }
}
