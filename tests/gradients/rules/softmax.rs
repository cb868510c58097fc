//! What normalises along an axis.

use crate::case::Case;

#[test]
fn softmax_along_any_axis() {
    for operator in ["Softmax", "LogSoftmax"] {
        Case::of(operator).floats(&[2, 3]).check();
        for axis in [0, 1, 2, -1, -2, -3] {
            Case::of(operator).floats(&[2, 3, 4]).attribute("axis", axis).check();
        }
        Case::of(operator).floats(&[3]).attribute("axis", 0).check();
        Case::of(operator).floats(&[0, 3]).check();
        Case::of(operator).opset(21).floats(&[2, 1]).check();
    }
}

#[test]
fn hardmax_passes_nothing() {
    Case::of("Hardmax").floats(&[2, 3]).check();
}

#[test]
fn lp_normalization_in_both_norms() {
    for p in [1, 2] {
        for axis in [0, 1, -1] {
            let case = Case::of("LpNormalization").floats(&[3, 4, 2]);
            case.attribute("p", p).attribute("axis", axis).check();
        }
    }
    Case::of("LpNormalization").floats(&[4]).check();
    Case::of("LpNormalization").opset(22).floats(&[2, 3]).check();
}

#[test]
fn a_vector_of_zeros_has_no_direction() {
    Case::of("LpNormalization").values(&[2, 2], &[0.0, 0.0, 0.0, 3.0]).check_is(&[&[
        0.0,
        0.0,
        1.0 / 3.0,
        0.0,
    ]]);
}
