//! Parts of an axis.

use crate::case::Case;
use crate::numbers::{ints, short_ints};

#[test]
fn concat() {
    let of = |axis: i64| Case::of("Concat").attribute("axis", axis);
    of(0).floats(&[2, 3]).check();
    of(1).floats(&[2, 3]).floats(&[2, 1]).floats(&[2, 2]).check();
    of(-2).floats(&[2, 3]).floats(&[1, 3]).check();
    of(1).floats(&[2, 3]).floats(&[2, 0]).floats(&[2, 2]).check();
    of(1).floats(&[2, 1]).fixed(&[2, 1], &[1.0, 2.0]).floats(&[2, 2]).check();
    of(1).floats(&[2, 5]).floats(&[2, 3]).floats(&[2, 5]).open(5).check();
}

#[test]
fn split() {
    let of = |axis: i64| Case::of("Split").attribute("axis", axis);
    of(1).floats(&[2, 6]).outputs(3).check();
    of(-1).floats(&[2, 6]).constant(ints(&[3], &[1, 0, 5])).outputs(3).check();
    of(0).floats(&[6, 2]).constant(ints(&[2], &[4, 2])).outputs(2).using(&[1]).check();
    of(1).floats(&[5, 4]).outputs(2).using(&[0]).open(5).check();
    Case::of("Split").floats(&[4, 2]).outputs(2).check();
    let newer = || of(1).opset(18).floats(&[2, 7]).on_onnxruntime();
    newer().attribute("num_outputs", 3i64).outputs(3).check();
    newer().constant(ints(&[2], &[3, 4])).outputs(2).check();
}

/// Starts, ends, axes and steps as `Slice` has them, each of one kind.
fn slice(shape: &[usize], starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]) -> Case {
    let vector = |values: &[i64]| ints(&[values.len()], values);
    let mut case = Case::of("Slice").floats(shape);
    for values in [starts, ends, axes, steps] {
        if !values.is_empty() {
            case = case.constant(vector(values));
        }
    }
    case
}

#[test]
fn slice_of_neighbours() {
    slice(&[4, 6], &[1, 2], &[3, 5], &[], &[]).check();
    slice(&[4, 6], &[1], &[3], &[], &[]).check();
    slice(&[4, 6], &[-3], &[i64::MAX], &[-1], &[]).check();
    slice(&[4, 6], &[-100, 1], &[-1, 1000], &[1, 0], &[1, 1]).check();
    slice(&[4, 6], &[0], &[i64::from(i32::MAX)], &[1], &[1]).check();
    slice(&[4, 6], &[5], &[2], &[1], &[1]).on_onnxruntime().check();
    slice(&[4, 0], &[1], &[3], &[0], &[1]).check();
    let short = |value: i32| short_ints(&[1], &[value]);
    Case::of("Slice").floats(&[4]).constant(short(-3)).constant(short(4)).check();
}

#[test]
fn slice_by_steps() {
    slice(&[4, 7], &[1], &[7], &[1], &[2]).check();
    slice(&[4, 7], &[0, 1], &[4, 6], &[0, 1], &[3, 4]).check();
    slice(&[7, 2], &[-1], &[i64::MIN], &[0], &[-1]).check();
    slice(&[7, 2], &[5], &[1], &[0], &[-1]).check();
    slice(&[7, 2], &[100], &[-100], &[0], &[-3]).check();
    slice(&[7, 2], &[-2], &[0], &[0], &[-2]).check();
    slice(&[3, 4, 5], &[2, 0, 3], &[0, 4, 0], &[0, 1, 2], &[-1, 2, -2]).check();
}

#[test]
fn slice_of_open_axes() {
    slice(&[5, 5], &[1, -2], &[3, i64::MAX], &[0, 1], &[1, 1]).open(5).check();
    slice(&[5, 5], &[-1, 3], &[-6, -6], &[0, 1], &[-1, -1]).open(5).check();
    slice(&[5, 4], &[1], &[4], &[1], &[2]).open(5).check();
    slice(&[5, 4], &[1], &[4], &[0], &[2]).open(5).refused("bounds that are not known");
    let of = || Case::of("Slice").floats(&[4, 5]).on_onnxruntime();
    let given = |values: &[i64]| ints(&[values.len()], values);
    let axes = given(&[1, 0]);
    of().given(given(&[-3, 1])).given(given(&[4, 3])).constant(axes.clone()).check();
    let open = of().given(given(&[-3, 1])).given(given(&[4, 3])).constant(axes);
    open.open(5).check();
    let computed = of().constant(given(&[0])).constant(given(&[3])).given(given(&[1]));
    computed.refused("axes and steps are computed");
}

