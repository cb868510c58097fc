//! The kernels against the definition, over shapes.

mod reference;
mod shapes;

use self::reference::{Case, Numbers, Reference};
use super::*;
use crate::kernels::{ScopedThreads, Sequential};

/// What the three kernels give.
#[derive(Debug, PartialEq)]
struct Results {
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
}

/// Runs the three on numbers; what they do not write would stay NaN.
fn run(shape: &ConvShape, numbers: &Numbers, level: Level, parallel: &dyn Parallel) -> Results {
    let call = Call { kernel: "test", level, parallel };
    let Numbers { x, w, bias, dy } = numbers;
    let mut results = Results {
        y: vec![f32::NAN; shape.output_len()],
        dx: vec![f32::NAN; shape.input_len()],
        dw: vec![f32::NAN; shape.weight_len()],
    };
    let operands = Operands { source: x, weights: w, bias: Some(bias) };
    forward_call(call, shape, operands, &mut results.y).unwrap();
    input_gradient_call(call, shape, dy, w, &mut results.dx).unwrap();
    weight_gradient_call(call, shape, x, dy, &mut results.dw).unwrap();
    results
}

/// Every level against the definition.
fn check(case: &Case) {
    let shape = case.shape();
    let numbers = Numbers::new(&shape);
    let reference = Reference::new(&shape, &numbers);
    for level in Level::available() {
        let results = run(&shape, &numbers, level, &Sequential);
        let pairs = [
            ("y", &reference.y, &results.y),
            ("dx", &reference.dx, &results.dx),
            ("dw", &reference.dw, &results.dw),
        ];
        for (name, exact, actual) in pairs {
            let distance = exact.distance(actual);
            assert!(distance <= 4.0, "{name} of {case:?} at {level:?}: {distance} units");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_attribute_gives_what_the_definition_gives() {
    shapes::grid().iter().for_each(check);
}

#[test]
fn shapes_that_need_several_strips_and_blocks_give_the_same() {
    shapes::large().iter().for_each(check);
    let plans: Vec<Plan> =
        shapes::large().iter().map(|case| Plan::forward(&case.shape())).collect();
    let layouts = || plans.iter().map(|plan| layout::Layout::new(plan, 1));
    assert!(layouts().any(|it| it.strips[0] > 1 && it.strip.depth > 1), "several planes");
    assert!(layouts().any(|it| it.strips[0] > 1 && it.strips[1] > 1), "parts of a plane");
    assert!(layouts().any(|it| it.phases[0].offsets.len() > 16), "more steps than are kept");
    assert!(plans.iter().any(winograd::suits), "Winograd's way");
}

#[test]
fn threads_and_repetition_change_no_bit() {
    for case in shapes::grid().iter().step_by(3).chain(&shapes::large()) {
        let shape = case.shape();
        let numbers = Numbers::new(&shape);
        let expected = run(&shape, &numbers, Level::detected(), &Sequential);
        for count in [1, 2, 3, 2] {
            let actual = run(&shape, &numbers, Level::detected(), &ScopedThreads { count });
            assert_eq!(bits(&actual.y), bits(&expected.y), "{case:?}, {count} threads");
            assert_eq!(bits(&actual.dx), bits(&expected.dx), "{case:?}, {count} threads");
            assert_eq!(bits(&actual.dw), bits(&expected.dw), "{case:?}, {count} threads");
        }
    }
}

/// The root mean square of the differences.
fn rms(exact: &[f64], actual: &[f32]) -> f64 {
    let pairs = exact.iter().zip(actual);
    let sum: f64 = pairs.map(|(exact, actual)| (exact - f64::from(*actual)).powi(2)).sum();
    (sum / exact.len() as f64).sqrt()
}

#[test]
fn winograds_way_rounds_like_the_direct_sum() {
    let shape = Case::new(2, [32, 32], &[12, 12], &[3, 3]).pads(&[1, 1, 1, 1]).shape();
    let numbers = Numbers::new(&shape);
    let Numbers { x, w, bias, dy } = &numbers;
    let reference = Reference::new(&shape, &numbers);
    let call = Call { kernel: "test", level: Level::detected(), parallel: &Sequential };
    let winograd = run(&shape, &numbers, call.level, call.parallel);
    let (mut y, mut dx, mut dw) = (winograd.y.clone(), winograd.dx.clone(), winograd.dw.clone());
    let forward = Operands { source: x, weights: w, bias: Some(bias) };
    let back = Operands { source: dy, weights: w, bias: None };
    wide::run(call, &Plan::forward(&shape), &forward, &mut y).unwrap();
    wide::run(call, &Plan::input_gradient(&shape), &back, &mut dx).unwrap();
    weights_wide::run(call, &Plan::forward(&shape), x, dy, &mut dw).unwrap();
    let rows = [
        (&reference.y, &winograd.y, &y),
        (&reference.dx, &winograd.dx, &dx),
        (&reference.dw, &winograd.dw, &dw),
    ];
    for (exact, winograd, direct) in rows {
        assert_ne!(bits(winograd), bits(direct), "both went the same way");
        let ratio = rms(&exact.values, winograd) / rms(&exact.values, direct);
        assert!(ratio <= 1.5, "{ratio} times the direct sum's");
    }
}

#[test]
fn a_forward_pass_without_bias_begins_at_zero() {
    let shape = Case::new(2, [3, 9], &[5, 4], &[2, 3]).shape();
    let numbers = Numbers::new(&shape);
    let zeros = vec![0.0; shape.bias_len()];
    let (mut without, mut with) = (vec![1.0; shape.output_len()], vec![2.0; shape.output_len()]);
    forward(&shape, &numbers.x, &numbers.w, None, &mut without, &Sequential).unwrap();
    forward(&shape, &numbers.x, &numbers.w, Some(&zeros), &mut with, &Sequential).unwrap();
    assert_eq!(without, with);
}

#[test]
fn an_empty_batch_leaves_a_weight_gradient_of_zeros() {
    check(&Case::new(0, [3, 9], &[5, 4], &[2, 3]));
    check(&Case::new(0, [1, 1], &[5], &[2]));
}

#[test]
fn a_wrong_length_is_an_error_that_names_the_operand() {
    let shape = Case::new(1, [2, 3], &[4], &[3]).shape();
    let numbers = Numbers::new(&shape);
    let Numbers { x, w, bias, dy } = &numbers;
    let mut y = dy.clone();
    let short = |slice: &[f32]| slice[1..].to_vec();
    let expected = |operand: &str, expected: usize| {
        let actual = expected - 1;
        format!("convolution: {operand} has {actual} elements, expected {expected}")
    };
    let mut forward = |x: &[f32], w: &[f32], bias: &[f32]| {
        forward(&shape, x, w, Some(bias), &mut y, &Sequential).unwrap_err().to_string()
    };
    assert_eq!(forward(&short(x), w, bias), expected("x", 8));
    assert_eq!(forward(x, &short(w), bias), expected("w", 18));
    assert_eq!(forward(x, w, &short(bias)), expected("bias", 3));
    let error = input_gradient(&shape, dy, w, &mut short(x), &Sequential).unwrap_err();
    let message = "input gradient of a convolution: dx has 7 elements, expected 8";
    assert_eq!(error.to_string(), message);
    let error = weight_gradient(&shape, x, &short(dy), &mut w.clone(), &Sequential).unwrap_err();
    let message = "weight gradient of a convolution: dy has 5 elements, expected 6";
    assert_eq!(error.to_string(), message);
}

#[test]
fn impossible_shapes_are_errors_that_name_the_setting() {
    let good = ConvSettings {
        batch: 1,
        channels: 4,
        filters: 6,
        sizes: &[5, 5],
        kernel: &[3, 3],
        strides: &[1, 1],
        dilations: &[1, 1],
        pads: &[0, 0, 0, 0],
        group: 2,
    };
    assert!(ConvShape::new(good).is_ok());
    let huge = 1 << 31;
    let rows = [
        (ConvSettings { sizes: &[], ..good }, "spatial dimensions is 0"),
        (ConvSettings { sizes: &[1, 1, 1, 1], ..good }, "spatial dimensions is 4"),
        (ConvSettings { kernel: &[3], ..good }, "kernel_shape is [3]"),
        (ConvSettings { pads: &[0, 0], ..good }, "pads is [0, 0]"),
        (ConvSettings { strides: &[1, 0], ..good }, "strides is [1, 0]"),
        (ConvSettings { dilations: &[0, 1], ..good }, "dilations is [0, 1]"),
        (ConvSettings { kernel: &[0, 1], ..good }, "kernel_shape is [0, 1]"),
        (ConvSettings { group: 0, ..good }, "group is 0"),
        (ConvSettings { group: 3, ..good }, "channels is 4 for group 3"),
        (ConvSettings { group: 4, ..good }, "filters is 6 for group 4"),
        (ConvSettings { dilations: &[1, 3], ..good }, "7 wide (dilated) over an input of 5"),
        (ConvSettings { sizes: &[5, usize::MAX], ..good }, "size or setting is 18446744073709"),
        (ConvSettings { sizes: &[huge, huge], ..good }, "count of elements"),
    ];
    for (settings, expected) in rows {
        let message = ConvShape::new(settings).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\nexpected: {expected}");
    }
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    // An input of one element under a padding of half an exabyte.
    let huge = 1 << 30;
    let case = Case::new(1, [1, 1], &[1, 1], &[1, 1])
        .pads(&[huge, huge, huge, huge])
        .strides(&[huge + 1, huge + 1]);
    let shape = case.shape();
    let mut y = vec![0.0; shape.output_len()];
    let error = forward(&shape, &[1.0], &[1.0], None, &mut y, &Sequential);
    assert!(matches!(error, Err(KernelError::Memory { .. })), "{error:?}");
}
