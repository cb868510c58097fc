//! Elements looked up by their places.

use crate::case::Case;
use crate::numbers::{bools, ints, short_ints};

#[test]
fn gather_of_rows() {
    let of = || Case::of("Gather").floats(&[4, 3]);
    of().constant(ints(&[2, 3], &[0, 3, 0, -1, 1, 0])).check();
    of().constant(short_ints(&[3], &[2, -4, 2])).check();
    of().given(ints(&[3], &[2, -4, 2])).check();
    of().given(short_ints(&[2, 1], &[2, -4])).check();
    of().given(ints(&[], &[-1])).check();
    of().given(ints(&[0], &[])).check();
    Case::of("Gather").floats(&[4, 2, 3]).given(ints(&[2, 2], &[1, 1, -1, 0])).check();
    of().opset(21).given(ints(&[3], &[2, -4, 2])).check();
    Case::of("Gather").floats(&[4, 0]).given(ints(&[2], &[1, 1])).check();
}

#[test]
fn gather_of_numbers() {
    Case::of("Gather").floats(&[4]).given(ints(&[2, 2], &[1, 1, -1, 0])).check();
    Case::of("Gather").floats(&[4]).given(ints(&[], &[2])).check();
    Case::of("Gather").floats(&[4]).constant(ints(&[], &[2])).check();
}

#[test]
fn gather_on_other_axes() {
    let of = |axis: i64| Case::of("Gather").floats(&[2, 4, 3]).attribute("axis", axis);
    of(1).given(ints(&[2, 2], &[1, 1, -1, 0])).check();
    of(-1).given(ints(&[2], &[2, 0])).check();
    of(2).given(ints(&[], &[1])).check();
    of(1).constant(ints(&[3], &[1, -1, 1])).check();
    of(1).constant(ints(&[6], &[1, 1, 1, 1, 1, 1])).check();
    of(1).constant(ints(&[], &[-1])).check();
    of(2).constant(ints(&[], &[0])).check();
    of(0).constant(ints(&[1], &[0])).check();
}

#[test]
fn gather_from_open_axes() {
    let of = |axis: i64| Case::of("Gather").floats(&[5, 4]).attribute("axis", axis).open(5);
    of(0).given(ints(&[2, 2], &[1, 1, -1, 0])).check();
    of(1).given(ints(&[2, 2], &[1, 1, -1, 0])).check();
    of(1).constant(ints(&[2], &[1, -1])).check();
    of(0).constant(ints(&[], &[0])).check();
    of(0).constant(ints(&[], &[-2])).check();
    of(0).constant(ints(&[2], &[-2, 1])).check();
}

#[test]
fn gather_elements() {
    let of = || Case::of("GatherElements").floats(&[3, 4]);
    of().constant(ints(&[2, 3], &[0, 2, 0, -1, 1, 0])).check();
    of().given(ints(&[3, 2], &[0, -1, 3, 3, 1, -4])).attribute("axis", 1i64).check();
    of().given(short_ints(&[1, 2], &[0, 2])).attribute("axis", -2i64).check();
    of().given(ints(&[0, 4], &[])).check();
}

#[test]
fn gather_nd() {
    let of = |shape: &[usize]| Case::of("GatherND").floats(shape);
    of(&[3, 4]).constant(ints(&[3, 2], &[0, 1, 2, 3, 0, 1])).check();
    of(&[3, 4]).given(ints(&[2, 1], &[2, 2])).check();
    of(&[3, 4, 2]).given(ints(&[2, 2, 2], &[0, 1, 2, 3, 0, 1, 1, 1])).check();
    // tract takes negative indices for large ones.
    of(&[3, 4]).given(ints(&[2, 2], &[-1, 1, 2, -4])).on_onnxruntime().check();
    of(&[5, 4]).given(ints(&[2, 2], &[-1, 1, 2, -4])).open(5).on_onnxruntime().check();
    let batch = of(&[2, 3, 4]).given(ints(&[2, 2, 1], &[0, 2, 1, 1]));
    batch.attribute("batch_dims", 1i64).on_onnxruntime().check();
    let open = of(&[5, 3, 2]).given(ints(&[5, 1], &[0, 2, -1, 1, 0]));
    open.attribute("batch_dims", 1i64).open(5).on_onnxruntime().check();
    let two = of(&[2, 3, 4]).given(ints(&[2, 3, 1], &[0, 2, 1, 1, 3, 0]));
    two.attribute("batch_dims", 2i64).on_onnxruntime().check();
}

#[test]
fn top_k() {
    let of = |k: i64| Case::of("TopK").floats(&[3, 4]).constant(ints(&[1], &[k])).outputs(2);
    of(2).using(&[0]).check();
    of(3).attribute("axis", 0i64).attribute("largest", 0i64).using(&[0]).check();
    of(4).attribute("sorted", 1i64).using(&[0]).check();
}

#[test]
fn compress() {
    let of = || Case::of("Compress").floats(&[3, 4]).on_onnxruntime();
    of().constant(bools(&[3], &[true, false, true])).attribute("axis", 0i64).check();
    of().constant(bools(&[3], &[false, false, true])).attribute("axis", -1i64).check();
    of().given(bools(&[6], &[true, false, true, false, false, true])).check();
    of().given(bools(&[4], &[false; 4])).attribute("axis", 1i64).check();
}

#[test]
fn one_hot() {
    let of = || Case::of("OneHot").constant(ints(&[2, 2], &[0, 2, -1, 7]));
    of().constant(ints(&[], &[3])).floats(&[2]).coarsely().check();
    let front = of().constant(ints(&[1], &[3])).floats(&[2]).attribute("axis", 0i64);
    front.coarsely().check();
}

#[test]
fn range() {
    let of = || Case::of("Range").values(&[], &[0.3]).fixed(&[], &[2.0]);
    of().values(&[], &[0.5]).on_onnxruntime().check();
    of().values(&[], &[-0.5]).on_onnxruntime().check();
}
