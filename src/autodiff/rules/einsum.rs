//! `Einsum`: the gradient of each operand is another one, of the gradient and the other operands.

use std::collections::HashSet;

use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::unbroadcast::unbroadcast;
use crate::onnx::graph::attribute;
use crate::onnx::proto::NodeProto;
use crate::tensor::Dimension;

pub(super) const RULES: &[Entry] = &[exact("Einsum", einsum).unless(repeats)];

/// An equation's terms: a letter per axis, `.` for the axes of an ellipsis together.
struct Equation {
    operands: Vec<Vec<char>>,
    answer: Vec<char>,
}

impl Equation {
    fn of(node: &NodeProto) -> Equation {
        let bytes = attribute(node, "equation").and_then(|equation| equation.s.clone());
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).replace("...", ".");
        let letters = |term: &str| term.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(letters(right))),
            None => (text.as_str(), None),
        };
        let operands: Vec<Vec<char>> = left.split(',').map(letters).collect();
        let answer = right.unwrap_or_else(|| implicit(&operands));
        Equation { operands, answer }
    }

    /// With a letter for each axis of the ellipses, which are aligned at their ends.
    fn spelled_out(mut self, ranks: &[usize]) -> Equation {
        let used: HashSet<char> = self.operands.iter().flatten().copied().collect();
        let counts: Vec<usize> = self
            .operands
            .iter()
            .zip(ranks)
            .map(|(term, rank)| if term.contains(&'.') { rank + 1 - term.len() } else { 0 })
            .collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let free = ('a'..='z').chain('A'..='Z').filter(|letter| !used.contains(letter));
        let axes: Vec<char> = free.take(most).collect();
        for (term, count) in self.operands.iter_mut().zip(counts) {
            spell(term, &axes[most - count..]);
        }
        spell(&mut self.answer, &axes);
        self
    }
}

fn spell(term: &mut Vec<char>, axes: &[char]) {
    if let Some(place) = term.iter().position(|&letter| letter == '.') {
        term.splice(place..=place, axes.iter().copied());
    }
}

/// Without an arrow: the ellipsis, then the letters that occur once, in order.
fn implicit(operands: &[Vec<char>]) -> Vec<char> {
    let all: Vec<char> = operands.iter().flatten().copied().collect();
    let once = |letter: &char| all.iter().filter(|other| *other == letter).count() == 1;
    let mut letters: Vec<char> = all.iter().copied().filter(|c| *c != '.' && once(c)).collect();
    letters.sort_unstable();
    if all.contains(&'.') {
        letters.insert(0, '.');
    }
    letters
}

fn repeats(node: &NodeProto) -> Option<&'static str> {
    let twice = |term: &Vec<char>| {
        let different: HashSet<&char> = term.iter().collect();
        different.len() < term.len()
    };
    let repeated = Equation::of(node).operands.iter().any(twice);
    repeated.then_some("its equation takes a diagonal: one operand has an index twice")
}

fn einsum<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let count = c.input_count();
    let ranks: Vec<usize> = (0..count).map(|index| c.input_rank(index)).collect();
    let equation = Equation::of(c.node()).spelled_out(&ranks);
    let gradient = |index| c.wants(index).then(|| operand_gradient(c, &equation, index));
    (0..count).map(gradient).collect()
}

/// One factor of a product: its term, its shape, itself.
struct Part<'g, 'n> {
    term: &'n [char],
    shape: &'n [Dimension],
    value: Expr<'g>,
}

/// The sum over all that the operand has not, repeated over what it alone has.
fn operand_gradient<'g>(c: &Call<'g, '_>, equation: &Equation, index: usize) -> Expr<'g> {
    let own = &equation.operands[index];
    let shape = c.output_dimensions(0);
    let mut parts = vec![Part { term: &equation.answer, shape, value: c.gradient() }];
    for (other, term) in equation.operands.iter().enumerate() {
        if other != index {
            parts.push(Part { term, shape: c.input_dimensions(other), value: c.input(other) });
        }
    }
    let (met, alone): (Vec<usize>, Vec<usize>) =
        (0..own.len()).partition(|&axis| size(&parts, own[axis]).is_some());
    let shared: Vec<char> = met.iter().map(|&axis| own[axis]).collect();
    let found = contract(&parts.iter().collect::<Vec<_>>(), &shared);
    // An axis of size one may have met longer ones, or a longer one only such.
    let from: Vec<Dimension> = shared.iter().filter_map(|&c| size(&parts, c)).collect();
    let dimensions = c.input_dimensions(index);
    let to: Vec<Dimension> = met.iter().map(|&axis| dimensions[axis].clone()).collect();
    let found = unbroadcast(found, &from, &to);
    let one = Dimension::Fixed(1);
    let longer = from.iter().zip(&to).any(|(from, to)| *from == one && *to != one);
    if alone.is_empty() && !longer {
        return found;
    }
    let alone: Vec<i64> = alone.iter().map(|&axis| axis as i64).collect();
    found.unsqueeze(&alone).expand(c.input_shape(index))
}

/// One `Einsum` of what has axes, times what has none.
fn contract<'g>(parts: &[&Part<'g, '_>], to: &[char]) -> Expr<'g> {
    let (numbers, arrays): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| part.term.is_empty());
    let text = |term: &[char]| term.iter().collect::<String>();
    let product = match arrays.as_slice() {
        [] => None,
        [part] if part.term == to => Some(part.value),
        // tract takes an empty right side for none at all: one index stays, and is summed over.
        [first, ..] if to.is_empty() => {
            let last = &first.term[..1];
            Some(contract(&arrays, last).sum(&[0], false))
        }
        [first, rest @ ..] => {
            let terms: Vec<String> = arrays.iter().map(|part| text(part.term)).collect();
            let equation = format!("{}->{}", terms.join(","), text(to));
            let others: Vec<Expr> = rest.iter().map(|part| part.value).collect();
            let equation = vec![("equation", equation.as_str().into())];
            Some(first.value.call_with("Einsum", &others, equation))
        }
    };
    let values = product.into_iter().chain(numbers.iter().map(|part| part.value));
    values.reduce(|product, number| product * number).expect("the gradient is one of the parts")
}

/// An index's size: the largest that an axis has it; `None` where none has the index.
fn size(parts: &[Part], letter: char) -> Option<Dimension> {
    let sizes = parts.iter().filter_map(|part| {
        let axis = part.term.iter().position(|&other| other == letter)?;
        Some(&part.shape[axis])
    });
    let one = Dimension::Fixed(1);
    sizes.reduce(|most, size| if *most == one { size } else { most }).cloned()
}
