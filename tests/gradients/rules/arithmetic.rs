//! Sums, products, powers.

use crate::case::Case;
use crate::numbers::ints;

#[test]
fn add() {
    Case::of("Add").floats(&[2, 3]).floats(&[2, 3]).check();
    Case::of("Add").floats(&[3]).floats(&[2, 2, 1]).check();
    Case::of("Add").floats(&[]).floats(&[2, 0]).check();
}

#[test]
fn sub() {
    Case::of("Sub").floats(&[2, 3]).floats(&[1, 3]).check();
    Case::of("Sub").floats(&[2, 1]).floats(&[3]).check();
}

#[test]
fn mul() {
    Case::of("Mul").floats(&[2, 3]).floats(&[2, 3]).check();
    Case::of("Mul").floats(&[4, 1, 3]).floats(&[2, 1]).check();
}

#[test]
fn div() {
    Case::of("Div").floats(&[2, 3]).floats_in(&[2, 3], 0.5, 2.0).check();
    Case::of("Div").floats(&[3]).floats_in(&[2, 1], -2.0, -0.5).check();
}

#[test]
fn pow() {
    Case::of("Pow").floats_in(&[2, 3], 0.2, 2.0).floats(&[2, 3]).check();
    Case::of("Pow").floats_in(&[2, 3], 0.2, 2.0).floats(&[]).check();
    Case::of("Pow").floats(&[5]).fixed(&[], &[3.0]).check();
    Case::of("Pow").values(&[3], &[0.0, -1.0, 2.0]).fixed(&[], &[2.0]).check();
    Case::of("Pow").floats(&[4]).constant(ints(&[], &[2])).check();
}

#[test]
fn sum_and_mean_of_several() {
    Case::of("Sum").floats(&[2, 3]).floats(&[3]).floats(&[2, 1]).check();
    Case::of("Mean").floats(&[2, 3]).floats(&[3]).floats(&[2, 1]).check();
}

#[test]
fn neg_and_reciprocal() {
    Case::of("Neg").floats(&[2, 3]).check();
    Case::of("Reciprocal").floats_in(&[2, 3], 0.5, 2.0).check();
}
