//! Elements written over or added to others by their places.

use super::indexing::whole_places;
use super::{Condition, Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::onnx::build::AttributeValue;
use crate::onnx::graph::attribute;

pub(super) const RULES: &[Entry] = &[
    exact("ScatterElements", scatter_elements).unless(MULTIPLIES),
    exact("ScatterND", scatter_nd).unless(MULTIPLIES),
];

const MULTIPLIES: Condition = |node| {
    let reduction = attribute(node, "reduction").and_then(|reduction| reduction.s.as_deref());
    match reduction {
        None | Some(b"none" | b"add") => None,
        Some(_) => Some("of its reductions only \"none\" and \"add\" are differentiated"),
    }
};

/// What was written over gets nothing.
fn scatter_elements<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, places) = (c.gradient(), c.input(1));
    let axis = || vec![("axis", AttributeValue::Int(c.int("axis", 0)))];
    let updates = g.call_with("GatherElements", &[places], axis());
    let data = match c.text("reduction", "none").as_str() {
        "add" => g,
        _ => g.call_with("ScatterElements", &[places, c.zeros_like_input(2)], axis()),
    };
    vec![Some(data), None, Some(updates)]
}

fn scatter_nd<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, places) = (c.gradient(), whole_places(c));
    let updates = g.call("GatherND", &[places]);
    let data = match c.text("reduction", "none").as_str() {
        "add" => g,
        _ => g.call("ScatterND", &[places, c.zeros_like_input(2)]),
    };
    vec![Some(data), None, Some(updates)]
}
