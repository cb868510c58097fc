//! Batch normalisation in training: each channel is brought to mean 0 and deviation 1 over the
//! whole batch, then scaled and shifted; the running statistics move towards those of the batch.
//! Forward and gradient. `planar` and `interleaved` do the arithmetic for the two ways in which a
//! channel can lie in memory.

mod interleaved;
mod pieces;
mod planar;
#[cfg(test)]
mod tests;

use super::dispatch::{Level, Work};
use super::error::{KernelError, check_length};
use super::moments::Moments;
use super::parallel::{Parallel, for_each_part};
use super::vector::Vector;
use pieces::{Pieces, split};

/// The most channels that a task takes.
const GROUP: usize = 64;

/// The shape of x as images of channels: what follows the channels is one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelShape {
    pub batch: usize,
    pub channels: usize,
    pub inner: usize,
}

impl ChannelShape {
    fn count(self) -> usize {
        self.batch.saturating_mul(self.channels).saturating_mul(self.inner)
    }

    fn values_per_channel(self) -> usize {
        self.batch.saturating_mul(self.inner)
    }

    /// How many channels a task takes: one where a channel's part of an image is long, more where
    /// it is short, so that what is read at once is never less than a few cache lines.
    fn group(self) -> usize {
        GROUP.div_ceil(self.inner.max(1))
    }
}

/// What [`training`] is told besides tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub epsilon: f32,
    /// ONNX's: the part of the old running statistics that stays. PyTorch's is 1 minus this.
    pub momentum: f32,
}

/// What [`training`] reads. All but `x` have one number per channel.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub x: &'a [f32],
    pub scale: &'a [f32],
    pub bias: &'a [f32],
    pub running_mean: &'a [f32],
    pub running_variance: &'a [f32],
}

/// What [`training`] writes. All but `y` have one number per channel.
#[derive(Debug)]
pub struct Outputs<'a> {
    pub y: &'a mut [f32],
    pub running_mean: &'a mut [f32],
    pub running_variance: &'a mut [f32],
    /// The batch's.
    pub mean: &'a mut [f32],
    /// One over the batch's standard deviation.
    pub inv_std: &'a mut [f32],
}

/// What [`gradient`] reads.
#[derive(Debug, Clone, Copy)]
pub struct GradientInputs<'a> {
    pub dy: &'a [f32],
    pub x: &'a [f32],
    pub scale: &'a [f32],
    pub mean: &'a [f32],
    pub inv_std: &'a [f32],
}

/// What [`gradient`] writes.
#[derive(Debug)]
pub struct GradientOutputs<'a> {
    pub dx: &'a mut [f32],
    pub dscale: &'a mut [f32],
    pub dbias: &'a mut [f32],
}

/// Normalises `x` by the batch's own mean and variance. The running variance takes up the unbiased
/// one, as in PyTorch; ONNX's operator in training mode takes the biased one.
///
/// # Errors
/// A slice has not the shape's length, or a channel has fewer than two values: an unbiased
/// variance needs two.
pub fn training(
    shape: ChannelShape,
    settings: Settings,
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    training_at(Level::detected(), (shape, settings), inputs, outputs, parallel)
}

/// The gradients of [`training`]'s `y`.
///
/// # Errors
/// A slice has not the shape's length, or a channel has no values.
pub fn gradient(
    shape: ChannelShape,
    inputs: GradientInputs<'_>,
    outputs: GradientOutputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    gradient_at(Level::detected(), shape, inputs, outputs, parallel)
}

fn training_at(
    level: Level,
    (shape, settings): (ChannelShape, Settings),
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "batch normalization";
    check_length(kernel, "x", inputs.x, shape.count())?;
    check_length(kernel, "y", outputs.y, shape.count())?;
    for (operand, slice) in [
        ("scale", inputs.scale),
        ("bias", inputs.bias),
        ("running_mean", inputs.running_mean),
        ("running_variance", inputs.running_variance),
        ("new running_mean", &*outputs.running_mean),
        ("new running_variance", &*outputs.running_variance),
        ("mean", &*outputs.mean),
        ("inv_std", &*outputs.inv_std),
    ] {
        check_length(kernel, operand, slice, shape.channels)?;
    }
    check_values(kernel, shape, 2)?;
    let group = shape.group();
    let statistics = outputs.running_mean.chunks_mut(group);
    let statistics = statistics.zip(outputs.running_variance.chunks_mut(group));
    let statistics = statistics.zip(outputs.mean.chunks_mut(group));
    let statistics = statistics.zip(outputs.inv_std.chunks_mut(group));
    let parts = split(outputs.y, shape).into_iter().zip(statistics);
    for_each_part(parallel, parts, |index, (mut y, statistics)| {
        let (((running_mean, running_variance), mean), inv_std) = statistics;
        let x = Pieces::of_group(inputs.x, shape, index);
        let moments = level.run(Measure { shape, x });
        let mut affine = [Affine::default(); GROUP];
        let keep = f64::from(settings.momentum);
        let mix = |old: f32, new: f64| (f64::from(old) * keep + new * (1.0 - keep)) as f32;
        for (channel, affine) in affine.iter_mut().enumerate().take(mean.len()) {
            let whole = index * group + channel;
            let moments = moments[channel];
            mean[channel] = moments.mean as f32;
            inv_std[channel] = moments.inv_std(settings.epsilon) as f32;
            running_mean[channel] = mix(inputs.running_mean[whole], moments.mean);
            running_variance[channel] =
                mix(inputs.running_variance[whole], moments.squares / (moments.count - 1.0));
            affine.subtracted = mean[channel];
            affine.factor = inv_std[channel] * inputs.scale[whole];
            // What rounding took from the mean goes here, where it costs nothing.
            let rounded_off = moments.rounded_off() * f64::from(affine.factor);
            affine.added = (f64::from(inputs.bias[whole]) - rounded_off) as f32;
        }
        level.run(Normalize { shape, x, y: &mut y, affine });
    });
    Ok(())
}

