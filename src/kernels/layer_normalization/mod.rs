//! Layer normalisation: each row is brought to mean 0 and deviation 1, then scaled and shifted
//! column by column. Forward and gradient.

use super::dispatch::{Level, Work};
use super::error::{KernelError, check_length};
use super::moments::Moments;
use super::parallel::{Parallel, for_each_part};
use super::sums::Sums;
use super::vector::Vector;

/// About how many elements a task has where rows do not meet.
const BLOCK: usize = 16_384;

/// The gradients of scale and bias are summed in blocks of rows, then over the blocks. A block has
/// at least the first number of rows, so that sums are not all overhead, at most the second, so
/// that they stay accurate; between them there are [`BLOCKS`].
const BLOCK_ROWS_MINIMUM: usize = 16;
const BLOCK_ROWS_MAXIMUM: usize = 256;
const BLOCKS: usize = 64;

/// Everything before the axis, and everything from it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowShape {
    pub rows: usize,
    pub width: usize,
}

impl RowShape {
    fn count(self) -> usize {
        self.rows.saturating_mul(self.width)
    }
}

/// What [`forward`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub x: &'a [f32],
    /// One number per column.
    pub scale: &'a [f32],
    pub bias: Option<&'a [f32]>,
}

/// What [`forward`] writes.
#[derive(Debug)]
pub struct Outputs<'a> {
    pub y: &'a mut [f32],
    /// One number per row, as is the inverse of the standard deviation.
    pub mean: &'a mut [f32],
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

/// `y = (x - mean) inv_std scale + bias`, with the mean and deviation of each row.
///
/// # Errors
/// A slice has not the shape's length.
pub fn forward(
    shape: RowShape,
    epsilon: f32,
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    forward_at(Level::detected(), (shape, epsilon), inputs, outputs, parallel)
}

/// The gradients of [`forward`].
///
/// # Errors
/// A slice has not the shape's length.
pub fn gradient(
    shape: RowShape,
    inputs: GradientInputs<'_>,
    outputs: GradientOutputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    gradient_at(Level::detected(), shape, inputs, outputs, parallel)
}

fn forward_at(
    level: Level,
    (shape, epsilon): (RowShape, f32),
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "layer normalization";
    check_length(kernel, "x", inputs.x, shape.count())?;
    check_length(kernel, "scale", inputs.scale, shape.width)?;
    if let Some(bias) = inputs.bias {
        check_length(kernel, "bias", bias, shape.width)?;
    }
    check_length(kernel, "y", outputs.y, shape.count())?;
    check_length(kernel, "mean", outputs.mean, shape.rows)?;
    check_length(kernel, "inv_std", outputs.inv_std, shape.rows)?;
    if shape.width == 0 {
        // The mean of nothing; there is no element that it could reach.
        outputs.mean.fill(f32::NAN);
        outputs.inv_std.fill(f32::NAN);
        return Ok(());
    }
    let rows = (BLOCK / shape.width).max(1);
    let elements = rows * shape.width;
    let statistics = outputs.mean.chunks_mut(rows).zip(outputs.inv_std.chunks_mut(rows));
    let parts = outputs.y.chunks_mut(elements).zip(inputs.x.chunks(elements)).zip(statistics);
    for_each_part(parallel, parts, |_, ((y, x), (mean, inv_std))| {
        let inputs = Inputs { x, ..inputs };
        let outputs = Outputs { y, mean, inv_std };
        level.run(ForwardRows { width: shape.width, epsilon, inputs, outputs });
    });
    Ok(())
}

struct ForwardRows<'a> {
    width: usize,
    epsilon: f32,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
}

impl Work for ForwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Inputs { x, scale, bias } = self.inputs;
        let Outputs { y, mean, inv_std } = self.outputs;
        let rows = y.chunks_exact_mut(self.width).zip(x.chunks_exact(self.width));
        for ((y, x), (mean, inv_std)) in rows.zip(mean.iter_mut().zip(inv_std)) {
            let moments = Moments::of(std::iter::once(x));
            *mean = moments.mean as f32;
            *inv_std = moments.inv_std(self.epsilon) as f32;
            let (mean, inv_std) = (*mean, *inv_std);
            let rounded_off = moments.rounded_off() as f32;
            let normalized = |x: f32| (x - mean - rounded_off) * inv_std;
            match bias {
                Some(bias) => {
                    for (((y, x), scale), bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
                        *y = normalized(*x) * scale + bias;
                    }
                }
                None => {
                    for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
                        *y = normalized(*x) * scale;
                    }
                }
            }
        }
    }
}

