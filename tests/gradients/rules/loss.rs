//! The losses that are operators.

use crate::case::Case;
use crate::numbers::{ints, short_ints};

const REDUCTIONS: [&str; 3] = ["none", "mean", "sum"];

fn check(operator: &'static str) {
    for reduction in REDUCTIONS {
        let case = |shape: &[usize]| {
            Case::of(operator).floats(shape).attribute("reduction", reduction).on_onnxruntime()
        };
        let labels = ints(&[4], &[2, 0, 1, 2]);
        case(&[4, 3]).constant(labels.clone()).check();
        case(&[4, 3]).constant(labels.clone()).floats_in(&[3], 0.5, 2.0).check();
        case(&[4, 3]).constant(labels.clone()).attribute("ignore_index", 2).check();
        let weighed = case(&[4, 3]).constant(labels).fixed(&[3], &[0.5, 2.0, 1.0]);
        weighed.attribute("ignore_index", 0).check();
        // A label that is no class.
        let ignored = case(&[3, 2]).constant(ints(&[3], &[1, -100, 0]));
        ignored.floats_in(&[2], 0.5, 2.0).attribute("ignore_index", -100).check();
        let places = ints(&[2, 2, 1], &[1, 0, 2, 1]);
        case(&[2, 3, 2, 1]).constant(places.clone()).check();
        let places = case(&[2, 3, 2, 1]).constant(places).floats_in(&[3], 0.5, 2.0);
        places.attribute("ignore_index", 1).check();
        let small = short_ints(&[2], &[1, 0]);
        Case::of(operator)
            .floats(&[2, 3])
            .constant(small)
            .attribute("reduction", reduction)
            .coarsely()
            .check();
    }
    Case::of(operator).floats(&[2, 3]).constant(ints(&[2], &[1, 0])).on_onnxruntime().check();
}

#[test]
fn negative_log_likelihood() {
    check("NegativeLogLikelihoodLoss");
}

#[test]
fn softmax_cross_entropy() {
    check("SoftmaxCrossEntropyLoss");
}

#[test]
fn softmax_cross_entropy_with_its_logarithms() {
    for reduction in REDUCTIONS {
        for used in [&[0][..], &[1], &[0, 1]] {
            Case::of("SoftmaxCrossEntropyLoss")
                .floats(&[2, 3, 2])
                .constant(ints(&[2, 2], &[1, 0, 2, 1]))
                .floats_in(&[3], 0.5, 2.0)
                .attribute("reduction", reduction)
                .attribute("ignore_index", 0)
                .outputs(2)
                .using(used)
                .on_onnxruntime()
                .check();
        }
    }
}
