//! GRU: the gates z and r, then the candidate.

use super::Outputs;
use super::pieces::{split, split_equally};
use super::recurrence::{Cell, Direction, Kind, project, unroll};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;

const KIND: Kind = Kind { states: 1, activations: &["Sigmoid", "Tanh"], cell };

pub(super) fn gru<'g>(c: &Call<'g, '_>) -> Result<Outputs<'g>, String> {
    unroll(c, &KIND)
}

/// `output = (1 - z)·candidate + z·output`. The candidate reads the output behind the gate `r`,
/// which stands before or behind the product with the weights.
fn cell<'g>(c: &Call<'g, '_>, direction: Direction<'g>) -> Cell<'g> {
    match c.int("linear_before_reset", 0) {
        0 => reset_first(direction),
        _ => reset_last(direction),
    }
}

fn reset_first(direction: Direction<'_>) -> Cell<'_> {
    let hidden = direction.hidden;
    let bias = direction.biases.map(|[of_input, of_state]| of_input + of_state);
    let weights = split(direction.recurrent, 0, &[2 * hidden, hidden]);
    let step = move |x, state: &[_]| {
        let (x, output) = (split(x, 1, &[2 * hidden, hidden]), state[0]);
        let zr = direction.activate(0, project(output, weights[0], Some(x[0])));
        let zr = split_equally(zr, 1, 2);
        let candidate = project(zr[1] * output, weights[1], Some(x[1]));
        vec![mixed(zr[0], output, direction.activate(1, candidate))]
    };
    Cell { bias, step: Box::new(step) }
}

fn reset_last(direction: Direction<'_>) -> Cell<'_> {
    let hidden = direction.hidden;
    let biases = direction.biases;
    let step = move |x, state: &[_]| {
        let (x, output) = (split(x, 1, &[2 * hidden, hidden]), state[0]);
        let read = project(output, direction.recurrent, biases.map(|[_, of_state]| of_state));
        let read = split(read, 1, &[2 * hidden, hidden]);
        let zr = split_equally(direction.activate(0, x[0] + read[0]), 1, 2);
        let candidate = direction.activate(1, x[1] + zr[1] * read[1]);
        vec![mixed(zr[0], output, candidate)]
    };
    Cell { bias: biases.map(|[of_input, _]| of_input), step: Box::new(step) }
}

fn mixed<'g>(z: Expr<'g>, before: Expr<'g>, candidate: Expr<'g>) -> Expr<'g> {
    candidate + z * (before - candidate)
}
