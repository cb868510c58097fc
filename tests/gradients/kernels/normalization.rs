//! Normalisations and their gradients: kernels against bodies.

use onnxd::autodiff::functions::normalization::{
    batch_normalization_gradient, batch_normalization_training, layer_normalization_gradient,
};

use super::call::Call;

fn batch_training(shape: &[usize], epsilon: f32, momentum: f32) -> Call {
    let channels = &shape[1..2];
    Call::of(batch_normalization_training)
        .floats(shape)
        .floats(channels)
        .floats(channels)
        .floats(channels)
        .floats_in(channels, 0.5, 2.0)
        .attribute("epsilon", epsilon)
        .attribute("momentum", momentum)
}

fn batch_gradient(shape: &[usize]) -> Call {
    let channels = &shape[1..2];
    let call = Call::of(batch_normalization_gradient).floats(shape).floats(shape);
    call.floats(channels).floats(channels).floats_in(channels, 0.5, 2.0)
}

#[test]
fn of_batches() {
    for shape in [&[6, 5][..], &[4, 3, 7], &[2, 70, 5, 6], &[3, 8, 1, 1], &[2, 2, 3, 2, 4]] {
        batch_training(shape, 1e-5, 0.9).check();
        batch_training(shape, 0.1, 0.25).open().body_elsewhere().check();
        batch_gradient(shape).check();
        batch_gradient(shape).open().body_elsewhere().check();
    }
}

#[test]
fn of_batches_without_what_nobody_reads() {
    batch_training(&[4, 3, 7], 1e-5, 0.9).wanting(&[0]).check();
    batch_training(&[4, 3, 7], 1e-5, 0.9).wanting(&[0, 3, 4]).check();
    batch_gradient(&[4, 3, 7]).wanting(&[0, 2]).check();
}

#[test]
fn of_batches_of_one_number_is_refused() {
    batch_training(&[1, 3, 1, 1], 1e-5, 0.9).refused("at least 2");
}

#[test]
fn of_layers() {
    let shape = [4, 3, 5, 2];
    for axis in [-1, 3, 2, -3, 1, 0] {
        let start = if axis < 0 { (4 + axis) as usize } else { axis as usize };
        let mut rows = shape;
        rows[start..].fill(1);
        let call = || {
            let call = Call::of(layer_normalization_gradient).floats(&shape).floats(&shape);
            let call = call.floats(&shape[start..]).floats(&rows).floats_in(&rows, 0.5, 2.0);
            call.attribute("axis", axis)
        };
        call().check();
        if start > 0 {
            call().open().body_elsewhere().wanting(&[0, 1]).check();
        }
    }
    let wide = Call::of(layer_normalization_gradient).floats(&[70, 384]).floats(&[70, 384]);
    let wide = wide.floats(&[384]).floats(&[70, 1]).floats_in(&[70, 1], 0.5, 2.0);
    wide.attribute("axis", -1i64).tolerance(5e-5).check();
}
