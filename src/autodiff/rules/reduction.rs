//! Sums, means, extremes and norms over axes, and running sums.
//!
//! Over no axes at all, these are functions of each element, and the rules hold for that too.

use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::tensor::DataType;

pub(super) const RULES: &[Entry] = &[
    exact("ReduceSum", |c| vec![Some(repeated(c, kept(c, c.gradient())))]),
    exact("ReduceMean", |c| vec![Some(repeated(c, kept(c, c.gradient() / count(c))))]),
    exact("ReduceMax", shared_by_equals),
    exact("ReduceMin", shared_by_equals),
    exact("ReduceProd", product),
    exact("ReduceL1", |c| vec![Some(kept(c, c.gradient()) * c.input(0).sign())]),
    exact("ReduceL2", |c| {
        let (g, y) = (kept(c, c.gradient()), kept(c, c.output(0)));
        vec![Some(y.equals(0.0).zero_or(g / y) * c.input(0))]
    }),
    exact("ReduceLogSum", |c| {
        let sum = over_the_same_axes(c, "ReduceSum", c.input(0));
        vec![Some(repeated(c, kept(c, c.gradient()) / sum))]
    }),
    exact("ReduceLogSumExp", |c| {
        let (g, y) = (kept(c, c.gradient()), kept(c, c.output(0)));
        vec![Some(g * (c.input(0) - y).exp())]
    }),
    exact("ReduceSumSquare", |c| vec![Some(2.0 * kept(c, c.gradient()) * c.input(0))]),
    exact("CumSum", running_sum),
];

/// The elements that are the extreme have equal shares.
fn shared_by_equals<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, y) = (kept(c, c.gradient()), kept(c, c.output(0)));
    let chosen = c.input(0).equals(y).cast(g.data_type());
    vec![Some(g / over_the_same_axes(c, "ReduceSum", chosen) * chosen)]
}

/// The product of all others: none of them may be zero, but the element itself may.
fn product<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x) = (kept(c, c.gradient()), c.input(0));
    let is_zero = x.equals(0.0).cast(x.data_type());
    // Ones for the zeros: their product is that of the others where one element is zero.
    let nonzero = x + is_zero;
    let product = over_the_same_axes(c, "ReduceProd", nonzero);
    let zeros = over_the_same_axes(c, "ReduceSum", is_zero);
    let no_other_zero = zeros.equals(is_zero);
    vec![Some(no_other_zero.gate(g * product / nonzero))]
}

/// The same sum from the other end.
fn running_sum<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let attributes = vec![
        ("exclusive", c.int("exclusive", 0).into()),
        ("reverse", (1 - c.int("reverse", 0)).into()),
    ];
    vec![Some(c.gradient().call_with("CumSum", &[c.input(1)], attributes))]
}

/// A value of the output's shape with the reduced axes put back as ones.
fn kept<'g>(c: &Call<'g, '_>, value: Expr<'g>) -> Expr<'g> {
    if c.int("keepdims", 1) == 1 {
        return value;
    }
    match c.reduced_axes() {
        Some(axes) => value.unsqueeze(&axes),
        None => value.call("Unsqueeze", &[c.input(1)]),
    }
}

/// A value with ones for the reduced axes, repeated to the input's shape.
fn repeated<'g>(c: &Call<'g, '_>, value: Expr<'g>) -> Expr<'g> {
    value.expand(c.input_shape(0))
}

/// Another reduction of a value of the input's shape; the axes stay as ones.
fn over_the_same_axes<'g>(c: &Call<'g, '_>, operator: &str, value: Expr<'g>) -> Expr<'g> {
    match c.reduced_axes() {
        Some(axes) => value.reduce(operator, &axes, true),
        // Axes that are computed: an input in all operators that this rule is for.
        None => {
            let none = c.int("noop_with_empty_axes", 0).into();
            value.call_with(operator, &[c.input(1)], vec![("noop_with_empty_axes", none)])
        }
    }
}

/// How many elements of the input come together in one of the output's.
fn count<'g>(c: &Call<'g, '_>) -> Expr<'g> {
    let x = c.input(0);
    let size = |value: Expr<'g>| {
        value.call_typed("Size", &[], vec![], DataType::Int64).cast(x.data_type())
    };
    match c.reduced_axes() {
        Some(axes) => c.input_size_over(0, &axes),
        None => size(x) / size(c.output(0)),
    }
}
