//! Activations. At a kink they have the derivative that PyTorch gives them: the left one.

use super::{Entry, Gradients, broadcast, elementwise, exact};
use crate::autodiff::call::Call;
use crate::autodiff::functions::activation::{gelu_gradient, gelu_tanh_gradient};

/// The defaults of `Selu`, as the standard has them.
const SELU_ALPHA: f64 = 1.673_263_192_176_818_8;
const SELU_GAMMA: f64 = 1.050_701_022_148_132_3;

pub(super) const RULES: &[Entry] = &[
    elementwise("Relu", |g, _, y| y.greater(0.0).gate(g)),
    exact("LeakyRelu", |c| {
        let (g, x) = (c.gradient(), c.input(0));
        vec![Some(x.greater(0.0).select(g, c.float("alpha", 0.01) * g))]
    }),
    broadcast("PRelu", |c| {
        let (g, x, slope) = (c.gradient(), c.input(0), c.input(1));
        let positive = x.greater(0.0);
        vec![Some(positive.select(g, g * slope)), Some(positive.zero_or(g * x))]
    }),
    exact("Elu", |c| {
        let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
        vec![Some(x.greater(0.0).select(g, g * (y + c.float("alpha", 1.0))))]
    }),
    exact("Selu", |c| {
        let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
        let (alpha, gamma) = (c.float("alpha", SELU_ALPHA), c.float("gamma", SELU_GAMMA));
        vec![Some(x.greater(0.0).select(gamma * g, g * (y + gamma * alpha)))]
    }),
    exact("Celu", |c| {
        let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
        vec![Some(x.greater(0.0).select(g, g * (y / c.float("alpha", 1.0) + 1.0)))]
    }),
    exact("Gelu", gelu),
    exact("HardSigmoid", |c| {
        let (g, y) = (c.gradient(), c.output(0));
        let sloping = y.greater(0.0).and(y.less(1.0));
        vec![Some(sloping.gate(c.float("alpha", 0.2) * g))]
    }),
    exact("HardSwish", hard_swish),
    elementwise("Mish", |g, x, _| {
        let tanh = x.call("Softplus", &[]).tanh();
        g * (tanh + x * x.sigmoid() * (1.0 - tanh * tanh))
    }),
    elementwise("Sigmoid", |g, _, y| g * y * (1.0 - y)),
    elementwise("Softplus", |g, x, _| g * x.sigmoid()),
    elementwise("Softsign", |g, x, _| {
        let scale = 1.0 + x.abs();
        g / (scale * scale)
    }),
    elementwise("Tanh", |g, _, y| g * (1.0 - y * y)),
    exact("ThresholdedRelu", |c| {
        vec![Some(c.input(0).greater(c.float("alpha", 1.0)).gate(c.gradient()))]
    }),
    exact("Swish", |c| {
        let (g, x, alpha) = (c.gradient(), c.input(0), c.float("alpha", 1.0));
        let sigmoid = (alpha * x).sigmoid();
        vec![Some(g * sigmoid * (1.0 + alpha * x * (1.0 - sigmoid)))]
    }),
    exact("Shrink", |c| {
        vec![Some(c.input(0).abs().greater(c.float("lambd", 0.5)).gate(c.gradient()))]
    }),
];

fn gelu<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let function = match c.text("approximate", "none").as_str() {
        "tanh" => gelu_tanh_gradient(c.opset()),
        _ => gelu_gradient(c.opset()),
    };
    let x = c.input(0);
    let inputs = [Some(c.gradient()), Some(x)];
    vec![Some(c.emitter().call_function(function, &inputs, vec![], &[x.data_type()])[0])]
}

/// y = x·h, h being the hard sigmoid, which has the slope 1/6 between -3 and 3.
fn hard_swish<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x) = (c.gradient(), c.input(0));
    let attributes = vec![("alpha", (1.0f32 / 6.0).into()), ("beta", 0.5f32.into())];
    let h = x.call_with("HardSigmoid", &[], attributes);
    vec![Some(g * (h + x.abs().less(3.0).gate(x / 6.0)))]
}
