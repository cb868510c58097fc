//! Golden samples: inputs whose outputs are known, run on a session before it serves. A session
//! that answers otherwise is of another model, or on an engine or a device that computes wrong.

use std::fmt;

use half::{bf16, f16};

use super::{EngineError, Session};
use crate::tensor::{Data, DataType, Tensor};

/// A run whose outcome is known.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenSample {
    /// One per input of the signature.
    pub inputs: Vec<Option<Tensor>>,
    /// Indices into the signature's outputs, and what each must be.
    pub outputs: Vec<(usize, Tensor)>,
    pub tolerance: Tolerance,
}

/// How far a float may be from what is expected: `absolute + relative × |expected|`. Everything
/// that is no float must be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

/// How a session failed a golden sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoldenFault {
    #[error(transparent)]
    Run(EngineError),
    #[error("output {output:?}: expected {expected}, got {actual}")]
    Form { output: String, expected: String, actual: String },
    #[error(
        "output {output:?} at {index:?}: expected {expected}, got {actual}; {wrong} of {of} \
             elements differ by more than {allowed}"
    )]
    Value {
        output: String,
        /// Of the first element that differs, along each axis.
        index: Vec<usize>,
        expected: String,
        actual: String,
        wrong: usize,
        of: usize,
        allowed: String,
    },
}

impl fmt::Display for Tolerance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} + {} × |expected|", self.absolute, self.relative)
    }
}

/// Runs the sample and compares.
///
/// # Errors
/// It cannot be run, or an output is not what it must be.
pub fn check_golden(
    session: &mut dyn Session,
    sample: &GoldenSample,
) -> Result<(), Box<GoldenFault>> {
    let signature = session.signature().clone();
    let indices: Vec<usize> = sample.outputs.iter().map(|(index, _)| *index).collect();
    let ran = signature
        .check_run(&sample.inputs, &indices)
        .and_then(|()| session.run(&sample.inputs, &indices));
    let actual = ran.map_err(|error| Box::new(GoldenFault::Run(error)))?;
    for ((index, expected), actual) in sample.outputs.iter().zip(&actual) {
        compare(&signature.outputs[*index].name, expected, actual, sample.tolerance)?;
    }
    Ok(())
}

fn compare(
    output: &str,
    expected: &Tensor,
    actual: &Tensor,
    tolerance: Tolerance,
) -> Result<(), Box<GoldenFault>> {
    let form = |tensor: &Tensor| format!("{} {:?}", tensor.data_type(), tensor.shape());
    if expected.data_type() != actual.data_type() || expected.shape() != actual.shape() {
        let (expected, actual) = (form(expected), form(actual));
        let output = output.to_owned();
        return Err(Box::new(GoldenFault::Form { output, expected, actual }));
    }
    let of = expected.element_count();
    let is_wrong =
        |place: &usize| !element(expected, *place).is_near(&element(actual, *place), tolerance);
    let Some(first) = (0..of).find(is_wrong) else { return Ok(()) };
    Err(Box::new(GoldenFault::Value {
        output: output.to_owned(),
        index: position(first, expected.shape()),
        expected: element(expected, first).to_string(),
        actual: element(actual, first).to_string(),
        wrong: (first..of).filter(is_wrong).count(),
        of,
        allowed: match element(expected, first) {
            Element::Float(..) => tolerance.to_string(),
            _ => "nothing".to_owned(),
        },
    }))
}

/// Where the element at `place` in row-major order lies along each axis.
fn position(place: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = place;
    let mut index = vec![0; shape.len()];
    for (axis, &size) in shape.iter().enumerate().rev() {
        index[axis] = rest % size;
        rest /= size;
    }
    index
}

/// One element, as it is compared and shown.
#[derive(PartialEq)]
enum Element<'a> {
    /// The value, and how its own type writes it.
    Float(f64, String),
    Unsigned(u64),
    Signed(i64),
    Bool(bool),
    Text(&'a [u8]),
}

impl Element<'_> {
    fn is_near(&self, actual: &Element<'_>, tolerance: Tolerance) -> bool {
        let (Element::Float(expected, _), Element::Float(actual, _)) = (self, actual) else {
            return self == actual;
        };
        if expected.is_nan() || expected.is_infinite() {
            return expected == actual || (expected.is_nan() && actual.is_nan());
        }
        (expected - actual).abs() <= tolerance.absolute + tolerance.relative * expected.abs()
    }
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Float(_, text) => formatter.write_str(text),
            Element::Unsigned(value) => value.fmt(formatter),
            Element::Signed(value) => value.fmt(formatter),
            Element::Bool(value) => value.fmt(formatter),
            Element::Text(bytes) => write!(formatter, "{:?}", String::from_utf8_lossy(bytes)),
        }
    }
}

