//! Both engines on the same models: they agree, or tract refuses and says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::onnxruntime::testing::test_engine;
use super::tract::Tract;
use super::{Engine, EngineError, ModelSource, Session, SessionSettings};
use crate::tensor::{DataType, Shape, Tensor};

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

/// A tensor whose values count up from `seed`: small numbers in every type.
pub(super) fn counting(data_type: DataType, shape: &[usize], seed: usize) -> Tensor {
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
pub(super) fn check_agreement(path: &Path, inputs: &[Option<Tensor>]) -> Vec<Tensor> {
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
pub(super) fn tracts_refusal(path: &Path) -> (String, String) {
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

#[test]
fn an_input_with_a_default_comes_last_and_may_be_left_out() {
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("default_input")).expect("it opens");
        let inputs: Vec<(&str, bool)> = session
            .signature()
            .inputs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.optional))
            .collect();
        assert_eq!(inputs, [("x", false), ("scale", true)], "{}", engine.name());
        let x = Tensor::from_f32(&[1, 2], &[1.0, 1.0]).expect("two values fit");
        let left_out = session.run(&[Some(x.clone()), None], &[0]).expect("it runs");
        assert_eq!(left_out[0].to_f32(), Some(vec![2.0, 3.0]), "{}", engine.name());
        let scale = Tensor::from_f32(&[2], &[5.0, 7.0]).expect("two values fit");
        let given = session.run(&[Some(x), Some(scale)], &[0]).expect("it runs");
        assert_eq!(given[0].to_f32(), Some(vec![5.0, 7.0]), "{}", engine.name());
    }
}

#[test]
fn only_wanted_outputs_come_in_the_order_asked_for() {
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("two_outputs")).expect("it opens");
        let row = |value: f32| Tensor::from_f32(&[1, 3], &[value; 3]).expect("three values fit");
        let inputs = [Some(row(2.0)), Some(row(5.0))];
        for (wanted, expected) in
            [(vec![1], vec![10.0]), (vec![1, 0], vec![10.0, 7.0]), (vec![], vec![])]
        {
            let outputs = session.run(&inputs, &wanted).expect("it runs");
            let firsts: Vec<f32> =
                outputs.iter().map(|output| output.to_f32().expect("floats")[0]).collect();
            assert_eq!(firsts, expected, "{}", engine.name());
        }
    }
}

#[test]
fn signatures_keep_names_of_open_axes_and_open_ranks() {
    for engine in engines() {
        let session = open(engine.as_ref(), &fixture("lstm")).expect("it opens");
        let shapes: Vec<String> =
            session.signature().inputs.iter().map(|spec| spec.shape_text()).collect();
        assert_eq!(shapes, ["[time, n, 2]", "[1, n, 3]", "[1, n, 3]"], "{}", engine.name());
        let session = open(engine.as_ref(), &fixture("unknown_rank")).expect("it opens");
        assert_eq!(session.signature().inputs[0].shape, None, "{}", engine.name());
        let session = open(engine.as_ref(), &fixture("scalar")).expect("it opens");
        assert_eq!(session.signature().inputs[0].shape, Some(vec![]), "{}", engine.name());
    }
}

#[test]
fn outputs_outlive_their_session() {
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("passed_through")).expect("it opens");
        let x = Tensor::from_f32(&[3], &[-1.0, 0.5, 2.0]).expect("three values fit");
        let outputs = session.run(&[Some(x)], &[0, 1, 2]).expect("it runs");
        drop(session);
        let values: Vec<_> = outputs.iter().map(|output| output.to_f32().expect("f32")).collect();
        let expected = [vec![0.0, 0.5, 2.0], vec![-1.0, 0.5, 2.0], vec![7.0, 8.0]];
        assert_eq!(values, expected, "{}", engine.name());
    }
}

/// Inputs, wanted outputs, and why they are refused.
type Misfit = (Vec<Option<Tensor>>, Vec<usize>, &'static str);

#[test]
fn what_does_not_fit_the_signature_is_refused_by_name() {
    let f32s = |shape: &[usize]| Some(counting(DataType::Float32, shape, 1));
    let table: [Misfit; 5] = [
        (vec![f32s(&[1, 3])], vec![0], "the model has 2 inputs, 1 came"),
        (vec![f32s(&[1, 3]), None], vec![0], "input \"b\" is missing"),
        (vec![f32s(&[1, 3]), f32s(&[3])], vec![0], "input \"b\" has shape [n, 3], not [3]"),
        (
            vec![f32s(&[1, 3]), Some(counting(DataType::Int32, &[1, 3], 1))],
            vec![0],
            "input \"b\" is FP32, not INT32",
        ),
        (vec![f32s(&[1, 3]), f32s(&[1, 3])], vec![2], "the model has no output 2"),
    ];
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("two_outputs")).expect("it opens");
        for (inputs, outputs, reason) in &table {
            let error = session.run(inputs, outputs).expect_err(reason);
            assert_eq!(error, EngineError::InputsRefused { reason: (*reason).to_owned() });
        }
    }
}

