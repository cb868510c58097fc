//! What normalises along an axis without parameters.

use super::{Entry, Gradients, exact, zero};
use crate::autodiff::call::Call;
use crate::autodiff::functions::activation::{log_softmax_gradient, softmax_gradient};
use crate::onnx::proto::FunctionProto;

pub(super) const RULES: &[Entry] = &[
    exact("Softmax", |c| from_output(c, softmax_gradient(c.opset()))),
    exact("LogSoftmax", |c| from_output(c, log_softmax_gradient(c.opset()))),
    zero("Hardmax"),
    exact("LpNormalization", lp_normalization),
];

fn from_output<'g>(c: &Call<'g, '_>, function: FunctionProto) -> Gradients<'g> {
    let y = c.output(0);
    let axis = vec![("axis", c.axis(c.int("axis", -1), c.output_rank(0)).into())];
    let inputs = [Some(c.gradient()), Some(y)];
    vec![Some(c.emitter().call_function(function, &inputs, axis, &[y.data_type()])[0])]
}

/// y = x / n, n being the sum of |x| or the root of that of x². Zeros stay zeros: nothing passes.
fn lp_normalization<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
    let axis = [c.axis(c.int("axis", -1), c.input_rank(0))];
    let (norm, slope) = match c.int("p", 2) {
        1 => (x.reduce("ReduceL1", &axis, true), x.sign()),
        _ => (x.reduce("ReduceL2", &axis, true), y),
    };
    let inverse = norm.equals(0.0).zero_or(1.0 / norm);
    vec![Some((g - slope * (g * y).sum(&axis, true)) * inverse)]
}
