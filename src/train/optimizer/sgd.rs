//! Stochastic gradient descent, with momentum.

use super::{OptimizerSettings, Stepped, Updated};
use crate::autodiff::Expr;

/// `v ← μv + g` (the first `v` is `g`), `p ← p - rate · v`; with Nesterov
/// `p ← p - rate · (g + μv)`.
pub fn step<'g>(
    settings: &OptimizerSettings,
    rate: Expr<'g>,
    _step: Expr<'g>,
    parameter: &Updated<'g>,
) -> Stepped<'g> {
    let OptimizerSettings { momentum, nesterov, weight_decay, .. } = *settings;
    let (value, mut gradient) = (parameter.value, parameter.gradient);
    if parameter.decayed && weight_decay != 0.0 {
        gradient = gradient + value * weight_decay;
    }
    let Some(&velocity) = parameter.moments.first() else {
        return Stepped { value: value - gradient * rate, moments: Vec::new() };
    };
    // From zero the first velocity is the gradient, as it is defined.
    let velocity = velocity * momentum + gradient;
    let direction = if nesterov { gradient + velocity * momentum } else { velocity };
    Stepped { value: value - direction * rate, moments: vec![velocity] }
}
