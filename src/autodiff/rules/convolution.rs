//! Convolutions, through the functions of our domain.

use super::window::{Window, input_gradient, open_padding, spatial};
use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::functions::convolution::{conv, conv_weight_gradient};
use crate::onnx::graph::attribute;
use crate::onnx::proto::NodeProto;

pub(super) const RULES: &[Entry] = &[
    exact("Conv", convolution).unless_known(open_padding),
    exact("onnxd.Conv", convolution),
    exact("ConvTranspose", transposed).unless(wide_output_padding).unless_known(open_fit),
];

/// The sizes of the kernel, which the weights have too.
fn kernel(c: &Call) -> Vec<i64> {
    let of_weights = || spatial(c.input_dimensions(1)).into_iter().map(|size| size.unwrap_or(1));
    c.ints("kernel_shape").unwrap_or_else(|| of_weights().collect())
}

fn convolution<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, w) = (c.gradient(), c.input(0), c.input(1));
    let (window, group) = (Window::of(c, kernel(c)), c.int("group", 1));
    let dw = weight_gradient(c, x, g, &window, group);
    let dx = input_gradient(c, g, w, window, group);
    vec![Some(dx), Some(dw), Some(bias_gradient(c))]
}

fn weight_gradient<'g>(
    c: &Call<'g, '_>,
    x: Expr<'g>,
    dy: Expr<'g>,
    window: &Window,
    group: i64,
) -> Expr<'g> {
    let function = conv_weight_gradient(c.opset());
    let inputs = [Some(x), Some(dy)];
    c.emitter().call_function(function, &inputs, window.attributes(group), &[x.data_type()])[0]
}

fn bias_gradient<'g>(c: &Call<'g, '_>) -> Expr<'g> {
    let axes: Vec<i64> = (0..c.output_rank(0) as i64).filter(|&axis| axis != 1).collect();
    c.gradient().sum(&axes, false)
}

/// What a convolution makes of `y` is of the shape of `x`: so the gradient of the one is the other.
fn transposed<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, w) = (c.gradient(), c.input(0), c.input(1));
    let (window, group) = (transposed_window(c), c.int("group", 1));
    let dw = weight_gradient(c, g, x, &window, group);
    let inputs = [Some(g), Some(w)];
    let attributes = window.attributes(group);
    let dx = c.emitter().call_function(conv(c.opset()), &inputs, attributes, &[x.data_type()])[0];
    vec![Some(dx), Some(dw), Some(bias_gradient(c))]
}

fn transposed_window(c: &Call) -> Window {
    let mut window = Window::of(c, kernel(c));
    let upper = match c.text("auto_pad", "NOTSET").as_str() {
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        _ if c.has_attribute("output_shape") => false,
        _ => return window,
    };
    // The output's size is given, and the padding is what is too much.
    let (inputs, outputs) = (spatial(c.input_dimensions(0)), spatial(c.output_dimensions(0)));
    let output_padding = c.ints("output_padding").unwrap_or_default();
    for (axis, sizes) in inputs.into_iter().zip(outputs).enumerate() {
        if let (Some(input), Some(output)) = sizes {
            let extra = output_padding.get(axis).copied().unwrap_or(0);
            let full = window.strides[axis] * (input - 1) + extra + window.reach(axis);
            window.pad(axis, (full - output).max(0), !upper);
        }
    }
    window
}

fn wide_output_padding(node: &NodeProto) -> Option<&'static str> {
    let ints = |name| attribute(node, name).map_or(&[][..], |attribute| &attribute.ints);
    let strides = ints("strides");
    let wide = |(axis, &padding): (usize, &i64)| {
        padding > 0 && padding >= strides.get(axis).copied().unwrap_or(1)
    };
    let some = ints("output_padding").iter().enumerate().any(wide);
    some.then_some("its output_padding is not smaller than its strides")
}

fn open_fit(c: &Call) -> Option<&'static str> {
    let fits = c.text("auto_pad", "NOTSET").starts_with("SAME") || c.has_attribute("output_shape");
    let open = spatial(c.input_dimensions(0)).contains(&None);
    (fits && open).then_some("its padding depends on a size that is not known beforehand")
}
