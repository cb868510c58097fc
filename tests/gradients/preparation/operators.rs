//! Operators of versions 7 to 16 and what they become.

use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::tensor::{DataType, Tensor};

use super::{check_normal_form, model};
use crate::numbers::{Random, ints};

/// One node, its attributes set, and the shape of its input `x` of floats.
struct Old {
    shape: &'static [usize],
    node: Node,
    outputs: &'static [(&'static str, DataType)],
    /// Outputs behind those, which nothing reads.
    unread: &'static [&'static str],
    weights: Vec<(&'static str, Tensor)>,
}

const Y: &[(&str, DataType)] = &[("y", DataType::Float32)];

fn old(shape: &'static [usize], node: Node) -> Old {
    Old { shape, node, outputs: Y, unread: &[], weights: Vec::new() }
}

fn x(operator: &str) -> Node {
    Node::new(operator, &["x"])
}

fn random(shape: &[usize], low: f64, high: f64) -> Tensor {
    let count = shape.iter().product();
    let mut random = Random::new(7);
    let values: Vec<f32> = (0..count).map(|_| random.next(low, high) as f32).collect();
    Tensor::from_f32(shape, &values).expect("as many as the shape has")
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::from_f32(&[values.len()], values).expect("as many as the shape has")
}

impl Old {
    fn weight(mut self, name: &'static str, tensor: Tensor) -> Old {
        self.weights.push((name, tensor));
        self
    }

    fn outputs(mut self, outputs: &'static [(&'static str, DataType)]) -> Old {
        self.outputs = outputs;
        self
    }

    fn put_into(&self, graph: &mut GraphBuilder) {
        self.weights.iter().for_each(|(name, tensor)| drop(graph.initializer(name, tensor)));
        let node = self.node.clone();
        let names = self.outputs.iter().map(|(name, _)| name).chain(self.unread);
        graph.node(names.fold(node, |node, name| node.output(name)));
        self.outputs.iter().for_each(|(name, data_type)| graph.output(name, *data_type, ""));
    }

    /// Alone, with shapes known and not, and inside a branch.
    fn check(self, version: i64) {
        let name = format!("{:?} of {version}", self.node);
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let shape = shape.join(",");
        let given = random(self.shape, -2.0, 2.0);
        for shapes in [true, false] {
            let model = model(version, shapes, |graph| {
                graph.input("x", DataType::Float32, &shape);
                self.put_into(graph);
            });
            check_normal_form(&name, &model, std::slice::from_ref(&given));
        }
        let model = model(version, true, |graph| {
            graph.input("x", DataType::Float32, &shape);
            graph.initializer("yes", &flag());
            let branch =
                || model(version, true, |graph| self.put_into(graph)).graph.expect("built");
            let choice = Node::new("If", &["yes"]).attribute("then_branch", branch());
            let choice = choice.attribute("else_branch", branch());
            let names = self.outputs.iter().map(|(name, _)| format!("outer_{name}"));
            graph.node(names.clone().fold(choice, |node, name| node.output(&name)));
            for (name, (_, data_type)) in names.zip(self.outputs) {
                graph.output(&name, *data_type, "");
            }
        });
        check_normal_form(&format!("{name} in a branch"), &model, &[given]);
    }
}

fn flag() -> Tensor {
    Tensor::numbers(DataType::Bool, [].into_iter().collect(), vec![1].into()).expect("one byte")
}

#[test]
fn axes_and_splits_that_were_attributes() {
    for version in [7, 10, 11, 12] {
        old(&[1, 3, 1], x("Squeeze").attribute("axes", [0, 2])).check(version);
        old(&[1, 3, 1], x("Squeeze")).check(version);
        old(&[2, 3], x("Unsqueeze").attribute("axes", [0, 3])).check(version);
        old(&[2, 3, 4], x("ReduceSum").attribute("axes", [0, 2])).check(version);
        old(&[2, 3], x("ReduceSum").attribute("keepdims", 0)).check(version);
        let halves = || old(&[2, 6], x("Split").attribute("axis", 1)).outputs(TWO);
        halves().check(version);
        let node = x("Split").attribute("axis", 1).attribute("split", [2, 4]);
        old(&[2, 6], node).outputs(TWO).check(version);
    }
    old(&[2, 3, 4], x("ReduceSum").attribute("axes", [-1])).check(11);
    old(&[2, 3], x("Unsqueeze").attribute("axes", [-1])).check(11);
}