#[test]
fn a_node_that_fails_is_named_and_the_session_stays_usable() {
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("lookup")).expect("it opens");
        let index = |value: i64| {
            let bytes = value.to_le_bytes().to_vec().into();
            Some(Tensor::numbers(DataType::Int64, Shape::from_slice(&[1]), bytes).expect("it fits"))
        };
        let error = session.run(&[index(9)], &[0]).expect_err("there is no row 9").to_string();
        assert!(error.contains("lookup") && error.contains("Gather"), "{error}");
        let outputs = session.run(&[index(2)], &[0]).expect("there is a row 2");
        assert_eq!(outputs[0].to_f32(), Some(vec![20.0, 21.0]), "{}", engine.name());
    }
}

#[test]
fn values_that_are_no_tensors_are_refused_by_name() {
    for engine in engines() {
        for name in ["sequence", "map", "optional"] {
            let error = open(engine.as_ref(), &fixture(name)).map(|_| ()).expect_err(name);
            // tract meets the operator that makes such a value before it meets the value.
            let EngineError::TypeUnsupported { name: output, .. } = &error else {
                let refused = matches!(error, EngineError::OperatorUnsupported { .. });
                assert!(refused && engine.name() == "tract", "{error}");
                continue;
            };
            assert_eq!(output, "y", "{error}");
        }
    }
}

#[test]
fn unknown_operators_are_refused_by_node_and_operator() {
    let table = [
        ("unknown_operator", "twist", "Twist"),
        ("unknown_domain", "ours", "com.example:Relu"),
        ("nested_unknown", "then_op", "Twist"),
    ];
    for engine in engines() {
        for (name, expected_node, expected_operator) in table {
            match open(engine.as_ref(), &fixture(name)).map(|_| ()) {
                Err(EngineError::OperatorUnsupported { node, operator, path, .. }) => {
                    assert_eq!(operator, expected_operator, "{} {name}", engine.name());
                    assert_eq!(node, expected_node, "{} {name}", engine.name());
                    assert_eq!(path, fixture(name));
                }
                other => panic!("{} {name}: {other:?}", engine.name()),
            }
        }
    }
    assert_eq!(tracts_refusal(&fixture("upper_case")).0, "upper");
    assert_eq!(tracts_refusal(&fixture("identity_bf16")).0, "same");
    let refused = ("cell".to_owned(), "LSTM".to_owned());
    assert_eq!(tracts_refusal(&fixture("lstm_with_cell")), refused);
}

#[test]
fn files_that_are_no_models_are_refused_by_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(fixture("opset7")).expect("the fixture is there");
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("the folder is writable");
        path
    };
    let broken = [
        write("empty.onnx", b""),
        write("text.onnx", b"this is no model, whatever its name says"),
        write("truncated.onnx", &whole[..whole.len() / 2]),
        write("zeros.onnx", &[0; 100]),
    ];
    for engine in engines() {
        for path in &broken {
            let error = open(engine.as_ref(), path).map(|_| ()).expect_err("it is no model");
            let invalid =
                matches!(&error, EngineError::ModelInvalid { path: at, .. } if at == path);
            assert!(invalid, "{}: {error}", engine.name());
        }
        let absent = folder.path().join("absent.onnx");
        let error = open(engine.as_ref(), &absent).map(|_| ()).expect_err("it is not there");
        assert!(matches!(error, EngineError::ModelUnreadable { .. }), "{error}");
        // External data that is not there: the model was copied without it.
        let lonely =
            write("lonely.onnx", &std::fs::read(fixture("external")).expect("the fixture"));
        let error = open(engine.as_ref(), &lonely).map(|_| ()).expect_err("its data is missing");
        assert!(error.to_string().contains("lonely.onnx"), "{error}");
    }
}

#[test]
fn strings_may_hold_any_bytes_on_onnx_runtime_and_utf8_on_tract() {
    let odd = vec![b"a\0b".to_vec().into(), vec![0xff, 0xfe].into()];
    let input = Tensor::strings(Shape::from_slice(&[1, 2]), odd).expect("two strings fit");
    let [onnxruntime, tract] = engines();
    let mut session = open(onnxruntime.as_ref(), &fixture("identity_bytes")).expect("it opens");
    let output = session.run(&[Some(input.clone())], &[0]).expect("it runs").remove(0);
    assert_eq!(output, input);
    let mut session = open(tract.as_ref(), &fixture("identity_bytes")).expect("it opens");
    let error = session.run(&[Some(input)], &[0]).expect_err("0xff is not UTF-8");
    assert!(matches!(error, EngineError::InputsRefused { .. }), "{error}");
}

#[test]
fn unaligned_bytes_and_odd_booleans_are_taken() {
    for engine in engines() {
        let mut session = open(engine.as_ref(), &fixture("identity_fp64")).expect("it opens");
        let shifted = bytes::Bytes::from(vec![7u8; 17]).slice(1..);
        let input = Tensor::numbers(DataType::Float64, Shape::from_slice(&[1, 2]), shifted);
        let input = input.expect("two values fit");
        assert_eq!(session.run(&[Some(input.clone())], &[0]).expect("it runs"), [input]);
        let mut session = open(engine.as_ref(), &fixture("identity_bool")).expect("it opens");
        let shape = Shape::from_slice(&[1, 2]);
        let input = Tensor::numbers(DataType::Bool, shape, vec![0u8, 200].into()).expect("fits");
        let output = session.run(&[Some(input)], &[0]).expect("it runs").remove(0);
        assert_eq!(output.bytes().expect("numbers").as_ref(), [0, 1], "{}", engine.name());
    }
}
