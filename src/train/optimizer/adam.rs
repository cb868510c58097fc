//! Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019).

use super::{Algorithm, OptimizerSettings, Stepped, Updated};
use crate::autodiff::Expr;
use crate::tensor::DataType;

/// With `t` for the step: `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`,
/// `p ← p - rate/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)`.
pub fn step<'g>(
    settings: &OptimizerSettings,
    rate: Expr<'g>,
    step: Expr<'g>,
    parameters: &[Updated<'g>],
) -> Vec<Stepped<'g>> {
    let OptimizerSettings { beta1, beta2, epsilon, weight_decay, .. } = *settings;
    let data_type = rate.data_type();
    // In 64-bit floats: the corrections are differences of nearly equal numbers at first.
    let steps = step.cast(DataType::Float64);
    let power = |base: f64| steps.number(base).pow(steps);
    let correction1 = 1.0 - power(beta1);
    let correction2 = (1.0 - power(beta2)).sqrt();
    let step_size = (rate.cast(DataType::Float64) / correction1).cast(data_type);
    let root = correction2.cast(data_type);
    let decoupled = settings.algorithm == Algorithm::AdamW;
    let update = |parameter: &Updated<'g>| {
        let (mut value, mut gradient) = (parameter.value, parameter.gradient);
        let decayed = parameter.decayed && weight_decay != 0.0;
        if decayed && decoupled {
            let kept = 1.0 - rate.cast(DataType::Float64) * weight_decay;
            value = value * kept.cast(data_type);
        } else if decayed {
            gradient = gradient + value * weight_decay;
        }
        let [m, v] = parameter.moments[..] else { unreachable!("Adam keeps two moments") };
        let m = m + (gradient - m) * (1.0 - beta1);
        let v = v * beta2 + gradient * gradient * (1.0 - beta2);
        let denominator = v.sqrt() / root + epsilon;
        Stepped { value: value - m / denominator * step_size, moments: vec![m, v] }
    };
    parameters.iter().map(update).collect()
}