#[test]
fn pad_with_a_constant() {
    let pads = |values: &[i64]| ints(&[values.len()], values);
    let of = || Case::of("Pad").floats(&[3, 4]);
    of().constant(pads(&[0, 1, 2, 3])).check();
    of().constant(pads(&[0, 1, 2, 3])).fixed(&[], &[0.5]).attribute("mode", "constant").check();
    // tract wants the number to be a constant, and the pads to be none that take away.
    let own = of().constant(pads(&[0, 1, 2, 3])).floats(&[]);
    own.on_onnxruntime().check();
    of().constant(pads(&[-1, 1, 0, -2])).on_onnxruntime().check();
    of().constant(pads(&[-1, 1, 0, -2])).floats(&[]).on_onnxruntime().check();
    Case::of("Pad").floats(&[5, 0]).constant(pads(&[1, 0, 0, 2])).check();
    Case::of("Pad").floats(&[5, 2]).constant(pads(&[1, 0, 0, 2])).open(5).check();
    let newer = || Case::of("Pad").opset(18).floats(&[2, 3, 4]);
    newer().constant(pads(&[1, 2])).left_out().constant(pads(&[-1])).check();
    newer().constant(pads(&[1, 2, 0, 1])).fixed(&[], &[1.0]).constant(pads(&[2, 0])).check();
    of().given(pads(&[0, 1, 2, 3])).refused("pads are computed");
}

#[test]
fn pad_with_the_values_themselves() {
    let pads = |values: &[i64]| ints(&[values.len()], values);
    for mode in ["reflect", "edge"] {
        let of = |shape: &[usize]| Case::of("Pad").floats(shape).attribute("mode", mode);
        of(&[3, 4]).constant(pads(&[0, 1, 2, 3])).check();
        of(&[2, 1, 5, 4]).constant(pads(&[0, 0, 2, 1, 0, 0, 1, 3])).check();
        of(&[5, 4]).constant(pads(&[0, 3, 0, 3])).open(5).check();
        of(&[5, 4]).constant(pads(&[1, 0, 0, 0])).open(5).refused("not known");
        of(&[5, 4]).constant(pads(&[-1, 0, 0, 0])).refused("negative pads");
    }
    let wide = Case::of("Pad").floats(&[3, 2]).attribute("mode", "edge");
    wide.constant(pads(&[6, 0, 5, 1])).check();
    let wrap = || Case::of("Pad").opset(19).floats(&[3, 4]).attribute("mode", "wrap");
    wrap().constant(pads(&[0, 1, 2, 3])).on_onnxruntime().check();
    let axes = wrap().constant(pads(&[2, 1])).left_out().constant(pads(&[1]));
    axes.on_onnxruntime().check();
}

#[test]
fn trilu() {
    Case::of("Trilu").floats(&[2, 3, 4]).check();
    Case::of("Trilu").floats(&[4, 3]).attribute("upper", 0i64).check();
    let of = |k: i64| Case::of("Trilu").floats(&[3, 4]).constant(ints(&[], &[k]));
    of(1).check();
    of(-1).attribute("upper", 0i64).check();
    Case::of("Trilu").floats(&[2, 0, 3]).check();
}

#[test]
fn reverse_sequence() {
    let of = |shape: &[usize]| Case::of("ReverseSequence").floats(shape).on_onnxruntime();
    of(&[4, 3, 2]).constant(ints(&[3], &[1, 4, 2])).check();
    let batch_first = of(&[2, 4]).constant(ints(&[2], &[3, 2]));
    batch_first.attribute("batch_axis", 0i64).attribute("time_axis", 1i64).check();
}