/// The element at this place in row-major order.
fn element(tensor: &Tensor, place: usize) -> Element<'_> {
    let bytes = match tensor.data() {
        Data::Strings(strings) => return Element::Text(&strings[place]),
        Data::Numbers(bytes) => bytes,
    };
    let size = tensor.data_type().size().expect("numbers have a size");
    let bytes = &bytes[place * size..][..size];
    let float = |value: f64, text: String| Element::Float(value, text);
    match tensor.data_type() {
        DataType::Bool => Element::Bool(bytes[0] != 0),
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => {
            let mut whole = [0; 8];
            whole[..size].copy_from_slice(bytes);
            Element::Unsigned(u64::from_le_bytes(whole))
        }
        DataType::Int8 => Element::Signed(i8::from_le_bytes(fixed(bytes)).into()),
        DataType::Int16 => Element::Signed(i16::from_le_bytes(fixed(bytes)).into()),
        DataType::Int32 => Element::Signed(i32::from_le_bytes(fixed(bytes)).into()),
        DataType::Int64 => Element::Signed(i64::from_le_bytes(fixed(bytes))),
        DataType::Float16 => {
            let value = f16::from_le_bytes(fixed(bytes));
            float(value.into(), value.to_string())
        }
        DataType::BFloat16 => {
            let value = bf16::from_le_bytes(fixed(bytes));
            float(value.into(), value.to_string())
        }
        DataType::Float32 => {
            let value = f32::from_le_bytes(fixed(bytes));
            float(value.into(), value.to_string())
        }
        DataType::Float64 => {
            let value = f64::from_le_bytes(fixed(bytes));
            float(value, value.to_string())
        }
        DataType::String => unreachable!("strings were returned above"),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("an element has its type's size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::ScriptedEngine;
    use crate::engine::{Engine, ModelSource, SessionSettings, Signature};
    use crate::tensor::{Dimension, Shape, TensorSpec};

    const EXACT: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_f32(&[1, values.len()], values).unwrap()
    }

    fn check(expected: &Tensor, actual: &Tensor, tolerance: Tolerance) -> Result<(), String> {
        compare("y", expected, actual, tolerance).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_lies_within_the_tolerance_is_right() {
        let tolerance = Tolerance { relative: 1e-3, absolute: 1e-6 };
        let table = [
            (&[1000.0, 0.0][..], &[1000.9, 0.000_000_9][..]),
            (&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY]),
            (&[-0.0, -1.0], &[0.0, -1.000_9]),
        ];
        for (expected, actual) in table {
            assert_eq!(check(&floats(expected), &floats(actual), tolerance), Ok(()));
        }
        let apart = [
            (1.0, 1.002),
            (0.0, 0.000_002),
            (f32::NAN, 1.0),
            (1.0, f32::NAN),
            (f32::INFINITY, f32::MAX),
            (f32::INFINITY, f32::NEG_INFINITY),
        ];
        for (expected, actual) in apart {
            assert!(check(&floats(&[expected]), &floats(&[actual]), tolerance).is_err());
        }
    }

    #[test]
    fn the_first_wrong_element_is_named_with_its_place() {
        let expected = Tensor::from_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 0.1, 5.0]).unwrap();
        let actual = Tensor::from_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 0.2, 6.0]).unwrap();
        let tolerance = Tolerance { relative: 1e-4, absolute: 1e-6 };
        assert_eq!(
            check(&expected, &actual, tolerance).unwrap_err(),
            "output \"y\" at [1, 1]: expected 0.1, got 0.2; 2 of 6 elements differ by more than \
             0.000001 + 0.0001 × |expected|"
        );
        let scalar = |value: f32| Tensor::from_f32(&[], &[value]).unwrap();
        let error = check(&scalar(1.0), &scalar(2.0), EXACT).unwrap_err();
        assert!(error.starts_with("output \"y\" at []: expected 1, got 2; 1 of 1"), "{error}");
    }

    #[test]
    fn every_type_is_compared_and_shown_as_it_is() {
        let numbers = |data_type, bytes: &[u8]| {
            let count = bytes.len() / DataType::size(data_type).unwrap();
            Tensor::numbers(data_type, Shape::from_slice(&[count]), bytes.to_vec().into()).unwrap()
        };
        let half = |value: f32| f16::from_f32(value).to_le_bytes().to_vec();
        let brain = |value: f32| bf16::from_f32(value).to_le_bytes().to_vec();
        let table = [
            (DataType::Bool, vec![0], vec![1], "expected false, got true"),
            (DataType::Uint8, vec![7], vec![255], "expected 7, got 255"),
            (DataType::Uint16, vec![1, 1], vec![0, 1], "expected 257, got 256"),
            (DataType::Int8, vec![0xff], vec![0], "expected -1, got 0"),
            (DataType::Int16, vec![0xfe, 0xff], vec![0, 0], "expected -2, got 0"),
            (DataType::Float16, half(0.5), half(0.75), "expected 0.5, got 0.75"),
            (DataType::BFloat16, brain(1.5), brain(-2.0), "expected 1.5, got -2"),
            (
                DataType::Uint32,
                7u32.to_le_bytes().to_vec(),
                u32::MAX.to_le_bytes().to_vec(),
                "expected 7, got 4294967295",
            ),
            (
                DataType::Uint64,
                u64::MAX.to_le_bytes().to_vec(),
                (u64::MAX - 1).to_le_bytes().to_vec(),
                "expected 18446744073709551615, got 18446744073709551614",
            ),
            (
                DataType::Int32,
                (-7i32).to_le_bytes().to_vec(),
                7i32.to_le_bytes().to_vec(),
                "expected -7, got 7",
            ),
            (
                DataType::Int64,
                i64::MAX.to_le_bytes().to_vec(),
                (i64::MAX - 1).to_le_bytes().to_vec(),
                "expected 9223372036854775807, got 9223372036854775806",
            ),
            (
                DataType::Float64,
                0.25f64.to_le_bytes().to_vec(),
                0.5f64.to_le_bytes().to_vec(),
                "expected 0.25, got 0.5",
            ),
        ];
        for (data_type, expected, actual, message) in table {
            let (expected, actual) = (numbers(data_type, &expected), numbers(data_type, &actual));
            assert_eq!(check(&expected, &expected, EXACT), Ok(()), "{data_type}");
            let error = check(&expected, &actual, EXACT).unwrap_err();
            assert!(error.contains(message), "{data_type}: {error}");
        }
        let strings = |text: &'static str| {
            Tensor::strings(Shape::from_slice(&[1]), vec![text.into()]).unwrap()
        };
        let error = check(&strings("cat"), &strings("dog"), EXACT).unwrap_err();
        assert!(error.contains("expected \"cat\", got \"dog\""), "{error}");
        assert!(error.ends_with("1 of 1 elements differ by more than nothing"), "{error}");
    }

    #[test]
    fn another_type_or_shape_is_wrong() {
        let error = check(&floats(&[1.0]), &floats(&[1.0, 2.0]), EXACT).unwrap_err();
        assert_eq!(error, "output \"y\": expected FP32 [1, 1], got FP32 [1, 2]");
    }

    #[test]
    fn a_session_is_run_and_one_that_cannot_be_is_told() {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            data_type: DataType::Float32,
            shape: Some(vec![Dimension::Unknown, Dimension::Fixed(2)]),
            optional: false,
        };
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
        let engine = ScriptedEngine::echo(signature);
        let source = ModelSource { path: "model.onnx".into() };
        let mut session = engine.open(&source, &SessionSettings::cpu()).unwrap();
        let mut check = |inputs: Vec<Option<Tensor>>, outputs: Vec<(usize, Tensor)>| {
            let sample = GoldenSample { inputs, outputs, tolerance: EXACT };
            check_golden(session.as_mut(), &sample).map_err(|fault| fault.to_string())
        };
        let row = floats(&[1.0, 2.0]);
        assert_eq!(check(vec![Some(row.clone())], vec![(0, row.clone())]), Ok(()));
        let error = check(vec![Some(row.clone())], vec![(0, floats(&[1.0, 3.0]))]).unwrap_err();
        assert!(error.starts_with("output \"y\" at [0, 1]: expected 3, got 2"), "{error}");
        let error = check(vec![None], vec![(0, row)]).unwrap_err();
        assert!(error.contains("input \"x\" is missing"), "{error}");
    }
}
