//! The optimisers: one call updates all parameters, in place or from old values to new ones.
//!
//! Formulas and their order are PyTorch's (`torch.optim.SGD`, `Adam`, `AdamW`, without `amsgrad`,
//! `maximize` and dampening), scalars are computed in 64 bits as there, and no product is fused
//! with a sum: the results are the same bits on every processor.
//!
//! `blocks` splits parameters into tasks, `gradient` says what a gradient can be, `norm` clips.

mod adam;
mod blocks;
mod gradient;
mod norm;
mod sgd;
#[cfg(test)]
mod tests;

pub use adam::{AdamParameter, AdamSettings, AdamState, adam};
pub use gradient::Gradient;
pub use norm::{clip_factor, sum_of_squares};
pub use sgd::{SgdParameter, SgdSettings, SgdState, sgd};

/// How weights are drawn towards zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightDecay {
    /// 0 for none. A parameter's own factor multiplies it.
    pub rate: f64,
    /// The weight shrinks by itself, as in AdamW; else the decay is a part of the gradient.
    pub decoupled: bool,
}

impl WeightDecay {
    fn of_parameter(self, factor: f32, learning_rate: f64) -> Decay {
        let rate = self.rate * f64::from(factor);
        if self.decoupled {
            Decay { in_gradient: 0.0, kept: (1.0 - learning_rate * rate) as f32 }
        } else {
            Decay { in_gradient: rate as f32, kept: 1.0 }
        }
    }
}

/// A parameter's decay in one step.
#[derive(Debug, Clone, Copy)]
struct Decay {
    in_gradient: f32,
    kept: f32,
}

impl Decay {
    /// The gradient and the value that the update starts from.
    #[inline(always)]
    fn applied(self, gradient: f32, value: f32) -> (f32, f32) {
        // Asked, because 0 times an infinite weight would make the gradient NaN.
        let gradient =
            if self.in_gradient == 0.0 { gradient } else { gradient + self.in_gradient * value };
        (gradient, value * self.kept)
    }
}
