//! Gradient descent with momentum, plain or Nesterov's.

use super::blocks::{Arrays, for_each_run};
use super::{Decay, Gradient, WeightDecay};
use crate::kernels::dispatch::{Level, Work};
use crate::kernels::error::KernelError;
use crate::kernels::parallel::Parallel;
use crate::kernels::vector::Vector;

const KERNEL: &str = "sgd";

/// What all parameters share in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdSettings {
    pub learning_rate: f64,
    /// 0 for none: then no velocity is read or written.
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: WeightDecay,
    /// Multiplies every gradient first: 1, or what clipping asks for.
    pub gradient_scale: f32,
}

/// A parameter's value and velocity before the step.
#[derive(Debug, Clone, Copy)]
pub struct SgdState<'a> {
    pub value: &'a [f32],
    pub velocity: &'a [f32],
}

/// One parameter, its velocity and its gradient.
#[derive(Debug)]
pub struct SgdParameter<'a> {
    pub value: &'a mut [f32],
    /// PyTorch's momentum buffer: zeros before the first step, empty without momentum.
    pub velocity: &'a mut [f32],
    /// Where the old values are read from; without it they are those that the new ones replace.
    pub old: Option<SgdState<'a>>,
    pub gradient: Gradient<'a>,
    /// Multiplies the weight decay; 0 spares the parameter.
    pub decay_factor: f32,
}

/// One step of gradient descent for all parameters.
///
/// # Errors
/// Lengths differ; nothing is changed then.
pub fn sgd(
    settings: &SgdSettings,
    parameters: &mut [SgdParameter<'_>],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    sgd_at(Level::detected(), settings, parameters, parallel)
}

pub(super) fn sgd_at(
    level: Level,
    settings: &SgdSettings,
    parameters: &mut [SgdParameter<'_>],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let decay = |parameter: &SgdParameter| {
        settings.weight_decay.of_parameter(parameter.decay_factor, settings.learning_rate)
    };
    let decays: Vec<Decay> = parameters.iter().map(decay).collect();
    let step = Step {
        gradient_scale: settings.gradient_scale,
        momentum: settings.momentum as f32,
        nesterov: settings.nesterov,
        size: -settings.learning_rate as f32,
    };
    if settings.momentum == 0.0 {
        let arrays: Vec<_> = parameters.iter_mut().map(SgdParameter::plain).collect();
        for arrays in &arrays {
            arrays.check(KERNEL, ["value"], ["old value"])?;
        }
        for_each_run(arrays, parallel, |parameter, [value], gradient| {
            level.run(Plain { step, decay: decays[parameter], value, gradient });
        });
    } else {
        let arrays: Vec<_> = parameters.iter_mut().map(SgdParameter::with_velocity).collect();
        for arrays in &arrays {
            arrays.check(KERNEL, ["value", "velocity"], ["old value", "old velocity"])?;
        }
        for_each_run(arrays, parallel, |parameter, arrays, gradient| {
            level.run(WithVelocity { step, decay: decays[parameter], arrays, gradient });
        });
    }
    Ok(())
}

impl SgdParameter<'_> {
    fn plain(&mut self) -> Arrays<'_, 1> {
        let old = self.old.map(|old| [old.value]);
        Arrays { new: [&mut *self.value], old, gradient: self.gradient }
    }

    fn with_velocity(&mut self) -> Arrays<'_, 2> {
        let old = self.old.map(|old| [old.value, old.velocity]);
        let new = [&mut *self.value, &mut *self.velocity];
        Arrays { new, old, gradient: self.gradient }
    }
}

#[derive(Debug, Clone, Copy)]
struct Step {
    gradient_scale: f32,
    momentum: f32,
    nesterov: bool,
    /// -learning_rate
    size: f32,
}

/// A run of one parameter without momentum.
struct Plain<'a> {
    step: Step,
    decay: Decay,
    value: &'a mut [f32],
    gradient: &'a [f32],
}

impl Work for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Plain { step, decay, value, gradient } = self;
        for (value, gradient) in value.iter_mut().zip(gradient) {
            let (gradient, shrunk) = decay.applied(gradient * step.gradient_scale, *value);
            *value = shrunk + step.size * gradient;
        }
    }
}

/// A run of one parameter: its value and velocity.
struct WithVelocity<'a> {
    step: Step,
    decay: Decay,
    arrays: [&'a mut [f32]; 2],
    gradient: &'a [f32],
}

impl Work for WithVelocity<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let WithVelocity { step, decay, arrays: [value, velocity], gradient } = self;
        for ((value, velocity), gradient) in value.iter_mut().zip(velocity).zip(gradient) {
            let (gradient, shrunk) = decay.applied(gradient * step.gradient_scale, *value);
            *velocity = *velocity * step.momentum + gradient;
            let direction =
                if step.nesterov { gradient + step.momentum * *velocity } else { *velocity };
            *value = shrunk + step.size * direction;
        }
    }
}
