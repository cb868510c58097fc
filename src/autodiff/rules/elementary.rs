//! Functions of one number: exponentials, roots, trigonometry; and those that are flat almost
//! everywhere.

use std::f64::consts::FRAC_2_SQRT_PI;

use super::{Entry, elementwise, zero};

pub(super) const RULES: &[Entry] = &[
    elementwise("Exp", |g, _, y| g * y),
    elementwise("Log", |g, x, _| g / x),
    elementwise("Sqrt", |g, _, y| 0.5 * g / y),
    elementwise("Abs", |g, x, _| g * x.sign()),
    elementwise("Sin", |g, x, _| g * x.cos()),
    elementwise("Cos", |g, x, _| -(g * x.sin())),
    elementwise("Tan", |g, _, y| g * (1.0 + y * y)),
    elementwise("Asin", |g, x, _| g / (1.0 - x * x).sqrt()),
    elementwise("Acos", |g, x, _| -(g / (1.0 - x * x).sqrt())),
    elementwise("Atan", |g, x, _| g / (1.0 + x * x)),
    elementwise("Sinh", |g, x, _| g * x.call("Cosh", &[])),
    elementwise("Cosh", |g, x, _| g * x.call("Sinh", &[])),
    elementwise("Asinh", |g, x, _| g / (x * x + 1.0).sqrt()),
    elementwise("Acosh", |g, x, _| g / (x * x - 1.0).sqrt()),
    elementwise("Atanh", |g, x, _| g / (1.0 - x * x)),
    elementwise("Erf", |g, x, _| FRAC_2_SQRT_PI * g * (-(x * x)).exp()),
    zero("Sign"),
    zero("Floor"),
    zero("Ceil"),
    zero("Round"),
    zero("IsNaN"),
    zero("IsInf"),
];
