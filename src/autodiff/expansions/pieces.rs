//! Values cut into pieces along an axis.

use crate::autodiff::expr::Expr;

/// Pieces of these sizes.
pub(super) fn split<'g>(value: Expr<'g>, axis: i64, sizes: &[i64]) -> Vec<Expr<'g>> {
    if sizes.len() == 1 {
        return vec![value];
    }
    let emitter = value.emitter();
    let types = vec![value.data_type(); sizes.len()];
    let inputs = [Some(value), Some(emitter.ints(sizes))];
    emitter.call("Split", &inputs, vec![("axis", axis.into())], &types)
}

/// So many pieces of one size, which need not be known.
pub(super) fn split_equally(value: Expr<'_>, axis: i64, count: usize) -> Vec<Expr<'_>> {
    if count == 1 {
        return vec![value];
    }
    let emitter = value.emitter();
    let types = vec![value.data_type(); count];
    let mut attributes = vec![("axis", axis.into())];
    // Before version 18 the number of outputs says it.
    if emitter.opset() >= 18 {
        attributes.push(("num_outputs", (count as i64).into()));
    }
    emitter.call("Split", &[Some(value)], attributes, &types)
}