const TWO: &[(&str, DataType)] = &[("y", DataType::Float32), ("z", DataType::Float32)];

#[test]
fn softmax_over_several_axes_together() {
    for operator in ["Softmax", "LogSoftmax", "Hardmax"] {
        for (version, axes) in [(7, 0..3), (11, -3..3), (12, -1..3), (13, -2..2)] {
            old(&[2, 3, 4], x(operator)).check(version);
            for axis in axes {
                old(&[2, 3, 4], x(operator).attribute("axis", i64::from(axis))).check(version);
            }
        }
    }
    old(&[5], x("Softmax").attribute("axis", 0)).check(11);
    old(&[2, 0, 3], x("Softmax").attribute("axis", 1)).check(11);
    old(&[0, 2, 3], x("Softmax").attribute("axis", 1)).check(11);
}

#[test]
fn bounds_pads_and_places_that_were_attributes() {
    for version in [7, 9, 10] {
        old(&[2, 3], x("Clip").attribute("min", -0.5f32).attribute("max", 1.0f32)).check(version);
        old(&[2, 3], x("Clip").attribute("max", 0.25f32)).check(version);
        old(&[2, 3], x("Clip").attribute("min", 0.0f32)).check(version);
        old(&[2, 3], x("Clip")).check(version);
        let pads = || x("Pad").attribute("pads", [1, 0, 0, 2]);
        old(&[2, 3], pads()).check(version);
        old(&[2, 3], pads().attribute("value", 1.5f32)).check(version);
        old(&[3, 4], pads().attribute("mode", "reflect")).check(version);
        old(&[3, 4], pads().attribute("mode", "edge")).check(version);
    }
    for version in [7, 9] {
        let slice = || x("Slice").attribute("starts", [1, 0]).attribute("ends", [9, -1]);
        old(&[2, 3, 4], slice()).check(version);
        old(&[2, 3, 4], slice().attribute("axes", [2, 1])).check(version);
        let best = &[("y", DataType::Float32), ("i", DataType::Int64)];
        old(&[2, 5], x("TopK").attribute("k", 2)).outputs(best).check(version);
        let node = x("TopK").attribute("k", 1).attribute("axis", 0);
        old(&[2, 5], node).outputs(best).check(version);
    }
}

#[test]
fn dropout_drops_nothing_outside_training() {
    for version in [7, 10] {
        old(&[2, 3], x("Dropout")).check(version);
        old(&[2, 3], x("Dropout").attribute("ratio", 0.3f32)).check(version);
    }
    // Before version 10 the mask was of floats; what it says outside training was left open.
    let mut of_floats = model(7, true, |graph| {
        graph.input("x", DataType::Float32, "2");
        graph.node(Node::new("Dropout", &["x"]).output("y").output("mask"));
        let sum = graph.call("Add", &["y", "mask"]);
        graph.output(&sum, DataType::Float32, "2");
    });
    onnxd::onnx::normalize::normalize(&mut of_floats).expect("it has a normal form");
    let sum = &super::answers(&of_floats, &[vector(&[1.0, 2.0])])[0];
    assert_eq!(sum.to_f32(), Some(vec![2.0, 3.0]));
}

#[test]
fn batch_normalisation_with_and_without_the_batch() {
    let statistics = |node: Node, outputs| {
        old(&[4, 3, 2], node)
            .weight("scale", vector(&[1.0, 2.0, 0.5]))
            .weight("bias", vector(&[0.0, 1.0, -1.0]))
            .weight("mean", vector(&[0.1, 0.2, 0.3]))
            .weight("var", vector(&[1.0, 2.0, 3.0]))
            .outputs(outputs)
    };
    let norm = || {
        let inputs = ["x", "scale", "bias", "mean", "var"];
        Node::new("BatchNormalization", &inputs).attribute("epsilon", 1e-3f32)
    };
    for version in [7, 9, 13] {
        statistics(norm(), Y).check(version);
        let unread = &["saved_mean", "saved_var"];
        let training = statistics(norm().attribute("momentum", 0.8f32), THREE);
        Old { unread, ..training }.check(version);
    }
    statistics(norm().attribute("spatial", 1), Y).check(7);
}

