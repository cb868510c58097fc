//! LSTM: gates i, o, f and the candidate, in this order.

use super::Outputs;
use super::pieces::{split, split_equally};
use super::recurrence::{Cell, Direction, Kind, project, unroll};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;

const KIND: Kind = Kind { states: 2, activations: &["Sigmoid", "Tanh", "Tanh"], cell };

pub(super) fn lstm<'g>(c: &Call<'g, '_>) -> Result<Outputs<'g>, String> {
    unroll(c, &KIND)
}

/// `memory = f·memory + i·candidate`, `output = o·tanh(memory)`, where the memory may look into the
/// gates through peepholes, and `f` may be what `i` leaves.
fn cell<'g>(c: &Call<'g, '_>, direction: Direction<'g>) -> Cell<'g> {
    let bias = direction.biases.map(|[of_input, of_state]| of_input + of_state);
    let peepholes = direction.part(c, 7).map(|all| split_equally(all, 0, 3));
    let coupled = c.int("input_forget", 0) != 0;
    let hidden = direction.hidden;
    let step = move |x: Expr<'g>, state: &[Expr<'g>]| {
        let (output, memory) = (state[0], state[1]);
        let gates = project(output, direction.recurrent, Some(x));
        // The three gates are one value until they are needed apart.
        let parts = split(gates, 1, &[3 * hidden, hidden]);
        let candidate = direction.activate(1, parts[1]);
        let gate = |part: Expr<'g>| direction.activate(0, part);
        let remember = |i: Expr<'g>, f: &dyn Fn() -> Expr<'g>| {
            let f = if coupled { 1.0 - i } else { f() };
            f * memory + i * candidate
        };
        let (o, memory) = match &peepholes {
            None => {
                let iof = split_equally(gate(parts[0]), 1, 3);
                (iof[1], remember(iof[0], &|| iof[2]))
            }
            Some(peepholes) => {
                let iof = split_equally(parts[0], 1, 3);
                let i = gate(iof[0] + peepholes[0] * memory);
                let next = remember(i, &|| gate(iof[2] + peepholes[2] * memory));
                (gate(iof[1] + peepholes[1] * next), next)
            }
        };
        vec![o * direction.activations[2].apply(memory), memory]
    };
    Cell { bias, step: Box::new(step) }
}
