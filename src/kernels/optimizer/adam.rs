//! Adam and AdamW.

use super::blocks::{Arrays, for_each_run};
use super::{Decay, Gradient, WeightDecay};
use crate::kernels::dispatch::{Level, Work};
use crate::kernels::error::KernelError;
use crate::kernels::parallel::Parallel;
use crate::kernels::vector::Vector;

const KERNEL: &str = "adam";

/// What all parameters share in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Decoupled makes it AdamW.
    pub weight_decay: WeightDecay,
    /// The number of this step, from 1: the moments' bias is corrected by it.
    pub step: u64,
    /// Multiplies every gradient first: 1, or what clipping asks for.
    pub gradient_scale: f32,
}

/// A parameter's value and moments before the step.
#[derive(Debug, Clone, Copy)]
pub struct AdamState<'a> {
    pub value: &'a [f32],
    pub first_moment: &'a [f32],
    pub second_moment: &'a [f32],
}

/// One parameter, its moments and its gradient.
#[derive(Debug)]
pub struct AdamParameter<'a> {
    pub value: &'a mut [f32],
    pub first_moment: &'a mut [f32],
    pub second_moment: &'a mut [f32],
    /// Where the old values are read from; without it they are those that the new ones replace.
    pub old: Option<AdamState<'a>>,
    pub gradient: Gradient<'a>,
    /// Multiplies the weight decay; 0 spares the parameter.
    pub decay_factor: f32,
}

/// One step of Adam for all parameters.
///
/// # Errors
/// Lengths differ, or a setting makes no sense; nothing is changed then.
pub fn adam(
    settings: &AdamSettings,
    parameters: &mut [AdamParameter<'_>],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    adam_at(Level::detected(), settings, parameters, parallel)
}

pub(super) fn adam_at(
    level: Level,
    settings: &AdamSettings,
    parameters: &mut [AdamParameter<'_>],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    settings.check()?;
    let decay = |parameter: &AdamParameter| {
        settings.weight_decay.of_parameter(parameter.decay_factor, settings.learning_rate)
    };
    let decays: Vec<Decay> = parameters.iter().map(decay).collect();
    let arrays: Vec<_> = parameters.iter_mut().map(AdamParameter::arrays).collect();
    for arrays in &arrays {
        let names = ["value", "first_moment", "second_moment"];
        let old_names = ["old value", "old first_moment", "old second_moment"];
        arrays.check(KERNEL, names, old_names)?;
    }
    let step = Step::of(settings);
    for_each_run(arrays, parallel, |parameter, arrays, gradient| {
        level.run(Update { step, decay: decays[parameter], arrays, gradient });
    });
    Ok(())
}

impl AdamSettings {
    fn check(&self) -> Result<(), KernelError> {
        let setting = |setting, value: String, expected| {
            Err(KernelError::Setting { kernel: KERNEL, setting, value, expected })
        };
        if self.step == 0 {
            return setting("the step's number", "0".to_owned(), "1 or more: steps count from 1");
        }
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return setting(name, beta.to_string(), "0 or more and below 1");
            }
        }
        Ok(())
    }
}

impl AdamParameter<'_> {
    fn arrays(&mut self) -> Arrays<'_, 3> {
        Arrays {
            new: [&mut *self.value, &mut *self.first_moment, &mut *self.second_moment],
            old: self.old.map(|old| [old.value, old.first_moment, old.second_moment]),
            gradient: self.gradient,
        }
    }
}

/// The scalars of one step, rounded to 32 bits where PyTorch rounds them.
#[derive(Debug, Clone, Copy)]
struct Step {
    gradient_scale: f32,
    /// 1 - beta1
    first_weight: f32,
    /// beta2 and 1 - beta2
    second_kept: f32,
    second_weight: f32,
    /// The root of the second moment's bias correction.
    correction: f32,
    epsilon: f32,
    /// -learning_rate over the first moment's bias correction.
    size: f32,
}

impl Step {
    fn of(settings: &AdamSettings) -> Step {
        let correction = |beta: f64| 1.0 - beta.powf(settings.step as f64);
        Step {
            gradient_scale: settings.gradient_scale,
            first_weight: (1.0 - settings.beta1) as f32,
            second_kept: settings.beta2 as f32,
            second_weight: (1.0 - settings.beta2) as f32,
            correction: correction(settings.beta2).sqrt() as f32,
            epsilon: settings.epsilon as f32,
            size: -(settings.learning_rate / correction(settings.beta1)) as f32,
        }
    }
}

/// A run of one parameter: its value and moments.
struct Update<'a> {
    step: Step,
    decay: Decay,
    arrays: [&'a mut [f32]; 3],
    gradient: &'a [f32],
}

impl Work for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Update { step, decay, arrays: [value, first, second], gradient } = self;
        for (((value, first), second), gradient) in
            value.iter_mut().zip(first).zip(second).zip(gradient)
        {
            let (gradient, shrunk) = decay.applied(gradient * step.gradient_scale, *value);
            let moved = gradient - *first;
            // PyTorch's interpolation starts from the nearer end.
            *first = if step.first_weight < 0.5 {
                *first + step.first_weight * moved
            } else {
                gradient - moved * (1.0 - step.first_weight)
            };
            *second = *second * step.second_kept + step.second_weight * gradient * gradient;
            let deviation = second.sqrt() / step.correction + step.epsilon;
            *value = shrunk + step.size * *first / deviation;
        }
    }
}
