//! What passes its input on.

use super::{Entry, Gradients, exact, zero};
use crate::autodiff::call::Call;

pub(super) const RULES: &[Entry] = &[
    exact("Identity", |c| vec![Some(c.gradient())]),
    exact("Dropout", dropout).unless_known(|c| {
        let has_mask = c.has_output(1) || !may_drop(c);
        (!has_mask).then_some("it drops at random, and has no output that says what")
    }),
    // It reads a shape alone.
    zero("onnxd.DropoutMask"),
];

/// What was dropped gets nothing, what was kept is as much larger as it was made.
fn dropout<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let g = c.gradient();
    if !may_drop(c) {
        return vec![Some(g)];
    }
    let kept = match c.optional_input(1) {
        Some(ratio) => 1.0 - ratio.cast(g.data_type()),
        None => g.number(0.5),
    };
    let dropped = c.output(1).select(g / kept, 0.0);
    match training(c) {
        Some(_) => vec![Some(dropped)],
        None => vec![Some(c.input(2).select(dropped, g))],
    }
}

/// Whether it is in training; `None` where only a run will tell.
fn training(c: &Call) -> Option<bool> {
    match c.optional_input(2) {
        None => Some(false),
        Some(_) => c.constant(2)?.bytes().map(|bytes| bytes.iter().any(|&byte| byte != 0)),
    }
}

fn may_drop(c: &Call) -> bool {
    training(c) != Some(false)
}
