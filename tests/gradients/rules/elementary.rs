//! Functions of one number.

use crate::case::Case;

#[test]
fn exponentials_and_roots() {
    Case::of("Exp").floats(&[2, 3]).check();
    Case::of("Exp").floats(&[]).check();
    Case::of("Log").floats_in(&[2, 3], 0.2, 3.0).check();
    Case::of("Sqrt").floats_in(&[2, 3], 0.2, 3.0).check();
    Case::of("Sqrt").floats(&[0, 3]).check();
    Case::of("Erf").floats(&[2, 3]).coarsely().tolerance(1e-3).and_tract().check();
}

#[test]
fn abs_is_flat_at_zero() {
    Case::of("Abs").floats(&[2, 3]).check();
    Case::of("Abs").values(&[3], &[-1.0, 0.0, 2.0]).check();
}

#[test]
fn trigonometry() {
    Case::of("Sin").floats(&[2, 3]).check();
    Case::of("Cos").floats(&[2, 3]).check();
    Case::of("Tan").floats_in(&[2, 3], -1.2, 1.2).check();
    Case::of("Asin").floats_in(&[2, 3], -0.9, 0.9).check();
    Case::of("Acos").floats_in(&[2, 3], -0.9, 0.9).check();
    Case::of("Atan").floats(&[2, 3]).check();
}

#[test]
fn hyperbolic_functions() {
    Case::of("Sinh").floats(&[2, 3]).check();
    Case::of("Cosh").floats(&[2, 3]).check();
    Case::of("Asinh").floats(&[2, 3]).check();
    Case::of("Acosh").floats_in(&[2, 3], 1.2, 3.0).check();
    Case::of("Atanh").floats_in(&[2, 3], -0.9, 0.9).check();
}

#[test]
fn steps_pass_nothing() {
    for operator in ["Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf"] {
        Case::of(operator).values(&[4], &[-1.7, -0.3, 0.4, 1.8]).on_onnxruntime().check();
    }
}
