//! The table of derivatives: an operator and how the loss's gradient passes through it.
//!
//! A rule reads as calculus does: with `g` for the gradient at the output, the product `a·b` has
//! `[g * b, g * a]`. Each family has its file, whose `RULES` list its operators; a rule that is
//! longer than a line is a function below them.
//!
//! Five kinds: [`elementwise`] (one input, one output, element by element), [`exact`] (the rule's
//! answers have the shapes of the inputs), [`broadcast`] (they have the output's shape, and the
//! driver sums over what was repeated), [`zero`] (nothing passes: the answer is no number, or
//! constant almost everywhere) and [`unsupported`] (there is a derivative, but not here, and why).

mod activation;
mod arithmetic;
mod constant;
mod convolution;
mod einsum;
mod elementary;
mod indexing;
mod loss;
mod matrix;
mod normalization;
mod passing;
mod pooling;
mod reduction;
mod resize;
mod scattering;
mod selection;
mod shape;
mod slicing;
mod softmax;
mod window;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::call::Call;
use super::emitter::DOMAIN;
use super::expr::Expr;
use crate::onnx::graph::canonical_domain;
use crate::onnx::proto::NodeProto;

/// Gradients by input; missing ones at the end are none.
pub(super) type Gradients<'g> = Vec<Option<Expr<'g>>>;

/// From the gradients at a node's outputs to those at its inputs.
pub(super) type Rule = for<'g, 'n> fn(&Call<'g, 'n>) -> Gradients<'g>;

/// From the gradient, the input and the output, each of the same shape.
pub(super) type ElementwiseRule = for<'g> fn(Expr<'g>, Expr<'g>, Expr<'g>) -> Expr<'g>;

/// What is known of an operator's derivative.
#[derive(Clone, Copy)]
pub(super) enum Derivative {
    Elementwise(ElementwiseRule),
    Exact(Rule),
    Broadcast(Rule),
    Zero,
    Unsupported(&'static str),
    Unknown,
}

/// A line of the table. Rules see the operator set in [`Call::opset`].
pub(super) struct Entry {
    /// Behind the domain where that is ours: `onnxd.Conv`.
    operator: &'static str,
    derivative: Derivative,
    /// For nodes that only some attributes make differentiable.
    condition: Option<Condition>,
    /// For calls that only what is known of their inputs makes differentiable.
    objection: Option<Objection>,
}

/// Why this very node has no derivative, if it has none.
pub(super) type Condition = fn(&NodeProto) -> Option<&'static str>;

/// The same of a call, for which sizes and constants are known too; it has no gradients yet.
pub(super) type Objection = for<'g, 'n> fn(&Call<'g, 'n>) -> Option<&'static str>;

impl Entry {
    const fn new(operator: &'static str, derivative: Derivative) -> Entry {
        Entry { operator, derivative, condition: None, objection: None }
    }

    const fn unless(mut self, condition: Condition) -> Entry {
        self.condition = Some(condition);
        self
    }

    const fn unless_known(mut self, objection: Objection) -> Entry {
        self.objection = Some(objection);
        self
    }
}

/// A function of one number; the rule is given the gradient, the input and the output.
const fn elementwise(operator: &'static str, rule: ElementwiseRule) -> Entry {
    Entry::new(operator, Derivative::Elementwise(rule))
}

/// The rule answers in the shapes of the inputs.
const fn exact(operator: &'static str, rule: Rule) -> Entry {
    Entry::new(operator, Derivative::Exact(rule))
}

/// The rule answers in the shape of the output, to which the inputs were broadcast.
const fn broadcast(operator: &'static str, rule: Rule) -> Entry {
    Entry::new(operator, Derivative::Broadcast(rule))
}

/// Nothing passes.
const fn zero(operator: &'static str) -> Entry {
    Entry::new(operator, Derivative::Zero)
}

const fn unsupported(operator: &'static str, reason: &'static str) -> Entry {
    Entry::new(operator, Derivative::Unsupported(reason))
}

/// All families.
const FAMILIES: &[&[Entry]] = &[
    activation::RULES,
    arithmetic::RULES,
    constant::RULES,
    convolution::RULES,
    einsum::RULES,
    indexing::RULES,
    matrix::RULES,
    normalization::RULES,
    elementary::RULES,
    loss::RULES,
    passing::RULES,
    pooling::RULES,
    reduction::RULES,
    resize::RULES,
    scattering::RULES,
    selection::RULES,
    shape::RULES,
    slicing::RULES,
    softmax::RULES,
];

static TABLE: LazyLock<HashMap<&'static str, &'static Entry>> = LazyLock::new(|| {
    FAMILIES.iter().copied().flatten().map(|entry| (entry.operator, entry)).collect()
});

/// What is known of a node's derivative.
pub(super) fn derivative(node: &NodeProto) -> Derivative {
    let Some(entry) = entry(node) else { return Derivative::Unknown };
    match entry.condition.and_then(|condition| condition(node)) {
        Some(reason) => Derivative::Unsupported(reason),
        None => entry.derivative,
    }
}

/// What stands against the derivative of a call whose operator and attributes have one.
pub(super) fn objection(call: &Call) -> Option<&'static str> {
    entry(call.node())?.objection.and_then(|objection| objection(call))
}

fn entry(node: &NodeProto) -> Option<&'static Entry> {
    let entry = match canonical_domain(node.domain()) {
        "" => TABLE.get(node.op_type())?,
        DOMAIN => TABLE.get(format!("{DOMAIN}.{}", node.op_type()).as_str())?,
        _ => return None,
    };
    Some(entry)
}

/// Every operator in the table, once, in order: for documentation and tests.
pub fn operators() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}
