//! What chooses between values, what converts them, and what only compares.

use super::{Entry, Gradients, broadcast, exact, zero};
use crate::autodiff::call::Call;

pub(super) const RULES: &[Entry] = &[
    broadcast("Where", |c| {
        let (g, condition) = (c.gradient(), c.input(0));
        vec![None, Some(condition.select(g, 0.0)), Some(condition.zero_or(g))]
    }),
    broadcast("Max", shared_by_equals),
    broadcast("Min", shared_by_equals),
    broadcast("Clip", clip),
    exact("Cast", |c| vec![Some(c.gradient().cast(c.input(0).data_type()))]),
    exact("CastLike", |c| vec![Some(c.gradient().cast(c.input(0).data_type()))]),
    zero("Equal"),
    zero("Less"),
    zero("LessOrEqual"),
    zero("Greater"),
    zero("GreaterOrEqual"),
    zero("And"),
    zero("Or"),
    zero("Xor"),
    zero("Not"),
    zero("BitwiseAnd"),
    zero("BitwiseOr"),
    zero("BitwiseXor"),
    zero("BitwiseNot"),
    zero("BitShift"),
];

/// The inputs that are the extreme have equal shares.
fn shared_by_equals<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, y) = (c.gradient(), c.output(0));
    let inputs = (0..c.input_count()).map(|index| c.input(index));
    let chosen: Vec<_> = inputs.map(|x| x.equals(y).cast(g.data_type())).collect();
    let count = chosen[0].call("Sum", &chosen[1..]);
    chosen.into_iter().map(|chosen| Some(g * chosen / count)).collect()
}

/// The bounds themselves pass the gradient on to the input; outside, it goes to the bound. A
/// minimum that is above the maximum counts for nothing.
fn clip<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x) = (c.gradient(), c.input(0));
    match (c.optional_input(1), c.optional_input(2)) {
        (None, None) => vec![Some(g)],
        (Some(low), None) => {
            vec![Some(x.greater_or_equal(low).gate(g)), Some(x.less(low).gate(g))]
        }
        (None, Some(high)) => {
            vec![Some(x.less_or_equal(high).gate(g)), None, Some(x.greater(high).gate(g))]
        }
        (Some(low), Some(high)) => {
            let inside = x.greater_or_equal(low).and(x.less_or_equal(high));
            let below = x.less(low).and(low.less_or_equal(high));
            let above = x.call("Max", &[low]).greater(high);
            vec![Some(inside.gate(g)), Some(below.gate(g)), Some(above.gate(g))]
        }
    }
}
