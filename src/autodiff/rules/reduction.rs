//! Sums, means and extremes over axes.

use super::{Entry, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;

pub(super) const RULES: &[Entry] = &[exact("ReduceSum", |c| vec![Some(spread(c, c.gradient()))])];

/// A value of the output's shape, repeated to the input's.
fn spread<'g>(c: &Call<'g, '_>, value: Expr<'g>) -> Expr<'g> {
    kept(c, value).expand(c.input_shape(0))
}

/// A value of the output's shape with the reduced axes put back as ones.
fn kept<'g>(c: &Call<'g, '_>, value: Expr<'g>) -> Expr<'g> {
    match c.reduced_axes() {
        Some(axes) if c.int("keepdims", 1) == 0 => value.unsqueeze(&axes),
        _ => value,
    }
}
