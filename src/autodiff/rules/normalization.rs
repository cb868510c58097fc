//! Normalisations: what is brought to mean 0 and deviation 1, then scaled and shifted.

use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::functions::normalization::{
    batch_normalization_gradient, layer_normalization_gradient,
};
use crate::autodiff::unbroadcast::unbroadcast;

pub(super) const RULES: &[Entry] = &[
    exact("BatchNormalization", |c| match c.int("training_mode", 0) {
        0 => frozen_batch(c),
        _ => training_batch(c),
    }),
    exact("onnxd.BatchNormalizationTraining", batch_with_statistics),
    exact("LayerNormalization", layer),
    exact("InstanceNormalization", instance),
    exact("GroupNormalization", group),
    exact("RMSNormalization", root_mean_square),
    exact("MeanVarianceNormalization", mean_variance),
];

/// The axes from one on.
fn axes_from(axis: i64, rank: usize) -> Vec<i64> {
    (axis..rank as i64).collect()
}

/// All axes but the channels.
fn around_channels(rank: usize) -> Vec<i64> {
    (0..rank as i64).filter(|&axis| axis != 1).collect()
}

/// A number per channel, to stand beside values of that rank.
fn beside_channels(value: Expr<'_>, rank: usize) -> Expr<'_> {
    value.unsqueeze(&axes_from(1, rank.saturating_sub(1)))
}

/// A value brought to mean 0 and deviation 1 over some axes.
struct Standard<'g> {
    axes: Vec<i64>,
    mean: Expr<'g>,
    inv_std: Expr<'g>,
    normal: Expr<'g>,
}

impl<'g> Standard<'g> {
    fn of(x: Expr<'g>, axes: Vec<i64>, epsilon: f64) -> Standard<'g> {
        let mean = x.mean(&axes, true);
        let centered = x - mean;
        let variance = (centered * centered).mean(&axes, true);
        let inv_std = 1.0 / (variance + epsilon).sqrt();
        Standard { axes, mean, inv_std, normal: centered * inv_std }
    }

    /// From the gradient at what was brought there to that at `x`: neither a shift of `x` nor a
    /// scaling changes anything, so that much is taken out.
    fn gradient(&self, g: Expr<'g>) -> Expr<'g> {
        let turn = (g * self.normal).mean(&self.axes, true);
        self.inv_std * (g - g.mean(&self.axes, true) - self.normal * turn)
    }
}

fn epsilon(c: &Call) -> f64 {
    c.float("epsilon", f64::from(1e-5f32))
}

/// With statistics that are given: `y = scale (x - mean) / √(var + ε) + bias`.
fn frozen_batch<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, scale, mean, var) = (c.gradient(), c.input(0), c.input(1), c.input(3), c.input(4));
    let rank = c.input_rank(0);
    let beside = |value| beside_channels(value, rank);
    let inv_std = 1.0 / (var + epsilon(c)).sqrt();
    let slope = scale * inv_std;
    let normal = (x - beside(mean)) * beside(inv_std);
    let dbias = g.sum(&around_channels(rank), false);
    let dscale = (g * normal).sum(&around_channels(rank), false);
    let dmean = -(slope * dbias);
    let dvar = -0.5 * (slope * inv_std * dscale);
    vec![Some(g * beside(slope)), Some(dscale), Some(dbias), Some(dmean), Some(dvar)]
}

/// With the batch's own statistics, towards which the running ones move.
fn training_batch<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let x = c.input(0);
    let rank = c.input_rank(0);
    let axes = around_channels(rank);
    let mean = x.mean(&axes, false);
    let centered = x - beside_channels(mean, rank);
    let variance = (centered * centered).mean(&axes, false);
    let inv_std = 1.0 / (variance + epsilon(c)).sqrt();
    batch(c, mean, inv_std)
}

fn batch_with_statistics<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    batch(c, c.output(3), c.output(4))
}

/// Nothing passes through the running statistics: they are for later.
fn batch<'g>(c: &Call<'g, '_>, mean: Expr<'g>, inv_std: Expr<'g>) -> Gradients<'g> {
    let function = batch_normalization_gradient(c.opset());
    let values = [c.gradient_or_zeros(0), c.input(0), c.input(1), mean, inv_std];
    let types = values.map(Expr::data_type);
    let found = c.emitter().call_function(function, &values.map(Some), vec![], &types[..3]);
    found.into_iter().map(Some).collect()
}

