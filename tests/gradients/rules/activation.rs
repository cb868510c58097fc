//! Activations.

use crate::case::Case;

/// On both sides of every kink, none within the step of the differences.
const AROUND: [f64; 8] = [-3.5, -2.2, -1.1, -0.4, 0.3, 0.8, 1.9, 3.6];

fn around(operator: &'static str) -> Case {
    Case::of(operator).values(&[2, 4], &AROUND)
}

/// What neither engine has in 64-bit floats, but is smooth enough for closer differences than
/// usual in 32-bit.
fn closely(case: Case) {
    case.coarsely().tolerance(1e-3).and_tract().check();
}

#[test]
fn relu_is_flat_at_zero() {
    around("Relu").check();
    Case::of("Relu").floats(&[0, 2]).check();
    Case::of("Relu").values(&[1], &[0.0]).check_is(&[&[0.0]]);
}

#[test]
fn leaky_relu() {
    around("LeakyRelu").on_onnxruntime().and_tract().check();
    around("LeakyRelu").attribute("alpha", 0.3f32).on_onnxruntime().and_tract().check();
}

#[test]
fn prelu_with_any_slope_that_broadcasts() {
    around("PRelu").floats(&[2, 4]).check();
    around("PRelu").floats(&[4]).check();
    around("PRelu").floats(&[1]).check();
    Case::of("PRelu").floats(&[2, 3, 2, 2]).floats(&[3, 1, 1]).check();
}

#[test]
fn exponential_units() {
    around("Elu").check();
    around("Elu").attribute("alpha", 0.7f32).check();
    // tract rounds the defaults to six digits.
    around("Selu").tolerance(1e-5).check();
    around("Selu").attribute("alpha", 1.2f32).attribute("gamma", 2.5f32).check();
    around("Celu").check();
    // tract has no other alpha than 1.
    around("Celu").attribute("alpha", 1.6f32).coarsely().tolerance(1e-3).check();
}

#[test]
fn gelu_in_both_forms() {
    let gelu = || around("Gelu").opset(20);
    closely(gelu());
    closely(gelu().attribute("approximate", "none"));
    closely(gelu().attribute("approximate", "tanh"));
    Case::of("Gelu").opset(20).floats(&[0, 2]).coarsely().check();
}

#[test]
fn hard_sigmoid_and_swish() {
    around("HardSigmoid").check();
    around("HardSigmoid").attribute("alpha", 0.4f32).attribute("beta", 0.3f32).check();
    closely(around("HardSwish"));
}

#[test]
fn smooth_units() {
    around("Sigmoid").on_onnxruntime().and_tract().check();
    around("Tanh").check();
    closely(around("Softplus"));
    around("Softsign").check();
    closely(around("Mish").opset(18));
}

#[test]
fn swish_with_any_slope() {
    around("Swish").opset(24).on_onnxruntime().and_tract().check();
    around("Swish").opset(24).attribute("alpha", 1.7f32).on_onnxruntime().check();
}

#[test]
fn thresholds() {
    around("ThresholdedRelu").check();
    around("ThresholdedRelu").attribute("alpha", 0.5f32).check();
    around("Shrink").check();
    around("Shrink").attribute("lambd", 1.5f32).attribute("bias", 0.5f32).check();
}
