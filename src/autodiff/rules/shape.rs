//! Other shapes and other orders of the same elements, and repetitions of them.

use super::{Entry, Gradients, broadcast, exact};
use crate::autodiff::call::Call;
use crate::onnx::build::AttributeValue;
use crate::onnx::graph::attribute;
use crate::onnx::proto::NodeProto;
use crate::tensor::Dimension;

pub(super) const RULES: &[Entry] = &[
    exact("Reshape", |c| vec![Some(c.in_input_shape(c.gradient(), 0))]),
    exact("Flatten", |c| vec![Some(c.in_input_shape(c.gradient(), 0))]),
    exact("Squeeze", squeeze),
    exact("Unsqueeze", unsqueeze),
    exact("Transpose", transpose),
    broadcast("Expand", |c| vec![Some(c.gradient())]),
    exact("Tile", tile),
    exact("DepthToSpace", depth_to_space)
        .unless_known(|c| (is_crd(c.node()) && blocks(c).is_none()).then_some(OPEN_DEPTH)),
    exact("SpaceToDepth", |c| {
        let size = vec![("blocksize", AttributeValue::Int(c.int("blocksize", 1)))];
        vec![Some(c.gradient().call_with("DepthToSpace", &[], size))]
    })
    .unless(|node| is_crd(node).then_some("only the mode \"DCR\" is differentiated")),
];

const OPEN_DEPTH: &str = "how many channels its input has is not known";

fn squeeze<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let rank = c.input_rank(0);
    let axes: Option<Vec<i64>> = match c.optional_input(1) {
        Some(_) => c.constant_ints(1).map(|axes| from_front(c, &axes, rank)),
        None => {
            let dimensions = c.input_dimensions(0).iter().enumerate();
            let ones = dimensions.filter(|(_, dimension)| **dimension == Dimension::Fixed(1));
            Some(ones.map(|(axis, _)| axis as i64).collect())
        }
    };
    let axes = axes.filter(|axes| axes.len() + c.output_rank(0) == rank);
    vec![Some(match axes {
        Some(axes) => c.gradient().unsqueeze(&axes),
        None => c.in_input_shape(c.gradient(), 0),
    })]
}

fn unsqueeze<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    vec![Some(match c.constant_ints(1) {
        Some(axes) => c.gradient().squeeze(&from_front(c, &axes, c.output_rank(0))),
        None => c.in_input_shape(c.gradient(), 0),
    })]
}

fn from_front(c: &Call, axes: &[i64], rank: usize) -> Vec<i64> {
    let mut axes: Vec<i64> = axes.iter().map(|&axis| c.axis(axis, rank)).collect();
    axes.sort_unstable();
    axes
}

fn transpose<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let rank = c.input_rank(0);
    let order = c.ints("perm").unwrap_or_else(|| (0..rank as i64).rev().collect());
    let mut back = vec![0; rank];
    for (place, &axis) in order.iter().enumerate() {
        back[axis as usize] = place as i64;
    }
    vec![Some(c.gradient().transpose(&back))]
}

/// Each repeated axis is split into repetitions and places, and summed over the repetitions.
fn tile<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, rank) = (c.gradient(), c.input_rank(0));
    let sizes = c.input_sizes_but_one(0);
    if let (Some(repeats), Some(sizes)) = (c.constant_ints(1), sizes) {
        let mut split = Vec::new();
        let mut repetitions = Vec::new();
        for (&repeats, &size) in repeats.iter().zip(&sizes) {
            if repeats != 1 {
                repetitions.push(split.len() as i64);
                split.push(repeats);
            }
            split.push(size);
        }
        if !split.contains(&0) || !split.contains(&-1) {
            return vec![Some(g.reshape_to(&split).sum(&repetitions, false))];
        }
    }
    let columns = [c.input(1).unsqueeze(&[1]), c.input_shape(0).unsqueeze(&[1])];
    let split = columns[0].call_with("Concat", &columns[1..], vec![("axis", 1.into())]);
    let split = split.reshape(c.emitter().ints(&[-1]));
    let repetitions: Vec<i64> = (0..rank as i64).map(|axis| 2 * axis).collect();
    vec![Some(g.reshape_exactly(split).sum(&repetitions, false))]
}

fn is_crd(node: &NodeProto) -> bool {
    attribute(node, "mode").and_then(|mode| mode.s.as_deref()) == Some(&b"CRD"[..])
}

/// Channels of the output, and elements in a block.
fn blocks(c: &Call) -> Option<(i64, i64)> {
    let size = c.int("blocksize", 1);
    let depth = c.input_size(0, 1).known()?;
    Some((depth / (size * size), size * size))
}

fn depth_to_space<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let size = vec![("blocksize", AttributeValue::Int(c.int("blocksize", 1)))];
    let g = c.gradient().call_with("SpaceToDepth", &[], size);
    if !is_crd(c.node()) {
        return vec![Some(g)];
    }
    // Back come the places in the block before the channels; they belong behind them.
    let (depth, places) = blocks(c).expect("looked at before the walk");
    let split = match c.input_sizes(0) {
        Some(sizes) => g.reshape_to(&[sizes[0], places, depth, sizes[2] * sizes[3]]),
        None => g.reshape(c.emitter().ints(&[0, places, depth, -1])),
    };
    vec![Some(c.in_input_shape(split.transpose(&[0, 2, 1, 3]), 0))]
}
