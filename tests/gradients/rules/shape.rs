//! Other shapes and orders, and repetitions.

use crate::case::Case;
use crate::numbers::ints;

#[test]
fn reshape() {
    Case::of("Reshape").floats(&[2, 6]).constant(ints(&[3], &[3, -1, 2])).check();
    Case::of("Reshape").floats(&[2, 3, 4]).constant(ints(&[2], &[0, -1])).check();
    Case::of("Reshape").floats(&[1, 1]).constant(ints(&[0], &[])).check();
    Case::of("Reshape").floats(&[]).constant(ints(&[2], &[1, 1])).check();
    let exactly = Case::of("Reshape").floats(&[0, 3]).constant(ints(&[2], &[4, 0]));
    exactly.attribute("allowzero", 1i64).check();
    let one_open = Case::of("Reshape").floats(&[5, 2, 3]).constant(ints(&[2], &[0, -1]));
    one_open.open(5).check();
    let two_open = Case::of("Reshape").floats(&[5, 5, 3]).constant(ints(&[2], &[-1, 3]));
    two_open.open(5).check();
}

#[test]
fn flatten() {
    Case::of("Flatten").floats(&[2, 3, 4]).check();
    for axis in [0i64, 3, -1, -2] {
        Case::of("Flatten").floats(&[2, 3, 4]).attribute("axis", axis).check();
    }
    Case::of("Flatten").floats(&[0, 3, 4]).check();
    Case::of("Flatten").floats(&[5, 3, 5]).open(5).check();
}

#[test]
fn squeeze() {
    Case::of("Squeeze").floats(&[1, 3, 1]).constant(ints(&[1], &[-1])).check();
    // tract takes them out in the order given, and misses.
    let unordered = Case::of("Squeeze").floats(&[1, 3, 1]).constant(ints(&[2], &[2, 0]));
    unordered.on_onnxruntime().check();
    Case::of("Squeeze").floats(&[1, 3, 1]).check();
    Case::of("Squeeze").floats(&[1, 5, 5]).open(5).check();
    Case::of("Squeeze").floats(&[1, 3, 1]).given(ints(&[1], &[0])).on_onnxruntime().check();
    Case::of("Squeeze").floats(&[1, 0]).constant(ints(&[1], &[0])).on_onnxruntime().check();
}

#[test]
fn unsqueeze() {
    Case::of("Unsqueeze").floats(&[3]).constant(ints(&[2], &[-1, 0])).check();
    Case::of("Unsqueeze").floats(&[]).constant(ints(&[1], &[0])).check();
    Case::of("Unsqueeze").floats(&[5, 5]).constant(ints(&[1], &[1])).open(5).check();
    Case::of("Unsqueeze").floats(&[2, 0]).constant(ints(&[1], &[-2])).check();
}

#[test]
fn transpose() {
    Case::of("Transpose").floats(&[2, 3, 4]).check();
    Case::of("Transpose").floats(&[2, 3, 4]).attribute("perm", [2, 0, 1]).check();
    Case::of("Transpose").floats(&[2, 0, 4]).attribute("perm", [1, 2, 0]).check();
    Case::of("Transpose").floats(&[3]).check();
}

#[test]
fn expand() {
    Case::of("Expand").floats(&[3, 1]).constant(ints(&[3], &[2, 1, 4])).check();
    Case::of("Expand").floats(&[2, 3]).constant(ints(&[1], &[1])).check();
    Case::of("Expand").floats(&[]).constant(ints(&[2], &[2, 2])).check();
    Case::of("Expand").floats(&[1, 3]).constant(ints(&[2], &[0, 3])).check();
    Case::of("Expand").floats(&[1, 3]).constant(ints(&[2], &[5, 3])).open(5).check();
}

#[test]
fn tile() {
    Case::of("Tile").floats(&[2, 3]).constant(ints(&[2], &[2, 3])).check();
    Case::of("Tile").floats(&[2, 1, 3]).constant(ints(&[3], &[1, 4, 1])).check();
    Case::of("Tile").floats(&[2, 0]).constant(ints(&[2], &[2, 3])).check();
    Case::of("Tile").floats(&[2, 3]).constant(ints(&[2], &[0, 2])).check();
    Case::of("Tile").floats(&[5, 3]).constant(ints(&[2], &[1, 2])).open(5).check();
    Case::of("Tile").floats(&[5, 5]).constant(ints(&[2], &[2, 3])).open(5).check();
    Case::of("Tile").floats(&[2, 3]).given(ints(&[2], &[2, 3])).on_onnxruntime().check();
}

#[test]
fn depth_to_space() {
    let of = || Case::of("DepthToSpace").attribute("blocksize", 2i64);
    of().floats(&[2, 8, 2, 3]).check();
    of().floats(&[2, 8, 2, 3]).attribute("mode", "CRD").check();
    of().floats(&[5, 8, 2, 3]).attribute("mode", "CRD").open(5).check();
    of().floats(&[2, 4, 5, 5]).attribute("mode", "CRD").open(5).check();
    of().floats(&[2, 8, 1, 2]).attribute("mode", "CRD").open(8).refused("channels");
}

#[test]
fn space_to_depth() {
    Case::of("SpaceToDepth").floats(&[2, 3, 4, 6]).attribute("blocksize", 2i64).check();
    Case::of("SpaceToDepth").floats(&[1, 2, 3, 6]).attribute("blocksize", 3i64).check();
}
