//! Softmax and its kin, and batch normalisation.

use super::place::{Place, set, take};
use crate::onnx::OnnxError;
use crate::onnx::build::Node;
use crate::onnx::graph::attribute;
use crate::onnx::proto::NodeProto;

/// `Softmax`, `LogSoftmax` and `Hardmax` worked on a matrix: all axes from the given one on
/// together. That is one axis where it is the last; else the matrix is made and undone.
pub(super) fn one_axis(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    let axis = attribute(node, "axis").map_or(1, |axis| axis.i());
    let (Some(x), Some(y)) = (node.input.first().cloned(), node.output.first().cloned()) else {
        return Err(OnnxError::node(node, "it lacks its input or output"));
    };
    // Both have the same rank.
    let rank = place.rank(&x).or_else(|| place.rank(&y));
    let is_last = axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64);
    if is_last {
        set(node, "axis", axis);
        return Ok(());
    }
    let shape = place.before("shape", Node::new("Shape", &[&x]));
    let matrix = place.before("matrix", Node::new("Flatten", &[&x]).attribute("axis", axis));
    let result = place.fresh("result");
    node.input[0] = matrix;
    node.output[0].clone_from(&result);
    set(node, "axis", -1i64);
    // A zero in the shape is an empty axis, not one to be copied.
    let restored = Node::new("Reshape", &[&result, &shape]).attribute("allowzero", 1i64);
    place.after("restored", restored, &y);
    Ok(())
}

pub(super) fn spatial(node: &mut NodeProto, _: &mut Place<'_>) -> Result<(), OnnxError> {
    match take(node, "spatial") {
        Some(spatial) if spatial.i() == 0 => {
            let reason = "statistics for every element (spatial is 0) have no equivalent";
            Err(OnnxError::node(node, reason))
        }
        _ => Ok(()),
    }
}

/// That statistics are outputs was what said that they are of the batch. Saved ones were a hint for
/// a backward pass that no longer gets it.
pub(super) fn training_mode(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    if node.output.iter().skip(1).all(String::is_empty) {
        node.output.truncate(1);
        return Ok(());
    }
    let saved = node.output.iter().skip(3);
    if let Some(saved) = saved.filter(|name| !name.is_empty()).find(|name| place.is_read(name)) {
        let reason = format!("its saved statistics {saved:?} are read, which have no equivalent");
        return Err(OnnxError::node(node, reason));
    }
    node.output.truncate(3);
    while node.output.len() < 3 {
        node.output.push(String::new());
    }
    for (index, part) in [(1, "running_mean"), (2, "running_var")] {
        if node.output[index].is_empty() {
            node.output[index] = place.fresh(part);
        }
    }
    set(node, "training_mode", 1i64);
    Ok(())
}