fn gradient_at(
    level: Level,
    shape: ChannelShape,
    inputs: GradientInputs<'_>,
    outputs: GradientOutputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "batch normalization gradient";
    check_length(kernel, "dy", inputs.dy, shape.count())?;
    check_length(kernel, "x", inputs.x, shape.count())?;
    check_length(kernel, "dx", outputs.dx, shape.count())?;
    for (operand, slice) in [
        ("scale", inputs.scale),
        ("mean", inputs.mean),
        ("inv_std", inputs.inv_std),
        ("dscale", &*outputs.dscale),
        ("dbias", &*outputs.dbias),
    ] {
        check_length(kernel, operand, slice, shape.channels)?;
    }
    check_values(kernel, shape, 1)?;
    let group = shape.group();
    let sums = outputs.dscale.chunks_mut(group).zip(outputs.dbias.chunks_mut(group));
    let parts = split(outputs.dx, shape).into_iter().zip(sums);
    for_each_part(parallel, parts, |index, (mut dx, (dscale, dbias))| {
        let x = Pieces::of_group(inputs.x, shape, index);
        let dy = Pieces::of_group(inputs.dy, shape, index);
        let mut means = [0.0; GROUP];
        let of_group = inputs.mean.iter().skip(index * group);
        means.iter_mut().zip(of_group).for_each(|(to, from)| *to = *from);
        let flows = level.run(Gather { shape, dy, x, means });
        let mut slopes = [Slope::default(); GROUP];
        let count = shape.values_per_channel() as f64;
        for (channel, slope) in slopes.iter_mut().enumerate().take(dbias.len()) {
            let whole = index * group + channel;
            let inv_std = f64::from(inputs.inv_std[whole]);
            let Flow { plain, along } = flows[channel];
            dbias[channel] = plain as f32;
            dscale[channel] = (along * inv_std) as f32;
            slope.mean = means[channel];
            slope.plain = (plain / count) as f32;
            slope.along = (along * inv_std * inv_std / count) as f32;
            slope.factor = inputs.inv_std[whole] * inputs.scale[whole];
        }
        level.run(Spread { shape, dy, x, dx: &mut dx, slopes });
    });
    Ok(())
}

fn check_values(
    kernel: &'static str,
    shape: ChannelShape,
    minimum: usize,
) -> Result<(), KernelError> {
    if shape.channels == 0 || shape.values_per_channel() >= minimum {
        return Ok(());
    }
    let (setting, value) = ("the number of values per channel", shape.values_per_channel());
    let expected = if minimum == 1 { "at least 1" } else { "at least 2" };
    Err(KernelError::Setting { kernel, setting, value: value.to_string(), expected })
}

/// `(x - subtracted) factor + added`: not the shorter `x a + b`, which cancels where the mean is
/// large.
#[derive(Debug, Clone, Copy, Default)]
struct Affine {
    subtracted: f32,
    factor: f32,
    added: f32,
}

/// What flows into a channel: Σ dy, and Σ dy (x - mean).
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    plain: f64,
    along: f64,
}

/// `dx = (dy - plain - (x - mean) along) factor`
#[derive(Debug, Clone, Copy, Default)]
struct Slope {
    mean: f32,
    plain: f32,
    along: f32,
    factor: f32,
}

struct Measure<'a> {
    shape: ChannelShape,
    x: Pieces<'a>,
}

impl Work for Measure<'_> {
    type Output = [Moments; GROUP];

    #[inline(always)]
    fn run<V: Vector>(self) -> [Moments; GROUP] {
        match self.shape.inner {
            1 => interleaved::measure(self.x),
            inner => planar::measure(self.x, inner),
        }
    }
}

struct Normalize<'a, 'y> {
    shape: ChannelShape,
    x: Pieces<'a>,
    y: &'a mut [&'y mut [f32]],
    affine: [Affine; GROUP],
}

impl Work for Normalize<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.shape.inner {
            1 => interleaved::normalize(self.x, self.y, &self.affine),
            inner => planar::normalize(self.x, self.y, inner, &self.affine),
        }
    }
}

struct Gather<'a> {
    shape: ChannelShape,
    dy: Pieces<'a>,
    x: Pieces<'a>,
    means: [f32; GROUP],
}

impl Work for Gather<'_> {
    type Output = [Flow; GROUP];

    #[inline(always)]
    fn run<V: Vector>(self) -> [Flow; GROUP] {
        match self.shape.inner {
            1 => interleaved::gather(self.dy, self.x, &self.means),
            inner => planar::gather(self.dy, self.x, inner, &self.means),
        }
    }
}

struct Spread<'a, 'y> {
    shape: ChannelShape,
    dy: Pieces<'a>,
    x: Pieces<'a>,
    dx: &'a mut [&'y mut [f32]],
    slopes: [Slope; GROUP],
}

impl Work for Spread<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.shape.inner {
            1 => interleaved::spread((self.dy, self.x), self.dx, &self.slopes),
            inner => planar::spread((self.dy, self.x), self.dx, inner, &self.slopes),
        }
    }
}
