//! A graph before and after it was made ready, on ONNX Runtime: the same answers.

use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::build::GraphBuilder;
use onnxd::onnx::check::check;
use onnxd::onnx::normalize::normalize;
use onnxd::onnx::proto::{ModelProto, TypeValue};
use onnxd::tensor::Tensor;
use onnxd::train::open;

use crate::engines::onnxruntime;

mod inlining;
mod operators;
mod real_models;

/// What ONNX Runtime answers, every output.
fn answers(model: &ModelProto, inputs: &[Tensor]) -> Vec<Tensor> {
    answers_of(onnxruntime().as_ref(), model, inputs)
}

fn answers_of(engine: &dyn Engine, model: &ModelProto, inputs: &[Tensor]) -> Vec<Tensor> {
    let session = open(engine, model, &SessionSettings::cpu());
    let mut session = session.unwrap_or_else(|error| panic!("{error}"));
    let all: Vec<usize> = (0..session.signature().outputs.len()).collect();
    let mut given: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
    given.resize(session.signature().inputs.len(), None);
    session.run(&given, &all).unwrap_or_else(|error| panic!("{error}"))
}

/// Equal, or 32-bit floats that differ by no more than `tolerance` of the largest.
fn assert_same(name: &str, expected: &[Tensor], actual: &[Tensor], tolerance: f32) {
    assert_eq!(expected.len(), actual.len(), "{name}");
    for (expected, actual) in expected.iter().zip(actual) {
        assert_eq!(expected.data_type(), actual.data_type(), "{name}");
        assert_eq!(expected.shape(), actual.shape(), "{name}");
        let (Some(expected), Some(actual)) = (expected.to_f32(), actual.to_f32()) else {
            assert_eq!(expected, actual, "{name}");
            continue;
        };
        let largest = expected.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
        for (index, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
            let same = expected == actual || (expected - actual).abs() <= tolerance * largest;
            assert!(same, "{name}: element {index} is {actual}, expected {expected}");
        }
    }
}

/// The model as it is and in its normal form: the same answers. The normal form is given back.
fn check_normal_form(name: &str, model: &ModelProto, inputs: &[Tensor]) -> ModelProto {
    let expected = answers(model, inputs);
    let mut normal = model.clone();
    normalize(&mut normal).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(check(&normal), [], "{name}");
    assert!(normal.opset_import[0].version() >= 17, "{name}");
    assert_same(name, &expected, &answers(&normal, inputs), 1e-6);
    normal
}

/// A model of what `build` makes, in operators of that version. Of its outputs nothing is said but
/// the type; the same of its inputs where `shapes` is false.
fn model(version: i64, shapes: bool, build: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    build(&mut graph);
    let mut model = graph.into_model(version);
    let graph = model.graph.as_mut().expect("just built");
    let inputs = graph.input.iter_mut().filter(|_| !shapes);
    for value in graph.output.iter_mut().chain(inputs) {
        let of = value.r#type.as_mut().and_then(|of| of.value.as_mut());
        let Some(TypeValue::Tensor(tensor)) = of else { panic!("only tensors are built") };
        tensor.shape = None;
    }
    model
}