const THREE: &[(&str, DataType)] =
    &[("y", DataType::Float32), ("new_mean", DataType::Float32), ("new_var", DataType::Float32)];

#[test]
fn resampling_from_the_corner() {
    const SHAPE: &[usize] = &[1, 2, 4, 5];
    let up = [1.0f32, 1.0, 2.0, 1.5];
    let down = [1.0f32, 1.0, 0.6, 0.5];
    for mode in ["nearest", "linear"] {
        for version in [7, 8] {
            let node = x("Upsample").attribute("mode", mode).attribute("scales", &up[..]);
            old(SHAPE, node).check(version);
        }
        let scaled = |operator, scales: &[f32]| {
            let node = Node::new(operator, &["x", "scales"]).attribute("mode", mode);
            old(SHAPE, node).weight("scales", vector(scales))
        };
        scaled("Upsample", &up).check(9);
        scaled("Resize", &up).check(10);
        scaled("Resize", &down).check(10);
    }
}

#[test]
fn resizing_with_empty_regions_and_scales() {
    const SHAPE: &[usize] = &[1, 1, 4, 5];
    let resize = |mode: &str, coordinates: &str, nearest: &str| {
        Node::new("Resize", &["x", "roi", "scales", "sizes"])
            .attribute("mode", mode)
            .attribute("coordinate_transformation_mode", coordinates)
            .attribute("nearest_mode", nearest)
    };
    let by_sizes = |node: Node, height: i64, width: i64| {
        old(SHAPE, node)
            .weight("roi", vector(&[]))
            .weight("scales", vector(&[]))
            .weight("sizes", ints(&[4], &[1, 1, height, width]))
    };
    for (height, width) in [(8, 7), (3, 9), (2, 2)] {
        for version in [11, 12] {
            for coordinates in ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"] {
                let node = resize("linear", coordinates, "floor");
                by_sizes(node, height, width).check(version);
                let node = resize("nearest", coordinates, "round_prefer_ceil");
                by_sizes(node, height, width).check(version);
            }
            let node = resize("nearest", "tf_half_pixel_for_nn", "floor");
            by_sizes(node, height, width).check(version);
        }
    }
    let scaled = Node::new("Resize", &["x", "roi", "scales"]).attribute("mode", "cubic");
    let scaled = old(SHAPE, scaled).weight("roi", vector(&[]));
    scaled.weight("scales", vector(&[1.0, 1.0, 2.0, 2.0])).check(11);
    let regions = Node::new("Resize", &["x", "roi", "scales"])
        .attribute("mode", "linear")
        .attribute("coordinate_transformation_mode", "tf_crop_and_resize");
    let roi = [0.0, 0.0, 0.2, 0.1, 1.0, 1.0, 0.8, 0.9];
    let regions = old(SHAPE, regions).weight("roi", vector(&roi));
    regions.weight("scales", vector(&[1.0, 1.0, 0.8, 0.6])).check(12);
}

#[test]
fn what_has_a_new_name_or_default() {
    let scatter = Node::new("Scatter", &["x", "places", "values"]).attribute("axis", 1);
    let places = ints(&[1, 2], &[3, 0]);
    let values = random(&[1, 2], 5.0, 6.0);
    old(&[1, 4], scatter).weight("places", places).weight("values", values).check(9);
    let align = Node::new("RoiAlign", &["x", "rois", "batches"])
        .attribute("output_height", 2)
        .attribute("output_width", 2)
        .attribute("spatial_scale", 0.5f32);
    let rois = random(&[2, 4], 0.0, 8.0);
    old(&[1, 2, 6, 6], align).weight("rois", rois).weight("batches", ints(&[2], &[0, 0])).check(10);
}
