//! Attributes that have become inputs.

use super::place::{Place, take};
use crate::onnx::OnnxError;
use crate::onnx::build::Node;
use crate::onnx::proto::NodeProto;

pub(super) fn axes(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    list(node, place, "axes");
    Ok(())
}

pub(super) fn split(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    list(node, place, "split");
    Ok(())
}

/// Makes a list of numbers the next input; one that is left out is left out there too.
fn list(node: &mut NodeProto, place: &mut Place<'_>, name: &str) {
    if let Some(attribute) = take(node, name) {
        node.input.push(place.integers(name, &attribute.ints));
    }
}

/// Axes that are left out are the first ones, as many as there are starts: the newer form would
/// have them be all.
pub(super) fn slice(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    let (Some(starts), Some(ends)) = (take(node, "starts"), take(node, "ends")) else {
        return Err(OnnxError::node(node, "it lacks its starts or ends"));
    };
    let axes = match take(node, "axes") {
        Some(axes) => axes.ints,
        None => (0i64..).take(starts.ints.len()).collect(),
    };
    for (name, values) in [("starts", starts.ints), ("ends", ends.ints), ("axes", axes)] {
        node.input.push(place.integers(name, &values));
    }
    Ok(())
}

pub(super) fn top_k(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    if let Some(count) = take(node, "k") {
        node.input.push(place.integers("k", &[count.i()]));
    }
    Ok(())
}

/// A bound that is left out was the largest 32-bit number, and none is now: the same.
pub(super) fn clip(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    let x = node.input.first().cloned().unwrap_or_default();
    let bounds = ["min", "max"].map(|name| {
        take(node, name).map_or_else(String::new, |bound| place.float_like(name, bound.f(), &x))
    });
    node.input.extend(bounds);
    trim(node);
    Ok(())
}

pub(super) fn pad(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    let Some(pads) = take(node, "pads") else {
        return Err(OnnxError::node(node, "it lacks its pads"));
    };
    let x = node.input.first().cloned().unwrap_or_default();
    node.input.push(place.integers("pads", &pads.ints));
    let value = take(node, "value").map_or(0.0, |value| value.f());
    if value != 0.0 {
        node.input.push(place.float_like("value", value, &x));
    }
    Ok(())
}

/// The share that is dropped counts in training only. The mask was a number before version 10.
pub(super) fn dropout(node: &mut NodeProto, place: &mut Place<'_>) -> Result<(), OnnxError> {
    if let Some(ratio) = take(node, "ratio") {
        node.input.push(place.float("ratio", ratio.f()));
    }
    let mask = node.output.get(1).filter(|name| !name.is_empty()).cloned();
    if let (Some(mask), true) = (mask, place.version < 10) {
        let bools = place.fresh("mask");
        let x = node.input.first().cloned().unwrap_or_default();
        let cast = Node::new("CastLike", &[&bools, &x]);
        place.after("mask_cast", cast, &mask);
        node.output[1] = bools;
    }
    Ok(())
}

/// Drops inputs at the end that are left out.
pub(super) fn trim(node: &mut NodeProto) {
    while node.input.last().is_some_and(String::is_empty) {
        node.input.pop();
    }
}
