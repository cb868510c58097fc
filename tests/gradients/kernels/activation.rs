//! Gradients of activations: kernels against bodies.

use onnxd::autodiff::functions::activation::{
    gelu_gradient, gelu_tanh_gradient, log_softmax_gradient, softmax_gradient,
};

use super::call::Call;

#[test]
fn gelu() {
    for function in [gelu_gradient, gelu_tanh_gradient] {
        for shape in [&[][..], &[7], &[3, 0], &[2, 5, 3], &[40, 1000]] {
            Call::of(function).floats(shape).floats_in(shape, -5.0, 5.0).check();
        }
        Call::of(function).floats(&[4, 3]).floats(&[4, 3]).open().check();
    }
}

#[test]
fn softmax() {
    for function in [softmax_gradient, log_softmax_gradient] {
        for axis in [-1, 0, 1, 2, -2] {
            let call = || {
                let call = Call::of(function).floats(&[3, 4, 5]).floats_in(&[3, 4, 5], -2.0, 0.5);
                call.attribute("axis", axis)
            };
            call().check();
            call().open().check();
        }
        Call::of(function).floats(&[300]).floats(&[300]).attribute("axis", 0i64).check();
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    Call::of(softmax_gradient)
        .floats(&[3, 4])
        .floats(&[3, 4])
        .attribute("axis", 2i64)
        .refused("an axis of the input");
    Call::of(gelu_gradient).floats(&[3, 4]).floats(&[4, 3]).refused("of shape [3, 4]");
    Call::of(softmax_gradient).floats(&[3]).floats(&[3]).refused("attribute \"axis\" is missing");
}
