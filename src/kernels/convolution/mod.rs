//! Convolution in 32-bit: forward, and the gradients of its input and of its weights. One, two and
//! three spatial dimensions, any kernel, stride, padding, dilation and group.
//!
//! All three are sums over taps; the input gradient is a forward pass over the output's
//! gradient, in as many phases as the stride (`plan`). A task copies what it reads of an image,
//! with the padding written out (`window`), and sums in tiles that stay in registers (`tile`): of
//! eight channels to a vector (`wide`), or of eight neighbours to a vector where a group has few
//! channels (`narrow`). The 3x3 kernel of stride 1 between many channels takes fewer products than
//! its sum has (`winograd`).
//!
//! Beside its operands a call holds, allocated before the first task:
//! - the weights once more, in the order of their use (16 for 9 in Winograd's way);
//! - for each thread a window and what is staged of it: 0.3 MB, in Winograd's way 0.8 MB, or what
//!   one row of destinations (of 24 tiles, in Winograd's way) reads where that is more;
//! - for the weight gradient instead of the first, the sums of up to 8 shares of the batch: 4 MB,
//!   or one share's where a single one has more;
//! - tables of addresses: two words for each tap, three for each destination of a window.

mod lanes;
mod layout;
mod narrow;
mod output;
mod plan;
mod scratch;
mod shape;
mod tile;
mod weights;
mod weights_narrow;
mod weights_wide;
mod wide;
mod window;
mod winograd;

#[cfg(test)]
mod tests;

pub use shape::{ConvSettings, ConvShape};

use self::plan::Plan;
use super::dispatch::Level;
use super::error::check_length;
use super::vector::LANES;
use super::{KernelError, Parallel};

/// How a kernel is to run.
#[derive(Clone, Copy)]
struct Call<'a> {
    /// The kernel's name, for errors.
    kernel: &'static str,
    level: Level,
    parallel: &'a dyn Parallel,
}

/// What is read by a sum over taps.
struct Operands<'a> {
    source: &'a [f32],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
}

/// `y = conv(x, w) + bias`.
///
/// # Errors
/// A slice does not have the shape's length, or there is not enough memory.
pub fn forward(
    shape: &ConvShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let call = Call { kernel: "convolution", level: Level::detected(), parallel };
    forward_call(call, shape, Operands { source: x, weights: w, bias }, y)
}

/// `dx`, the gradient of the input, from `dy`, that of the output.
///
/// # Errors
/// A slice does not have the shape's length, or there is not enough memory.
pub fn input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "input gradient of a convolution";
    let call = Call { kernel, level: Level::detected(), parallel };
    input_gradient_call(call, shape, dy, w, dx)
}

/// `dw`, the gradient of the weights, from the input and `dy`, the gradient of the output.
///
/// # Errors
/// A slice does not have the shape's length, or there is not enough memory.
pub fn weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let kernel = "weight gradient of a convolution";
    let call = Call { kernel, level: Level::detected(), parallel };
    weight_gradient_call(call, shape, x, dy, dw)
}

fn forward_call(
    call: Call,
    shape: &ConvShape,
    operands: Operands,
    y: &mut [f32],
) -> Result<(), KernelError> {
    check_length(call.kernel, "x", operands.source, shape.input_len())?;
    check_length(call.kernel, "w", operands.weights, shape.weight_len())?;
    if let Some(bias) = operands.bias {
        check_length(call.kernel, "bias", bias, shape.bias_len())?;
    }
    check_length(call.kernel, "y", y, shape.output_len())?;
    sum(call, &Plan::forward(shape), &operands, y)
}

fn input_gradient_call(
    call: Call,
    shape: &ConvShape,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) -> Result<(), KernelError> {
    check_length(call.kernel, "dy", dy, shape.output_len())?;
    check_length(call.kernel, "w", w, shape.weight_len())?;
    check_length(call.kernel, "dx", dx, shape.input_len())?;
    let operands = Operands { source: dy, weights: w, bias: None };
    sum(call, &Plan::input_gradient(shape), &operands, dx)
}

fn weight_gradient_call(
    call: Call,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<(), KernelError> {
    check_length(call.kernel, "x", x, shape.input_len())?;
    check_length(call.kernel, "dy", dy, shape.output_len())?;
    check_length(call.kernel, "dw", dw, shape.weight_len())?;
    let plan = Plan::forward(shape);
    if dy.is_empty() {
        dw.fill(0.0);
        return Ok(());
    }
    if winograd::suits(&plan) {
        winograd::weight_gradient(call, &plan, x, dy, dw)
    } else if fills_channels(&plan) {
        weights_wide::run(call, &plan, x, dy, dw)
    } else {
        weights_narrow::run(call, &plan, x, dy, dw)
    }
}

fn sum(
    call: Call,
    plan: &Plan,
    operands: &Operands,
    destination: &mut [f32],
) -> Result<(), KernelError> {
    if destination.is_empty() {
        return Ok(());
    }
    if winograd::suits(plan) {
        winograd::sum(call, plan, operands, destination)
    } else if fills_channels(plan) {
        wide::run(call, plan, operands, destination)
    } else {
        narrow::run(call, plan, operands, destination)
    }
}

/// Whether vectors of channels have fewer idle lanes than vectors of neighbours.
fn fills_channels(plan: &Plan) -> bool {
    let (channels, width) = (plan.destination_channels, plan.axes[2].count().max(1));
    let idle = |count: usize| count.next_multiple_of(LANES) as f64 / count as f64;
    channels >= LANES || idle(channels) < idle(width)
}
