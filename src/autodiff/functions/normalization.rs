//! Normalisations in training and their gradients.

use super::{Signature, as_type_of, float_attribute, function};
use crate::autodiff::expr::Expr;
use crate::onnx::build::AttributeValue;
use crate::onnx::proto::{AttributeType, FunctionProto};

/// `BatchNormalizationTraining(x, scale, bias, running_mean, running_var; epsilon, momentum) → y,
/// new_running_mean, new_running_var, mean, inv_std`. As PyTorch has it, the running variance
/// moves towards the unbiased one of the batch; `momentum` is ONNX's: what stays of the old.
pub fn batch_normalization_training(opset: i64) -> FunctionProto {
    let signature = Signature {
        name: "BatchNormalizationTraining",
        inputs: ["x", "scale", "bias", "running_mean", "running_var"],
        outputs: ["y", "new_running_mean", "new_running_var", "mean", "inv_std"],
        attributes: &["epsilon", "momentum"],
    };
    function(opset, &signature, |_, [x, scale, bias, running_mean, running_var]| {
        let (epsilon, momentum) = (float_attribute(x, "epsilon"), float_attribute(x, "momentum"));
        let images = images(x);
        let mean = images.mean(&[0, 2], false);
        let centered = images - beside_images(mean);
        let variance = (centered * centered).mean(&[0, 2], false);
        let inv_std = 1.0 / (variance + epsilon).sqrt();
        let y = centered * beside_images(inv_std * scale) + beside_images(bias);
        let count = values_per_channel(x, scale);
        let unbiased = variance * (count / (count - 1.0));
        let moves = 1.0 - momentum;
        let new_mean = running_mean * momentum + mean * moves;
        let new_var = running_var * momentum + unbiased * moves;
        [y.reshape(x.shape()), new_mean, new_var, mean, inv_std]
    })
}

/// `BatchNormalizationGradient(dy, x, scale, mean, inv_std) → dx, dscale, dbias`, with the batch's
/// own mean and deviation.
pub fn batch_normalization_gradient(opset: i64) -> FunctionProto {
    let signature = Signature {
        name: "BatchNormalizationGradient",
        inputs: ["dy", "x", "scale", "mean", "inv_std"],
        outputs: ["dx", "dscale", "dbias"],
        attributes: &[],
    };
    function(opset, &signature, |_, [dy, x, scale, mean, inv_std]| {
        let g = images(dy);
        let normal = (images(x) - beside_images(mean)) * beside_images(inv_std);
        let dbias = g.sum(&[0, 2], false);
        let dscale = (g * normal).sum(&[0, 2], false);
        let count = values_per_channel(x, scale);
        let (shift, turn) = (beside_images(dbias / count), beside_images(dscale / count));
        let dx = (g - shift - normal * turn) * beside_images(scale * inv_std);
        [dx.reshape(x.shape()), dscale, dbias]
    })
}

/// As batch, channels, and one axis for all that follows.
fn images(x: Expr<'_>) -> Expr<'_> {
    x.reshape(x.emitter().ints(&[0, 0, -1]))
}

/// A number per channel, to stand beside [`images`].
fn beside_images(value: Expr<'_>) -> Expr<'_> {
    value.unsqueeze(&[1])
}

/// How many values of `x` there are for one of `scale`.
fn values_per_channel<'g>(x: Expr<'g>, scale: Expr<'g>) -> Expr<'g> {
    as_type_of(size(x) / size(scale), x)
}

fn size(value: Expr<'_>) -> Expr<'_> {
    value.call_typed("Size", &[], vec![], crate::tensor::DataType::Int64)
}

/// As a matrix, whose rows are what is from the function's `axis` on.
fn rows(value: Expr<'_>) -> Expr<'_> {
    let axis = AttributeValue::Reference("axis".to_owned(), AttributeType::Int);
    value.call_with("Flatten", &[], vec![("axis", axis)])
}

/// `LayerNormalizationGradient(dy, x, scale, mean, inv_std; axis) → dx, dscale, dbias`. `scale` has
/// the shape of `x` from `axis` on, `mean` and `inv_std` that of `x` with ones from there on.
pub fn layer_normalization_gradient(opset: i64) -> FunctionProto {
    let signature = Signature {
        name: "LayerNormalizationGradient",
        inputs: ["dy", "x", "scale", "mean", "inv_std"],
        outputs: ["dx", "dscale", "dbias"],
        attributes: &["axis"],
    };
    function(opset, &signature, |emitter, [dy, x, scale, mean, inv_std]| {
        let (g, inv_std) = (rows(dy), rows(inv_std));
        let normal = (rows(x) - rows(mean)) * inv_std;
        let scaled = g * scale.reshape(emitter.ints(&[-1]));
        let turn = normal * (scaled * normal).mean(&[1], true);
        let dx = inv_std * (scaled - scaled.mean(&[1], true) - turn);
        let dscale = (g * normal).sum(&[0], false);
        let dbias = g.sum(&[0], false);
        [dx.reshape(x.shape()), dscale.reshape(scale.shape()), dbias.reshape(scale.shape())]
    })
}
