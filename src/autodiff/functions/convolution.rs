//! Convolution and its gradients. All take `strides`, `pads`, `dilations`, `group` and
//! `kernel_shape`, written out.

use super::{Signature, function, int_attribute, ints_attribute};
use crate::autodiff::expr::Expr;
use crate::onnx::build::AttributeValue;
use crate::onnx::proto::{AttributeType, FunctionProto};

const ATTRIBUTES: &[&str] = &["strides", "pads", "dilations", "group", "kernel_shape"];

/// `Conv(x, w, b?) → y`.
pub fn conv(opset: i64) -> FunctionProto {
    let (inputs, outputs) = (["x", "w", "b"], ["y"]);
    let signature = Signature { name: "Conv", inputs, outputs, attributes: ATTRIBUTES };
    function(opset, &signature, |_, [x, w, b]| {
        [x.call_with(
            "Conv",
            &[w, b],
            ATTRIBUTES.iter().map(|name| handed_on(name, name)).collect(),
        )]
    })
}

/// `ConvInputGradient(dy, w) → dx`. `output_padding` is how many of the last elements of an axis no
/// window reached.
pub fn conv_input_gradient(opset: i64) -> FunctionProto {
    let (inputs, outputs) = (["dy", "w"], ["dx"]);
    let attributes = &["strides", "pads", "dilations", "group", "kernel_shape", "output_padding"];
    let signature = Signature { name: "ConvInputGradient", inputs, outputs, attributes };
    function(opset, &signature, |_, [dy, w]| {
        let attributes = attributes.iter().map(|name| handed_on(name, name)).collect();
        [dy.call_with("ConvTranspose", &[w], attributes)]
    })
}

/// `ConvWeightGradient(x, dy) → dw`: a convolution over the batch. The images are the channels of
/// its input and its weights, and strides and dilations change roles.
///
/// With `n` images, `c` and `m` channels in a group of `x` and of `dy`, and `g` groups, `x` becomes
/// `[c, g n, …]`, `dy` `[g m, n, …]` and the answer is `[c, g m, …]`.
pub fn conv_weight_gradient(opset: i64) -> FunctionProto {
    let (inputs, outputs) = (["x", "dy"], ["dw"]);
    let name = "ConvWeightGradient";
    let signature = Signature { name, inputs, outputs, attributes: ATTRIBUTES };
    function(opset, &signature, |emitter, [x, dy]| {
        let group = int_attribute(emitter, "group");
        let kernel = ints_attribute(emitter, "kernel_shape");
        let rest = emitter.ints(&[-1]);
        let (batch, filters, y_sizes) = (sizes(dy, 0, 1), sizes(dy, 1, 2), sizes(dy, 2, i64::MAX));
        let (channels, x_sizes) = (sizes(x, 1, 2) / group, sizes(x, 2, i64::MAX));

        let x = reshape(x, &[batch, group, channels, rest]).transpose(&[2, 1, 0, 3]);
        let x = reshape(x, &[channels, group * batch, x_sizes]);
        let dy = reshape(dy, &[batch, group, filters / group, rest]).transpose(&[1, 2, 0, 3]);
        let dy = reshape(dy, &[filters, batch, y_sizes]);
        let swapped = vec![
            handed_on("strides", "dilations"),
            handed_on("dilations", "strides"),
            handed_on("pads", "pads"),
            handed_on("group", "group"),
        ];
        let wide = x.call_with("Conv", &[dy], swapped);
        // What no window reached gives rise to more taps than the kernel has.
        let ends = Expr::concat(&[channels, filters, kernel], 0);
        let taps = wide.call("Slice", &[ends * 0.0, ends]);
        let taps = reshape(taps, &[channels, filters, rest]).transpose(&[1, 0, 2]);
        [reshape(taps, &[filters, channels, kernel])]
    })
}

/// A node's attribute that is one of the function's.
fn handed_on(name: &'static str, of_function: &str) -> (&'static str, AttributeValue) {
    let kind = if name == "group" { AttributeType::Int } else { AttributeType::Ints };
    (name, AttributeValue::Reference(of_function.to_owned(), kind))
}

fn reshape<'g>(value: Expr<'g>, shape: &[Expr<'g>]) -> Expr<'g> {
    value.reshape(Expr::concat(shape, 0))
}

/// A part of a value's shape.
fn sizes(value: Expr<'_>, from: i64, to: i64) -> Expr<'_> {
    value.shape().slice_axis(0, from, to)
}
