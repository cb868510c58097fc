//! Both engines on the same models: they agree, or tract refuses and says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::onnxruntime::testing::test_engine;
use super::tract::Tract;
use super::{Engine, EngineError, ModelSource, Session, SessionSettings};
use crate::tensor::{Data, DataType, Shape, Tensor};

/// A model among the fixtures.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine").join(format!("{name}.onnx"))
}

fn engines() -> [Arc<dyn Engine>; 2] {
    [test_engine(), Arc::new(Tract)]
}

fn open(engine: &dyn Engine, path: &Path) -> Result<Box<dyn Session>, EngineError> {
    engine.open(&ModelSource { path: path.to_owned() }, &SessionSettings::cpu())
}

/// A tensor whose bytes count up from `seed`: small numbers in every type.
fn counting(data_type: DataType, shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let numbers = (seed..seed + count).map(|index| index % 100);
    let shape = Shape::from_slice(shape);
    let bytes: Vec<u8> = match data_type {
        DataType::String => {
            let strings = numbers.map(|number| format!("text {number}").into());
            return Tensor::strings(shape, strings.collect()).expect("the count fits");
        }
        DataType::Bool => numbers.map(|number| (number % 2) as u8).collect(),
        DataType::Uint8 | DataType::Int8 => numbers.map(|number| number as u8).collect(),
        DataType::Uint16 | DataType::Int16 => {
            numbers.flat_map(|number| (number as u16).to_le_bytes()).collect()
        }
        DataType::Uint32 | DataType::Int32 => {
            numbers.flat_map(|number| (number as u32).to_le_bytes()).collect()
        }
        DataType::Uint64 | DataType::Int64 => {
            numbers.flat_map(|number| (number as u64).to_le_bytes()).collect()
        }
        DataType::Float16 => {
            numbers.flat_map(|number| half::f16::from_f32(number as f32).to_le_bytes()).collect()
        }
        DataType::BFloat16 => {
            numbers.flat_map(|number| half::bf16::from_f32(number as f32).to_le_bytes()).collect()
        }
        DataType::Float32 => {
            numbers.flat_map(|number| (number as f32 / 8.0 - 3.0).to_le_bytes()).collect()
        }
        DataType::Float64 => numbers.flat_map(|number| (number as f64).to_le_bytes()).collect(),
    };
    Tensor::numbers(data_type, shape, bytes.into()).expect("the count fits")
}

/// Equal, or floats within a relative 1e-5 of each other.
fn assert_close(name: &str, expected: &Tensor, actual: &Tensor) {
    assert_eq!(expected.data_type(), actual.data_type(), "{name}");
    assert_eq!(expected.shape(), actual.shape(), "{name}");
    match (expected.to_f32(), actual.to_f32()) {
        (Some(expected), Some(actual)) => {
            for (index, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                let difference = (expected - actual).abs();
                let allowed = 1e-5 * expected.abs().max(1.0);
                assert!(
                    difference <= allowed,
                    "{name}: element {index} is {actual}, expected {expected}"
                );
            }
        }
        _ => assert_eq!(expected.data(), actual.data(), "{name}"),
    }
}

/// Runs the model on both engines with the same inputs and compares every output.
fn check_agreement(path: &Path, inputs: &[Option<Tensor>]) -> Vec<Tensor> {
    let results = engines().map(|engine| {
        let name = format!("{} on {}", path.display(), engine.name());
        let mut session = open(engine.as_ref(), path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let all: Vec<usize> = (0..session.signature().outputs.len()).collect();
        let outputs = session.run(inputs, &all).unwrap_or_else(|e| panic!("{name}: {e}"));
        (session.signature().as_ref().clone(), outputs)
    });
    let [(signature, expected), (other_signature, actual)] = results;
    assert_eq!(signature.inputs, other_signature.inputs, "{}", path.display());
    let names = |signature: &super::Signature| {
        let names = signature.outputs.iter().map(|spec| (spec.name.clone(), spec.data_type));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&signature), names(&other_signature), "{}", path.display());
    for ((spec, expected), actual) in signature.outputs.iter().zip(&expected).zip(&actual) {
        assert_close(&format!("{} {}", path.display(), spec.name), expected, actual);
    }
    expected
}

/// The operator that tract refuses the model for, and at which node.
fn tracts_refusal(path: &Path) -> (String, String) {
    match open(&Tract, path).map(|_| ()) {
        Err(EngineError::OperatorUnsupported { node, operator, engine: "tract", .. }) => {
            (node, operator)
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn every_type_passes_through_unchanged() {
    for data_type in DataType::ALL {
        let word = data_type.protocol_name().to_lowercase();
        for rows in [3, 1, 0] {
            let input = counting(data_type, &[rows, 2], 1);
            let path = fixture(&format!("identity_{word}"));
            if data_type == DataType::BFloat16 {
                let mut session = open(test_engine().as_ref(), &path).expect("it opens");
                let outputs = session.run(&[Some(input.clone())], &[0]).expect("it runs");
                assert_eq!(outputs, [input]);
                continue;
            }
            let outputs = check_agreement(&path, &[Some(input.clone())]);
            assert_eq!(outputs, [input], "{word}");
        }
    }
}

#[test]
fn constants_of_every_type_are_read_right() {
    for data_type in DataType::ALL {
        let word = data_type.protocol_name().to_lowercase();
        let path = fixture(&format!("constant_{word}"));
        if data_type == DataType::BFloat16 {
            continue;
        }
        let input = counting(data_type, &[2, 2], 5);
        let outputs = check_agreement(&path, &[Some(input)]);
        assert_eq!(outputs[0].shape(), [3, 2], "{word}");
    }
}

#[test]
fn small_models_agree() {
    let f32s = |shape: &[usize]| Some(counting(DataType::Float32, shape, 20));
    let flag = |on: usize| Some(counting(DataType::Bool, &[], on));
    let table: &[(&str, Vec<Option<Tensor>>)] = &[
        ("scalar", vec![f32s(&[])]),
        ("two_outputs", vec![f32s(&[2, 3]), f32s(&[2, 3])]),
        ("passed_through", vec![f32s(&[4])]),
        ("matmul", vec![f32s(&[2, 4])]),
        ("external", vec![f32s(&[2, 4])]),
        ("branch", vec![flag(0), f32s(&[3])]),
        ("branch", vec![flag(1), f32s(&[3])]),
        ("opset7", vec![f32s(&[2, 4])]),
        ("opset24", vec![f32s(&[2, 4])]),
        ("listed_constants", vec![f32s(&[2, 4])]),
        ("functions", vec![flag(0), f32s(&[3])]),
        ("functions", vec![flag(1), f32s(&[3])]),
        ("unknown_rank", vec![f32s(&[2, 1, 3])]),
        ("unknown_rank", vec![f32s(&[])]),
        ("lookup", vec![Some(counting(DataType::Int64, &[2], 1))]),
        ("flatten", vec![f32s(&[2, 3, 2])]),
        ("nonzero", vec![f32s(&[9])]),
        ("lstm", vec![f32s(&[4, 2, 2]), f32s(&[1, 2, 3]), f32s(&[1, 2, 3])]),
        (
            "half_sum",
            vec![
                Some(counting(DataType::Float16, &[3], 1)),
                Some(counting(DataType::Float16, &[3], 2)),
            ],
        ),
        ("default_input", vec![f32s(&[3, 2]), None]),
        ("default_input", vec![f32s(&[3, 2]), f32s(&[2])]),
    ];
    for (name, inputs) in table {
        check_agreement(&fixture(name), inputs);
    }
}
