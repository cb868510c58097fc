//! Gradients of activations that have kernels.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Signature, function, int_attribute};
use crate::autodiff::emitter::Emitter;
use crate::autodiff::expr::Expr;
use crate::onnx::proto::FunctionProto;

/// The gradient of x·Φ(x), Φ being the normal distribution.
pub fn gelu_gradient(opset: i64) -> FunctionProto {
    let signature = of_one_output("GeluGradient", ["dy", "x"], &[]);
    function(opset, &signature, |_, [dy, x]| {
        let below = 0.5 * (1.0 + (x * FRAC_1_SQRT_2).erf());
        let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * (x * x)).exp();
        [dy * (below + x * density)]
    })
}

/// The gradient of the same with Φ(x) = (1 + tanh u) / 2, u = √(2/π)·(x + 0.044715·x³).
pub fn gelu_tanh_gradient(opset: i64) -> FunctionProto {
    let signature = of_one_output("GeluTanhGradient", ["dy", "x"], &[]);
    function(opset, &signature, |_, [dy, x]| {
        let (root, cubic) = (FRAC_2_SQRT_PI * FRAC_1_SQRT_2, 0.044715);
        let square = x * x;
        let tanh = (root * x * (1.0 + cubic * square)).tanh();
        let slope = root * (1.0 + 3.0 * cubic * square) * (1.0 - tanh * tanh);
        [0.5 * dy * (1.0 + tanh + x * slope)]
    })
}

/// From the output `y` alone.
pub fn softmax_gradient(opset: i64) -> FunctionProto {
    let signature = of_one_output("SoftmaxGradient", ["dy", "y"], &["axis"]);
    function(opset, &signature, |emitter, [dy, y]| [y * (dy - sum_over_axis(emitter, dy * y))])
}

/// From the output `y` alone.
pub fn log_softmax_gradient(opset: i64) -> FunctionProto {
    let signature = of_one_output("LogSoftmaxGradient", ["dy", "y"], &["axis"]);
    function(opset, &signature, |emitter, [dy, y]| [dy - y.exp() * sum_over_axis(emitter, dy)])
}

fn of_one_output(
    name: &'static str,
    inputs: [&'static str; 2],
    attributes: &'static [&'static str],
) -> Signature<2, 1> {
    Signature { name, inputs, outputs: ["dx"], attributes }
}

/// The sum over the axis that the function's attribute names, which stays as a one.
fn sum_over_axis<'g>(emitter: &'g Emitter, value: Expr<'g>) -> Expr<'g> {
    let axes = int_attribute(emitter, "axis");
    value.call_with("ReduceSum", &[axes], vec![("keepdims", 1.into())])
}
