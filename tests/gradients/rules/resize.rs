//! Resampling.

use onnxd::tensor::DataType;

use crate::case::Case;
use crate::numbers::{floats, ints};

const COORDINATES: [&str; 6] = [
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
    "tf_crop_and_resize",
];

fn scales(case: Case, scales: &[f64]) -> Case {
    let scales = floats(DataType::Float32, &[scales.len()], scales);
    case.left_out().constant(scales)
}

fn sizes(case: Case, sizes: &[i64]) -> Case {
    case.left_out().left_out().constant(ints(&[sizes.len()], sizes))
}

fn of(mode: &'static str, shape: &[usize]) -> Case {
    Case::of("Resize").opset(19).floats(shape).attribute("mode", mode).coarsely().and_tract()
}

#[test]
fn nearest() {
    for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
        for coordinates in &COORDINATES[..4] {
            let of = |shape: &[usize]| {
                let case = of("nearest", shape).attribute("nearest_mode", rounding);
                case.attribute("coordinate_transformation_mode", *coordinates)
            };
            scales(of(&[1, 2, 3, 2]), &[1.0, 1.0, 2.0, 3.0]).check();
            sizes(of(&[1, 1, 5, 7]), &[1, 1, 3, 10]).check();
        }
    }
    scales(of("nearest", &[2, 3]), &[7.0, 1.0]).check();
    scales(of("nearest", &[1, 2, 3, 2, 2]), &[1.0, 1.0, 2.0, 1.0, 3.0]).check();
}

#[test]
fn linear() {
    for coordinates in &COORDINATES[..5] {
        let of = |shape: &[usize]| {
            of("linear", shape).attribute("coordinate_transformation_mode", *coordinates)
        };
        scales(of(&[1, 2, 3, 2]), &[1.0, 1.0, 2.0, 2.5]).check();
        sizes(of(&[1, 1, 5, 7]), &[1, 1, 3, 1]).check();
        sizes(of(&[1, 1, 2, 3, 3]), &[1, 1, 4, 2, 5]).check();
    }
    scales(of("linear", &[1, 2, 3]), &[1.0, 1.0, 2.0]).check();
    scales(of("linear", &[1, 2, 3, 3]), &[1.0, 1.0, 2.0, 2.0]).opset(17).check();
}

#[test]
fn cubic() {
    for coordinates in &COORDINATES[..5] {
        let of = || {
            let case = of("cubic", &[1, 1, 4, 5]);
            case.attribute("coordinate_transformation_mode", *coordinates)
        };
        scales(of(), &[1.0, 1.0, 2.0, 1.6]).check();
        sizes(of(), &[1, 1, 3, 9]).attribute("cubic_coeff_a", -0.5f32).check();
        sizes(of(), &[1, 1, 7, 3]).attribute("exclude_outside", 1i64).check();
    }
}

#[test]
fn crops() {
    for mode in ["nearest", "linear"] {
        let region = [0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.8, 1.2];
        let region = floats(DataType::Float32, &[8], &region);
        let case = of(mode, &[1, 1, 5, 6]).constant(region).left_out();
        let case = case.constant(ints(&[4], &[1, 1, 4, 7]));
        case.attribute("coordinate_transformation_mode", COORDINATES[5]).check();
    }
}

#[test]
fn some_axes_and_kept_proportions() {
    let axes = |case: Case| case.attribute("axes", [2, 3]);
    sizes(axes(of("linear", &[1, 2, 3, 2])), &[5, 3]).check();
    scales(axes(of("nearest", &[1, 2, 3, 2])), &[2.0, 1.5]).check();
    for policy in ["not_larger", "not_smaller"] {
        let case = axes(of("linear", &[1, 1, 3, 4]));
        sizes(case.attribute("keep_aspect_ratio_policy", policy), &[7, 6]).check();
    }
}

#[test]
fn open_axes_are_left_alone() {
    scales(of("linear", &[5, 2, 3, 2]), &[1.0, 1.0, 2.0, 2.0]).open(5).check();
    sizes(of("nearest", &[5, 2, 3, 2]), &[5, 2, 6, 6]).open(5).check();
    let open = scales(of("linear", &[1, 2, 5, 2]), &[1.0, 1.0, 2.0, 2.0]);
    open.open(5).refused("are not known");
    let smooth = scales(of("linear", &[1, 2, 4, 4]), &[1.0, 1.0, 0.5, 0.5]);
    smooth.attribute("antialias", 1i64).refused("antialias");
}
