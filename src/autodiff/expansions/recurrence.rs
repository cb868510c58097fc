//! What LSTM, GRU and RNN share: directions, the projection of all inputs at once, the loop over
//! the steps, sequences that end early, and the outputs. A cell is one step of one direction.

use super::Outputs;
use super::cell_activation::{Activation, activations};
use super::pieces::split_equally;
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::tensor::{DataType, Dimension};

/// Steps of all directions together: each is a dozen nodes.
pub(super) const MAX_STEPS: usize = 1024;

/// What the operators differ in.
pub(super) struct Kind {
    /// Values that go from step to step; the first is the output.
    pub states: usize,
    /// Of one direction, where the node names none.
    pub activations: &'static [&'static str],
    pub cell: for<'g, 'n> fn(&Call<'g, 'n>, Direction<'g>) -> Cell<'g>,
}

/// The weights and settings of one direction.
pub(super) struct Direction<'g> {
    /// Which of them, and of how many.
    place: (usize, usize),
    pub hidden: i64,
    /// `[gates·hidden, hidden]`.
    pub recurrent: Expr<'g>,
    /// Those of the input and of the state, `[gates·hidden]` each.
    pub biases: Option<[Expr<'g>; 2]>,
    pub activations: Vec<Activation>,
    clip: Option<f64>,
}

/// One step.
pub(super) struct Cell<'g> {
    /// Added to the projected inputs.
    pub bias: Option<Expr<'g>>,
    pub step: Step<'g>,
}

/// From the projected input `[batch, gates·hidden]` and the state before to the state after.
pub(super) type Step<'g> = Box<dyn Fn(Expr<'g>, &[Expr<'g>]) -> Vec<Expr<'g>> + 'g>;

impl<'g> Direction<'g> {
    /// This direction's part of an input.
    pub fn part(&self, c: &Call<'g, '_>, input: usize) -> Option<Expr<'g>> {
        let (direction, directions) = self.place;
        c.optional_input(input).map(|whole| part(whole, direction, directions))
    }

    /// The activation of that number.
    pub fn activate(&self, activation: usize, x: Expr<'g>) -> Expr<'g> {
        self.activations[activation].apply(self.clipped(x))
    }

    fn clipped(&self, x: Expr<'g>) -> Expr<'g> {
        match self.clip {
            Some(bound) => x.call("Clip", &[x.number(-bound), x.number(bound)]),
            None => x,
        }
    }
}

/// `a·bᵀ + c`.
pub(super) fn project<'g>(a: Expr<'g>, b: Expr<'g>, c: Option<Expr<'g>>) -> Expr<'g> {
    let others: Vec<Expr> = std::iter::once(b).chain(c).collect();
    a.call_with("Gemm", &others, vec![("transB", 1.into())])
}

fn part(whole: Expr<'_>, direction: usize, directions: usize) -> Expr<'_> {
    split_equally(whole, 0, directions)[direction].squeeze(&[0])
}

/// A node, looked over.
struct Recurrence<'c, 'g, 'n> {
    c: &'c Call<'g, 'n>,
    kind: &'c Kind,
    steps: usize,
    /// Per direction: whether it goes from the end to the beginning.
    reversed: Vec<bool>,
    batch_first: bool,
    hidden: i64,
    activations: Vec<Activation>,
}

/// What one direction makes.
struct Track<'g> {
    /// By time.
    outputs: Vec<Expr<'g>>,
    /// Behind the last step.
    states: Vec<Expr<'g>>,
}

/// Writes the node out, step by step.
pub(super) fn unroll<'g>(c: &Call<'g, '_>, kind: &Kind) -> Result<Outputs<'g>, String> {
    let recurrence = look_over(c, kind)?;
    let x = recurrence.rows();
    let tracks: Vec<Track> =
        (0..recurrence.reversed.len()).map(|direction| recurrence.track(x, direction)).collect();
    Ok(recurrence.outputs(&tracks))
}

fn look_over<'c, 'g, 'n>(
    c: &'c Call<'g, 'n>,
    kind: &'c Kind,
) -> Result<Recurrence<'c, 'g, 'n>, String> {
    let batch_first = c.int("layout", 0) != 0;
    let reversed = match c.text("direction", "forward").as_str() {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(format!("its direction is {other:?}")),
    };
    let Dimension::Fixed(steps) = c.input_dimensions(0)[usize::from(batch_first)] else {
        let reason = "the length of its sequences is open: give the model's input a fixed one";
        return Err(reason.to_owned());
    };
    if steps == 0 || steps * reversed.len() > MAX_STEPS {
        let directions = reversed.len();
        return Err(format!(
            "{steps} steps in {directions} directions, expected 1 to {MAX_STEPS} in all"
        ));
    }
    let (Dimension::Fixed(hidden), Dimension::Fixed(1..)) =
        (&c.input_dimensions(2)[2], &c.input_dimensions(1)[2])
    else {
        return Err("the sizes of its weights are not known".to_owned());
    };
    let activations = activations(c, kind.activations, reversed.len())?;
    let hidden = *hidden as i64;
    Ok(Recurrence { c, kind, steps, reversed, batch_first, hidden, activations })
}

