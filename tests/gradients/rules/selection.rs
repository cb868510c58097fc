//! What chooses, converts and compares.

use crate::case::Case;
use crate::numbers::{bools, ints};

#[test]
fn where_with_broadcast_on_every_side() {
    let condition = bools(&[2, 3], &[true, false, true, false, false, true]);
    Case::of("Where").constant(condition.clone()).floats(&[2, 3]).floats(&[2, 3]).check();
    Case::of("Where").constant(condition.clone()).floats(&[]).floats(&[2, 1]).check();
    Case::of("Where").constant(condition).floats(&[4, 1, 3]).floats(&[3]).check();
    Case::of("Where").constant(bools(&[], &[true])).floats(&[2]).floats(&[2]).check();
}

#[test]
fn extremes_of_one_two_and_more() {
    for operator in ["Max", "Min"] {
        Case::of(operator).floats(&[2, 3]).check();
        Case::of(operator).floats(&[2, 3]).floats(&[2, 3]).check();
        Case::of(operator).floats(&[2, 1, 3]).floats(&[3]).floats(&[4, 1]).check();
        Case::of(operator).floats(&[0, 3]).floats(&[3]).check();
    }
}

#[test]
fn equals_share_what_an_extreme_passes() {
    Case::of("Max")
        .values(&[2], &[1.0, 1.0])
        .values(&[2], &[1.0, 2.0])
        .values(&[1], &[1.0])
        .check_is(&[&[1.0 / 3.0, 0.0], &[1.0 / 3.0, 1.0], &[1.0 / 3.0]]);
}

#[test]
fn clip_with_either_bound_or_none() {
    let x = || Case::of("Clip").values(&[2, 3], &[-1.5, -0.2, 0.4, 0.9, 1.6, 2.4]);
    x().check();
    x().values(&[], &[-0.5]).check();
    x().left_out().values(&[], &[1.1]).check();
    x().values(&[], &[-0.5]).values(&[], &[1.1]).check();
    x().fixed(&[], &[0.0]).fixed(&[], &[6.0]).check();
    // A minimum above the maximum counts for nothing.
    x().values(&[], &[2.0]).values(&[], &[1.1]).check();
}

#[test]
fn clip_passes_at_its_bounds() {
    Case::of("Clip")
        .values(&[3], &[0.0, 1.0, 2.0])
        .fixed(&[], &[0.0])
        .fixed(&[], &[1.0])
        .check_is(&[&[1.0, 1.0, 0.0]]);
}

#[test]
fn casts_between_floats_pass() {
    Case::of("Cast").attribute("to", 11i64).floats(&[2, 3]).coarsely().check();
    Case::of("Cast").attribute("to", 1i64).floats(&[2, 3]).coarsely().check();
    Case::of("CastLike").floats(&[2, 3]).fixed(&[1], &[1.0]).check();
}

#[test]
fn what_becomes_an_integer_passes_nothing() {
    Case::of("Cast").attribute("to", 7i64).values(&[3], &[-1.3, 0.4, 2.6]).check();
    Case::of("CastLike").values(&[3], &[-1.3, 0.4, 2.6]).constant(ints(&[1], &[1])).check();
}

#[test]
fn comparisons_pass_nothing() {
    for operator in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"] {
        Case::of(operator).floats(&[2, 3]).floats(&[3]).check();
    }
}
