//! From the operators of older versions to those of version 17: every operator by its own changes,
//! in subgraphs too. What comes after knows one form of each.
//!
//! Reading order: this file (the table of changes, and the walk), `place` (what is known at a node,
//! and how it is changed), then the changes by family: `arguments` (attributes that have become
//! inputs), `normalization` (softmax and batch normalisation), `resampling`.

mod arguments;
mod normalization;
mod place;
mod resampling;

use self::place::{Place, Scope};
use super::OnnxError;
use super::graph::{canonical_domain, operators_version, subgraphs_mut};
use super::inline::inline;
use super::names::Names;
use super::proto::{GraphProto, ModelProto, NodeProto};

/// The oldest operators that are understood. Before them binary operators broadcast by attributes.
pub const OLDEST_OPERATORS: i64 = 7;

/// What older operators are raised to; newer ones stay as they are.
pub const RAISED_OPERATORS: i64 = 17;

/// The newest operators whose changes have been looked at: those of ONNX 1.23.
pub const NEWEST_OPERATORS: i64 = 28;

type Change = fn(&mut NodeProto, &mut Place<'_>) -> Result<(), OnnxError>;

/// Operator, the version from which on it is otherwise, and what makes an older one such. Of one
/// operator the oldest change comes first.
///
/// What is not here has not changed in meaning: it takes more types, counts axes from the end,
/// or has an attribute more whose default is what it did before. `OneHot` is among them: before
/// version 11 a negative index was off the scale, but engines have never made that difference.
const CHANGES: &[(&str, i64, Change)] = &[
    ("BatchNormalization", 9, normalization::spatial),
    ("BatchNormalization", 14, normalization::training_mode),
    ("Clip", 11, arguments::clip),
    ("Dropout", 12, arguments::dropout),
    ("Hardmax", 13, normalization::one_axis),
    ("LogSoftmax", 13, normalization::one_axis),
    ("Pad", 11, arguments::pad),
    ("ReduceSum", 13, arguments::axes),
    ("Resize", 11, resampling::resize),
    ("Resize", 13, resampling::regions),
    ("RoiAlign", 16, resampling::roi_align),
    ("Scan", 9, batched_scan),
    ("Scatter", 11, scatter),
    ("Slice", 10, arguments::slice),
    ("Softmax", 13, normalization::one_axis),
    ("Split", 13, arguments::split),
    ("Squeeze", 13, arguments::axes),
    ("TopK", 10, arguments::top_k),
    ("Unsqueeze", 13, arguments::axes),
    ("Upsample", 10, resampling::upsample),
];

/// Raises ONNX's own operators to version 17, having inlined functions. A model of newer ones stays
/// as it is.
///
/// # Errors
/// The version is below 7 or beyond what is known, or a node has no equivalent.
pub fn upgrade(model: &mut ModelProto) -> Result<(), OnnxError> {
    let Some(version) = operators_version(&model.opset_import) else { return Ok(()) };
    if !(OLDEST_OPERATORS..=NEWEST_OPERATORS).contains(&version) {
        let (oldest, newest) = (OLDEST_OPERATORS, NEWEST_OPERATORS);
        return Err(OnnxError::OperatorsUnknown { version, oldest, newest });
    }
    if version >= RAISED_OPERATORS {
        return Ok(());
    }
    inline(model)?;
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let mut names = Names::of(graph);
    raise(graph, version, &mut names, &Scope::default())?;
    for set in &mut model.opset_import {
        if canonical_domain(set.domain()).is_empty() {
            set.version = Some(RAISED_OPERATORS);
        }
    }
    Ok(())
}

fn raise(
    graph: &mut GraphProto,
    version: i64,
    names: &mut Names,
    outer: &Scope<'_>,
) -> Result<(), OnnxError> {
    let scope = outer.of(graph);
    let mut raised = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        subgraphs_mut(&mut node).try_for_each(|graph| raise(graph, version, names, &scope))?;
        if !canonical_domain(node.domain()).is_empty() {
            raised.push(node);
            continue;
        }
        let mut place = Place::new(version, &node, names, &scope);
        let operator = node.op_type().to_owned();
        let changes =
            CHANGES.iter().filter(|(name, since, _)| *name == operator && version < *since);
        changes.into_iter().try_for_each(|(_, _, change)| change(&mut node, &mut place))?;
        let (before, after) = place.into_nodes();
        raised.extend(before);
        raised.push(node);
        raised.extend(after);
    }
    graph.node = raised;
    Ok(())
}

fn batched_scan(node: &mut NodeProto, _: &mut Place<'_>) -> Result<(), OnnxError> {
    Err(OnnxError::node(node, "the batched form of version 8, which has no equivalent"))
}

/// The same under a new name.
fn scatter(node: &mut NodeProto, _: &mut Place<'_>) -> Result<(), OnnxError> {
    node.op_type = Some("ScatterElements".to_owned());
    Ok(())
}

#[cfg(test)]
mod tests;
