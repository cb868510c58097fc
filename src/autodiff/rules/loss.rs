//! The losses that are operators. Classes are along axis 1, with a label for every other place.

use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;

pub(super) const RULES: &[Entry] = &[
    exact("SoftmaxCrossEntropyLoss", cross_entropy),
    exact("NegativeLogLikelihoodLoss", negative_log_likelihood),
];

/// The probabilities, less one at the label; and what comes back from the logarithms themselves.
fn cross_entropy<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let log_probabilities = match c.has_output(1) {
        true => c.output(1),
        false => c.input(0).call_with("LogSoftmax", &[], vec![("axis", 1.into())]),
    };
    let probabilities = log_probabilities.exp();
    let through_loss = c.gradient_of(0).map(|g| {
        let labels = Labels::of(c, g);
        let share = labels.share;
        let at_label = share * (labels.pick(probabilities) - 1.0);
        (labels.put(share * probabilities, at_label), labels.weights(c, log_probabilities))
    });
    let through_logarithms = c.gradient_of(1).map(|g| g - probabilities * g.sum(&[1], true));
    let weights = through_loss.and_then(|(_, weights)| weights);
    let scores = match (through_loss, through_logarithms) {
        (Some((one, _)), Some(other)) => Some(one + other),
        (one, other) => one.map(|(scores, _)| scores).or(other),
    };
    vec![scores, None, weights]
}

fn negative_log_likelihood<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let labels = Labels::of(c, c.gradient());
    let at_label = (-labels.share).expand(labels.index.shape());
    let scores = labels.put(zeros(c), at_label);
    vec![Some(scores), None, labels.weights(c, c.input(0))]
}

fn zeros<'g>(c: &Call<'g, '_>) -> Expr<'g> {
    c.input(0).number(0.0).expand(c.input_shape(0))
}

/// What both losses make of their labels. Everything has the shape of the scores with a one for
/// the classes, or none.
struct Labels<'g> {
    gradient: Expr<'g>,
    /// The label; some class where it is ignored.
    index: Expr<'g>,
    ignored: Option<Expr<'g>>,
    /// The sum of all labels' weights, where the loss is divided by that.
    total: Option<Expr<'g>>,
    /// How much of the gradient comes to each label: by its weight, none where it is ignored.
    share: Expr<'g>,
}

impl<'g> Labels<'g> {
    fn of(c: &Call<'g, '_>, gradient: Expr<'g>) -> Labels<'g> {
        let reduction = c.text("reduction", "mean");
        let gradient = if reduction == "none" { gradient.unsqueeze(&[1]) } else { gradient };
        let label = c.input(1).unsqueeze(&[1]);
        let ignored = c
            .has_attribute("ignore_index")
            .then(|| label.equals(label.number(c.int("ignore_index", 0) as f64)));
        let index = ignored.map_or(label, |ignored| ignored.zero_or(label));
        let weight = match (c.optional_input(2), ignored) {
            (Some(weights), _) => Some(weights.call("Gather", &[index])),
            (None, Some(_)) => Some(gradient.number(1.0)),
            (None, None) => None,
        };
        // Of the shape of the labels, where there is any.
        let weight = match (weight, ignored) {
            (Some(weight), Some(ignored)) => Some(ignored.zero_or(weight)),
            (weight, _) => weight,
        };
        let total = (reduction == "mean").then(|| match weight {
            Some(weight) => weight.sum(&(0..c.input_rank(0) as i64).collect::<Vec<_>>(), false),
            None => {
                let others = (0..c.input_rank(0) as i64).filter(|&axis| axis != 1);
                c.input_size_over(0, &others.collect::<Vec<_>>())
            }
        });
        let one = total.map_or(gradient, |total| gradient / total);
        let share = weight.map_or(one, |weight| one * weight);
        Labels { gradient, index, ignored, total, share }
    }

    /// A value of the scores' shape at the labels.
    fn pick(&self, value: Expr<'g>) -> Expr<'g> {
        value.call_with("GatherElements", &[self.index], vec![("axis", 1.into())])
    }

    /// A value of the scores' shape with other elements at the labels.
    fn put(&self, value: Expr<'g>, at_label: Expr<'g>) -> Expr<'g> {
        value.call_with("ScatterElements", &[self.index, at_label], vec![("axis", 1.into())])
    }

    /// The gradient of the classes' weights: a label's loss is -w·log p; of a mean L, divided by
    /// the weights' sum, it is (-log p - L) / sum.
    fn weights(&self, c: &Call<'g, '_>, log_probabilities: Expr<'g>) -> Option<Expr<'g>> {
        c.optional_input(2).filter(|_| c.wants(2))?;
        let loss = -self.pick(log_probabilities);
        let part = match self.total {
            Some(total) => (loss - c.output(0)) / total * self.gradient,
            None => loss * self.gradient,
        };
        let part = self.ignored.map_or(part, |ignored| ignored.zero_or(part));
        let others = (0..c.input_rank(0) as i64).filter(|&axis| axis != 1);
        Some(self.put(zeros(c), part).sum(&others.collect::<Vec<_>>(), false))
    }
}
