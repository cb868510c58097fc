//! Sums, means, extremes and norms over axes.

use crate::case::Case;
use crate::numbers::{ints, short_ints};

/// All reductions, on inputs that they are defined for, before their axes became an input and
/// after.
fn check(operator: &'static str, low: f64, high: f64) {
    let x = |shape: &[usize]| Case::of(operator).floats_in(shape, low, high);
    let input = operator == "ReduceSum";
    for keep in [0, 1] {
        x(&[2, 3, 2]).attribute("keepdims", keep).check();
        for axes in [&[1][..], &[0, 2], &[-1], &[-1, 0], &[0, 1, 2]] {
            if !input {
                let old = x(&[2, 3, 2]).attribute("keepdims", keep);
                old.attribute("axes", axes).check();
            }
            let axes = ints(&[axes.len()], axes);
            let new = x(&[2, 3, 2]).opset(18).constant(axes);
            new.attribute("keepdims", keep).check();
        }
        x(&[2, 3]).opset(18).attribute("keepdims", keep).check();
        // No axes: all, or none where the node says so.
        x(&[2, 3]).opset(18).constant(ints(&[0], &[])).attribute("keepdims", keep).check();
    }
    x(&[2, 3]).opset(18).attribute("noop_with_empty_axes", 1).on_onnxruntime().check();
    x(&[2, 1, 3]).opset(18).constant(ints(&[1], &[1])).check();
    x(&[0, 3]).opset(18).constant(ints(&[1], &[1])).check();
}

#[test]
fn sum() {
    check("ReduceSum", -2.0, 2.0);
}

#[test]
fn mean() {
    check("ReduceMean", -2.0, 2.0);
}

#[test]
fn max() {
    check("ReduceMax", -2.0, 2.0);
}

#[test]
fn min() {
    check("ReduceMin", -2.0, 2.0);
}

#[test]
fn equals_share_what_an_extreme_passes() {
    for operator in ["ReduceMax", "ReduceMin"] {
        Case::of(operator)
            .values(&[2, 3], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
            .attribute("axes", [1])
            .check_is(&[&[1.0 / 3.0; 6]]);
    }
}

#[test]
fn prod() {
    check("ReduceProd", -2.0, 2.0);
}

#[test]
fn prod_with_zeros() {
    // A row without, one with one, one with two, one of zeros alone.
    let rows = [1.5, -2.0, 0.5, 1.5, 0.0, 0.5, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0];
    for keep in [0, 1] {
        let case = Case::of("ReduceProd").values(&[4, 3], &rows);
        case.attribute("axes", [1]).attribute("keepdims", keep).check();
    }
    Case::of("ReduceProd").values(&[3], &[1.5, 0.0, 0.5]).check();
}

#[test]
fn norms() {
    check("ReduceL1", -2.0, 2.0);
    check("ReduceL2", -2.0, 2.0);
    check("ReduceSumSquare", -2.0, 2.0);
}

#[test]
fn a_norm_of_zeros_passes_nothing() {
    for operator in ["ReduceL1", "ReduceL2"] {
        Case::of(operator).values(&[2], &[0.0, 0.0]).check_is(&[&[0.0, 0.0]]);
    }
}

#[test]
fn logarithms_of_sums() {
    check("ReduceLogSum", 0.2, 2.0);
    check("ReduceLogSumExp", -2.0, 2.0);
}

#[test]
fn running_sums_from_either_end() {
    for exclusive in [0, 1] {
        for reverse in [0, 1] {
            let x = Case::of("CumSum").floats(&[2, 3, 4]).attribute("exclusive", exclusive);
            x.constant(ints(&[], &[1])).attribute("reverse", reverse).check();
        }
    }
    Case::of("CumSum").floats(&[2, 3]).constant(ints(&[], &[-1])).check();
    Case::of("CumSum").floats(&[2, 3]).constant(ints(&[1], &[-1])).on_onnxruntime().check();
    Case::of("CumSum").floats(&[2, 3]).constant(short_ints(&[], &[0])).check();
}
