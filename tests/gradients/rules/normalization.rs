//! Normalisations. tract takes the mean of squares in 32-bit floats whatever the type, which is too
//! coarse for differences.

use onnxd::autodiff::functions::normalization::batch_normalization_training;

use crate::case::Case;

fn batch(case: Case, shape: &[usize]) -> Case {
    let channels = [shape[1]];
    let case = case.floats(shape).floats(&channels).floats(&channels).floats(&channels);
    case.floats_in(&channels, 0.5, 2.0)
}

#[test]
fn batch_normalization_with_given_statistics() {
    for shape in [&[4, 3][..], &[2, 3, 5], &[2, 3, 4, 2], &[2, 1, 2, 3, 2]] {
        batch(Case::of("BatchNormalization"), shape).on_onnxruntime().check();
    }
    let case = batch(Case::of("BatchNormalization"), &[2, 3, 4]);
    case.attribute("epsilon", 0.1f32).on_onnxruntime().check();
}

#[test]
fn batch_normalization_in_training() {
    for shape in [&[4, 3][..], &[2, 3, 5], &[2, 3, 4, 2], &[2, 1, 2, 3, 2]] {
        let case = batch(Case::of("BatchNormalization"), shape).attribute("training_mode", 1);
        case.outputs(3).using(&[0]).on_onnxruntime().check();
    }
    let case = batch(Case::of("BatchNormalization"), &[4, 2, 3]).attribute("training_mode", 1);
    case.attribute("epsilon", 0.1f32).outputs(3).using(&[0]).on_onnxruntime().check();
}

#[test]
fn batch_normalization_as_a_function_of_ours() {
    for opset in [17, 18] {
        let function = batch_normalization_training(opset);
        for shape in [&[4, 3][..], &[2, 3, 4, 2]] {
            let case = Case::of_function("BatchNormalizationTraining", function.clone());
            let case = batch(case.opset(opset), shape).attribute("epsilon", 1e-3f32);
            case.attribute("momentum", 0.9f32)
                .outputs(5)
                .using(&[0])
                .on_onnxruntime()
                .and_tract()
                .check();
        }
    }
}

#[test]
fn layer_normalization() {
    let layer = |shape: &[usize], inner: &[usize]| {
        Case::of("LayerNormalization").floats(shape).floats(inner).on_onnxruntime().and_tract()
    };
    layer(&[2, 3, 5], &[5]).floats(&[5]).check();
    layer(&[2, 3, 5], &[5]).check();
    layer(&[4, 6], &[6]).attribute("epsilon", 0.1f32).check();
    layer(&[2, 3, 4], &[3, 4]).floats(&[3, 4]).attribute("axis", 1).check();
    layer(&[2, 3, 4], &[3, 4]).floats(&[3, 4]).attribute("axis", -2).opset(18).check();
    layer(&[2, 3, 4], &[2, 3, 4]).attribute("axis", 0).check();
}

#[test]
fn layer_normalization_repeats_its_scale() {
    let layer = || Case::of("LayerNormalization").floats(&[2, 3, 4]).attribute("axis", 1);
    layer().floats(&[3, 1]).floats(&[4]).on_onnxruntime().check();
    layer().floats(&[4]).floats(&[3, 4]).on_onnxruntime().check();
}

#[test]
fn layer_normalization_that_tells_its_statistics() {
    let layer = Case::of("LayerNormalization").floats(&[2, 3, 5]).floats(&[5]).floats(&[5]);
    layer.outputs(3).using(&[0]).coarsely().and_tract().check();
}

#[test]
fn instance_normalization() {
    for shape in [&[2, 3, 5][..], &[2, 3, 4, 2], &[1, 2, 3, 2, 2]] {
        let channels = [shape[1]];
        let case = Case::of("InstanceNormalization").floats(shape);
        case.floats(&channels)
            .floats(&channels)
            .attribute("epsilon", 1e-2f32)
            .coarsely()
            .and_tract()
            .check();
    }
}

#[test]
fn group_normalization() {
    // In 32-bit floats inside, unless told otherwise; before 21 there is no telling.
    let group = |shape: &[usize], parameters: usize| {
        let case = Case::of("GroupNormalization").floats(shape).attribute("num_groups", 2);
        case.floats(&[parameters]).floats(&[parameters]).on_onnxruntime().and_tract()
    };
    let double = |case: Case| case.attribute("stash_type", 11).opset(21);
    double(group(&[2, 4, 5], 4)).check();
    double(group(&[2, 6, 3, 2], 6)).attribute("epsilon", 0.1f32).check();
    group(&[2, 4, 5], 2).opset(18).coarsely().check();
    group(&[2, 6, 3, 2], 2).opset(18).coarsely().check();
}

#[test]
fn root_mean_square_normalization() {
    let root = |shape: &[usize], inner: &[usize]| {
        let case = Case::of("RMSNormalization").floats(shape).floats(inner).opset(23);
        case.attribute("stash_type", 11).on_onnxruntime().and_tract()
    };
    root(&[2, 3, 5], &[5]).check();
    root(&[2, 3, 4], &[3, 4]).attribute("axis", 1).check();
    root(&[2, 3, 4], &[3, 1]).attribute("axis", -2).attribute("epsilon", 0.1f32).check();
}

#[test]
fn mean_variance_normalization() {
    let case = |shape: &[usize]| {
        Case::of("MeanVarianceNormalization").floats(shape).coarsely().and_tract()
    };
    case(&[2, 3, 4, 2]).check();
    case(&[2, 3, 4]).attribute("axes", [0, 2]).check();
    case(&[2, 3, 4]).attribute("axes", [2, -3]).check();
}