fn gradient_at(
    level: Level,
    shape: RowShape,
    inputs: GradientInputs<'_>,
    outputs: GradientOutputs<'_>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "layer normalization gradient";
    check_length(kernel, "dy", inputs.dy, shape.count())?;
    check_length(kernel, "x", inputs.x, shape.count())?;
    check_length(kernel, "scale", inputs.scale, shape.width)?;
    check_length(kernel, "mean", inputs.mean, shape.rows)?;
    check_length(kernel, "inv_std", inputs.inv_std, shape.rows)?;
    check_length(kernel, "dx", outputs.dx, shape.count())?;
    check_length(kernel, "dscale", outputs.dscale, shape.width)?;
    check_length(kernel, "dbias", outputs.dbias, shape.width)?;
    let width = shape.width;
    if width == 0 {
        return Ok(());
    }
    let rows = shape.rows.div_ceil(BLOCKS).clamp(BLOCK_ROWS_MINIMUM, BLOCK_ROWS_MAXIMUM);
    // A block's sums: those of scale, then those of bias.
    let mut partial = vec![0.0; shape.rows.div_ceil(rows) * 2 * width];
    let elements = rows * width;
    let reads = inputs.dy.chunks(elements).zip(inputs.x.chunks(elements));
    let statistics = inputs.mean.chunks(rows).zip(inputs.inv_std.chunks(rows));
    let writes = outputs.dx.chunks_mut(elements).zip(partial.chunks_exact_mut(2 * width));
    let parts = writes.zip(reads.zip(statistics));
    for_each_part(parallel, parts, |_, ((dx, sums), ((dy, x), (mean, inv_std)))| {
        let scale = inputs.scale;
        let inputs = GradientInputs { dy, x, scale, mean, inv_std };
        let (dscale, dbias) = sums.split_at_mut(width);
        let outputs = GradientOutputs { dx, dscale, dbias };
        level.run(GradientRows { inputs, outputs });
    });
    let mut totals = vec![0.0_f64; 2 * width];
    for block in partial.chunks_exact(2 * width) {
        totals.iter_mut().zip(block).for_each(|(total, sum)| *total += f64::from(*sum));
    }
    for (sum, total) in outputs.dscale.iter_mut().chain(outputs.dbias).zip(totals) {
        *sum = total as f32;
    }
    Ok(())
}

struct GradientRows<'a> {
    inputs: GradientInputs<'a>,
    /// The gradients of scale and bias are those of these rows alone, added to zeros.
    outputs: GradientOutputs<'a>,
}

impl Work for GradientRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let GradientInputs { dy, x, scale, mean, inv_std } = self.inputs;
        let GradientOutputs { dx, dscale, dbias } = self.outputs;
        let width = scale.len();
        let rows = dy.chunks_exact(width).zip(x.chunks_exact(width)).zip(mean.iter().zip(inv_std));
        for (dx, ((dy, x), (mean, inv_std))) in dx.chunks_exact_mut(width).zip(rows) {
            let normalized = |x: f32| (x - mean) * inv_std;
            let mut sums = Sums::new();
            sums.add3(dy, scale, x, |dy, scale, x| {
                let scaled = dy * scale;
                [scaled, scaled * normalized(x)]
            });
            let [plain, along] = sums.totals().map(|sum| (sum / width as f64) as f32);
            let columns = dscale.iter_mut().zip(dbias.iter_mut()).zip(scale);
            let elements = dx.iter_mut().zip(dy).zip(x);
            for (((dx, dy), x), ((dscale, dbias), scale)) in elements.zip(columns) {
                let normalized = normalized(*x);
                *dx = (dy * scale - plain - normalized * along) * inv_std;
                *dscale += dy * normalized;
                *dbias += dy;
            }
        }
    }
}

#[cfg(test)]
mod tests;
