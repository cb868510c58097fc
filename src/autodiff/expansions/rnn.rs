//! The plain recurrence: `output = tanh(W·x + R·output + b)`.

use super::Outputs;
use super::recurrence::{Cell, Direction, Kind, project, unroll};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;

const KIND: Kind = Kind { states: 1, activations: &["Tanh"], cell };

pub(super) fn rnn<'g>(c: &Call<'g, '_>) -> Result<Outputs<'g>, String> {
    unroll(c, &KIND)
}

fn cell<'g>(_: &Call<'g, '_>, direction: Direction<'g>) -> Cell<'g> {
    let bias = direction.biases.map(|[of_input, of_state]| of_input + of_state);
    let step = move |x: Expr<'g>, state: &[Expr<'g>]| {
        vec![direction.activate(0, project(state[0], direction.recurrent, Some(x)))]
    };
    Cell { bias, step: Box::new(step) }
}