/// Over the axes from one on; the scale is as large as they are, or is repeated to that.
fn layer<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (x, scale) = (c.input(0), c.input(1));
    let rank = c.input_rank(0);
    let axis = c.axis(c.int("axis", -1), rank);
    let full = &c.input_dimensions(0)[axis as usize..];
    let given = c.input_dimensions(1);
    let repeated = given != full;
    let full_shape = || c.input_shape(0).slice_axis(0, axis, i64::MAX);
    let wide = if repeated { scale.expand(full_shape()) } else { scale };
    let (mean, inv_std) = statistics(c, axes_from(axis, rank));
    let function = layer_normalization_gradient(c.opset());
    let values = [c.gradient_or_zeros(0), x, wide, mean, inv_std];
    let types = values.map(Expr::data_type);
    let attributes = vec![("axis", axis.into())];
    let found = c.emitter().call_function(function, &values.map(Some), attributes, &types[..3]);
    let small = |value, index| unbroadcast(value, full, c.input_dimensions(index));
    let dbias = c.optional_input(2).map(|_| small(found[2], 2));
    vec![Some(found[0]), Some(small(found[1], 1)), dbias]
}

/// Mean and one over the deviation: the node's own where it tells both.
fn statistics<'g>(c: &Call<'g, '_>, axes: Vec<i64>) -> (Expr<'g>, Expr<'g>) {
    let x = c.input(0);
    if c.has_output(1) && c.has_output(2) && c.output(1).data_type() == x.data_type() {
        return (c.output(1), c.output(2));
    }
    let standard = Standard::of(x, axes, epsilon(c));
    (standard.mean, standard.inv_std)
}

/// Every channel of every image.
fn instance<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, scale) = (c.gradient(), c.input(0), c.input(1));
    let rank = c.input_rank(0);
    let standard = Standard::of(x, axes_from(2, rank), epsilon(c));
    let axes = around_channels(rank);
    let dscale = (g * standard.normal).sum(&axes, false);
    let dx = standard.gradient(g * beside_channels(scale, rank));
    vec![Some(dx), Some(dscale), Some(g.sum(&axes, false))]
}

/// Every group of channels of every image. Scale and bias are per group up to operator set 20,
/// per channel from 21 on.
fn group<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, scale) = (c.gradient(), c.input(0), c.input(1));
    let rank = c.input_rank(0);
    let grouped_shape = c.emitter().ints(&[0, c.int("num_groups", 1), -1]);
    let grouped = |value: Expr<'g>| value.reshape(grouped_shape);
    let original = |value: Expr<'g>| value.reshape(c.input_shape(0));
    let standard = Standard::of(grouped(x), vec![2], epsilon(c));
    if c.opset() < 21 {
        let g = grouped(g);
        let dscale = (g * standard.normal).sum(&[0, 2], false);
        let dx = standard.gradient(g * beside_channels(scale, 3));
        return vec![Some(original(dx)), Some(dscale), Some(g.sum(&[0, 2], false))];
    }
    let axes = around_channels(rank);
    let dscale = (g * original(standard.normal)).sum(&axes, false);
    let dx = standard.gradient(grouped(g * beside_channels(scale, rank)));
    vec![Some(original(dx)), Some(dscale), Some(g.sum(&axes, false))]
}

/// `y = scale x / √(mean(x²) + ε)`.
fn root_mean_square<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, scale) = (c.gradient(), c.input(0), c.input(1));
    let axes = axes_from(c.axis(c.int("axis", -1), c.input_rank(0)), c.input_rank(0));
    let inverse = 1.0 / ((x * x).mean(&axes, true) + epsilon(c)).sqrt();
    let normal = x * inverse;
    let scaled = g * scale;
    let dx = inverse * (scaled - normal * (scaled * normal).mean(&axes, true));
    let dscale = unbroadcast(g * normal, c.input_dimensions(0), c.input_dimensions(1));
    vec![Some(dx), Some(dscale)]
}

/// `y = (x - mean) / (deviation + 1e-9)`.
fn mean_variance<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
    let rank = c.input_rank(0);
    let axes = c.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let axes: Vec<i64> = axes.iter().map(|&axis| c.axis(axis, rank)).collect();
    let centered = x - x.mean(&axes, true);
    let deviation = (centered * centered).mean(&axes, true).sqrt();
    // Where nothing deviates `y` is zero, and so is what this divides.
    let safe = deviation.equals(0.0).select(x.number(1.0), deviation);
    let turn = centered * ((g * y).mean(&axes, true) / safe);
    vec![Some((g - g.mean(&axes, true) - turn) / (deviation + 1e-9))]
}