impl<'g> Recurrence<'_, 'g, '_> {
    /// The input as rows, one per time and sample.
    fn rows(&self) -> Expr<'g> {
        let x = self.c.input(0);
        let x = if self.batch_first { x.transpose(&[1, 0, 2]) } else { x };
        let width = match self.c.input_dimensions(1)[2] {
            Dimension::Fixed(width) => width as i64,
            _ => unreachable!("looked at before"),
        };
        x.reshape_to(&[-1, width])
    }

    fn direction(&self, direction: usize) -> Direction<'g> {
        let directions = self.reversed.len();
        let count = self.kind.activations.len();
        let whole = part(self.c.input(2), direction, directions);
        let biases = self.c.optional_input(3).map(|biases| {
            let halves = split_equally(part(biases, direction, directions), 0, 2);
            [halves[0], halves[1]]
        });
        Direction {
            place: (direction, directions),
            hidden: self.hidden,
            recurrent: whole,
            biases,
            activations: self.activations[direction * count..][..count].to_vec(),
            clip: self.c.has_attribute("clip").then(|| self.c.float("clip", 0.0)),
        }
    }

    fn track(&self, x: Expr<'g>, direction: usize) -> Track<'g> {
        let settings = self.direction(direction);
        let weights = part(self.c.input(1), direction, self.reversed.len());
        let cell = (self.kind.cell)(self.c, settings);
        // All steps in one product; the loop multiplies by what a step depends on alone.
        let projected = split_equally(project(x, weights, cell.bias), 0, self.steps);
        let mut states: Vec<Expr> =
            (0..self.kind.states).map(|state| self.initial(state, direction)).collect();
        let mut outputs = vec![None; self.steps];
        let mut times: Vec<usize> = (0..self.steps).collect();
        if self.reversed[direction] {
            times.reverse();
        }
        let ends = self.ends();
        for time in times {
            let next = (cell.step)(projected[time], &states);
            let Some(ends) = ends else {
                outputs[time] = Some(next[0]);
                states = next;
                continue;
            };
            // Behind its end a sequence is silent, and what it remembers stays.
            let goes_on = ends.greater(time as f64);
            outputs[time] = Some(goes_on.select(next[0], 0.0));
            let kept =
                next.iter().zip(&states).map(|(next, before)| goes_on.select(*next, *before));
            states = kept.collect();
        }
        let outputs = outputs.into_iter().map(|output| output.expect("every time has its turn"));
        Track { outputs: outputs.collect(), states }
    }

    /// `[batch, hidden]`, zeros where the node gives none.
    fn initial(&self, state: usize, direction: usize) -> Expr<'g> {
        match self.c.optional_input(5 + state) {
            Some(given) => {
                let given = if self.batch_first { given.transpose(&[1, 0, 2]) } else { given };
                part(given, direction, self.reversed.len())
            }
            None => {
                // Asked for even where it is known: evaluation is of other batches.
                let (x, axis) = (self.c.input(0), i64::from(!self.batch_first));
                let batch = x.shape().slice_axis(0, axis, axis + 1);
                let shape = Expr::concat(&[batch, self.c.emitter().ints(&[self.hidden])], 0);
                x.number(0.0).expand(shape)
            }
        }
    }

    /// `[batch, 1]`: how long each sequence is, where not all are as long as the input.
    fn ends(&self) -> Option<Expr<'g>> {
        let lengths = self.c.optional_input(4)?;
        let full = |length: &i64| *length == self.steps as i64;
        if self.c.constant_ints(4).is_some_and(|lengths| lengths.iter().all(full)) {
            return None;
        }
        Some(lengths.cast(DataType::Int64).unsqueeze(&[1]))
    }

    fn outputs(&self, tracks: &[Track<'g>]) -> Outputs<'g> {
        let turned = |value: Expr<'g>, order: &[i64]| {
            if self.batch_first { value.transpose(order) } else { value }
        };
        let whole = self.c.has_output(0).then(|| {
            let steps = |track: &Track<'g>| {
                let shape = [self.steps as i64, 1, -1, self.hidden];
                Expr::concat(&track.outputs, 0).reshape_to(&shape)
            };
            let parts: Vec<Expr> = tracks.iter().map(steps).collect();
            turned(joined(&parts, 1), &[2, 0, 1, 3])
        });
        let last = |state: usize| {
            self.c.has_output(1 + state).then(|| {
                let states = tracks.iter().map(|track| track.states[state].unsqueeze(&[0]));
                turned(joined(&states.collect::<Vec<_>>(), 0), &[1, 0, 2])
            })
        };
        std::iter::once(whole).chain((0..self.kind.states).map(last)).collect()
    }
}

fn joined<'g>(parts: &[Expr<'g>], axis: i64) -> Expr<'g> {
    if let [one] = parts { *one } else { Expr::concat(parts, axis) }
}
