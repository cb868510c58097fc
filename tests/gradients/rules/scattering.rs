//! Elements written over or added to others.

use crate::case::Case;
use crate::numbers::{ints, short_ints};

#[test]
fn scatter_elements() {
    let of = || Case::of("ScatterElements").floats(&[3, 4]);
    let places = || ints(&[2, 3], &[0, 2, 1, -1, 1, 0]);
    of().constant(places()).floats(&[2, 3]).check();
    of().given(places()).floats(&[2, 3]).attribute("axis", 0i64).check();
    let columns = of().given(short_ints(&[3, 2], &[0, -1, 3, 2, 1, -4]));
    columns.floats(&[3, 2]).attribute("axis", -1i64).check();
    let twice = || of().given(ints(&[3, 3], &[0, 0, 1, 0, 1, 0, 0, 2, 0]));
    twice().floats(&[3, 3]).attribute("reduction", "add").check();
    for reduction in ["mul", "max", "min"] {
        let of = || twice().opset(18).attribute("reduction", reduction).on_onnxruntime();
        of().floats(&[3, 3]).check();
        of().floats(&[3, 3]).attribute("axis", 1i64).check();
    }
    of().given(ints(&[0, 4], &[])).floats(&[0, 4]).check();
}

#[test]
fn scatter_nd() {
    let of = || Case::of("ScatterND").floats(&[3, 4]);
    of().constant(ints(&[2, 2], &[0, 1, 2, 3])).floats(&[2]).check();
    of().given(ints(&[2, 1], &[2, 0])).floats(&[2, 4]).check();
    of().given(ints(&[2, 2], &[-1, 1, 0, -4])).floats(&[2]).on_onnxruntime().check();
    let twice = || of().given(ints(&[3, 1], &[1, 1, 0])).floats(&[3, 4]);
    twice().attribute("reduction", "add").check();
    for reduction in ["mul", "max", "min"] {
        twice().opset(18).attribute("reduction", reduction).on_onnxruntime().check();
    }
    let open = Case::of("ScatterND").floats(&[5, 4]).given(ints(&[2, 1], &[2, 0]));
    open.floats(&[2, 4]).open(5).check();
}

#[test]
fn products_with_zeros_and_extremes_that_are_shared() {
    let of = |reduction: &'static str, data: &[f64], updates: &[f64]| {
        let places = ints(&[4], &[0, 0, 1, 1]);
        let case = Case::of("ScatterElements").opset(18).values(&[3], data).given(places);
        case.values(&[4], updates).attribute("reduction", reduction)
    };
    let factors = of("mul", &[2.0, 0.0, 5.0], &[0.0, 3.0, 4.0, 7.0]);
    factors.check_is(&[&[0.0, 28.0, 1.0], &[6.0, 0.0, 0.0, 0.0]]);
    let zeros = of("mul", &[2.0, 3.0, 5.0], &[0.0, 0.0, 0.0, 7.0]);
    zeros.check_is(&[&[0.0, 0.0, 1.0], &[0.0, 0.0, 21.0, 0.0]]);
    let third = 1.0 / 3.0;
    let largest = of("max", &[2.0, 3.0, 5.0], &[2.0, 2.0, 4.0, 4.0]);
    largest.check_is(&[&[third, 0.0, 1.0], &[third, third, 0.5, 0.5]]);
}
