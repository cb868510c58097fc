//! Losses, as formulas: each leaves ONNX nodes behind, which are differentiated like any other.

use std::fmt;
use std::str::FromStr;

use crate::autodiff::{Emitter, Expr, Fact};
use crate::tensor::{AlignedBuffer, DataType, Dimension, Shape, Tensor};

/// What is made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Of logits and class numbers, over axis 1.
    CrossEntropy,
    /// Of logits and numbers between 0 and 1.
    BinaryCrossEntropy,
    MeanSquared,
    /// Mean absolute difference.
    L1,
    /// Squared up to a difference of 1, linear beyond.
    Huber,
}

impl Loss {
    pub const ALL: [Loss; 5] =
        [Loss::CrossEntropy, Loss::BinaryCrossEntropy, Loss::MeanSquared, Loss::L1, Loss::Huber];

    pub fn name(self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross-entropy",
            Loss::BinaryCrossEntropy => "binary-cross-entropy",
            Loss::MeanSquared => "mean-squared",
            Loss::L1 => "l1",
            Loss::Huber => "huber",
        }
    }

    /// Whether targets are classes rather than amounts.
    pub fn is_classification(self) -> bool {
        matches!(self, Loss::CrossEntropy | Loss::BinaryCrossEntropy)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Loss, String> {
        Loss::ALL.into_iter().find(|loss| loss.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Loss::ALL.into_iter().map(Loss::name).collect();
            format!("unknown loss {text:?}: expected one of {}", names.join(", "))
        })
    }
}

/// A loss and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct LossSettings {
    pub loss: Loss,
    /// Share of each target's weight that is spread over all classes.
    pub label_smoothing: f64,
    /// By class; empty for 1 each.
    pub class_weights: Vec<f64>,
}

impl LossSettings {
    /// Without weights and smoothing.
    pub fn plain(loss: Loss) -> LossSettings {
        LossSettings { loss, label_smoothing: 0.0, class_weights: Vec::new() }
    }
}

/// The loss as a scalar. `logits` has the model's output's shape; `target` is INT64 without the
/// class axis for classes, else of the output's type and shape.
///
/// Cross entropy is that of PyTorch's `CrossEntropyLoss` with its weights and smoothing, binary
/// cross entropy that of `BCEWithLogitsLoss`, Huber that of `HuberLoss` with delta 1.
pub fn write_loss<'g>(
    settings: &LossSettings,
    logits: Expr<'g>,
    fact: &Fact,
    target: Expr<'g>,
) -> Expr<'g> {
    let rank = fact.shape.len();
    let all: Vec<i64> = (0..rank as i64).collect();
    let difference = || logits - target;
    match settings.loss {
        Loss::CrossEntropy => cross_entropy(settings, logits, fact, target),
        Loss::BinaryCrossEntropy => {
            let softplus = (-logits.abs()).exp() + 1.0;
            (logits.call("Relu", &[]) - logits * target + softplus.ln()).mean(&all, false)
        }
        Loss::MeanSquared => (difference() * difference()).mean(&all, false),
        Loss::L1 => difference().abs().mean(&all, false),
        Loss::Huber => {
            let (d, size) = (difference(), difference().abs());
            size.less(1.0).select(d * d * 0.5, size - 0.5).mean(&all, false)
        }
    }
}

fn cross_entropy<'g>(
    settings: &LossSettings,
    logits: Expr<'g>,
    fact: &Fact,
    target: Expr<'g>,
) -> Expr<'g> {
    let (emitter, rank) = (logits.emitter(), fact.shape.len());
    let all: Vec<i64> = (0..rank as i64).collect();
    let log_probability = logits.call_with("LogSoftmax", &[], vec![("axis", 1.into())]);
    let classes = match &fact.shape[1] {
        Dimension::Fixed(classes) => *classes,
        // The caller has seen that it is fixed.
        _ => 0,
    };
    let numbers = emitter.constant(&along_classes(rank, &numbers(classes)));
    let chosen = target.unsqueeze(&[1]).equals(numbers).cast(logits.data_type());
    let mut share = chosen;
    if settings.label_smoothing > 0.0 {
        let smoothing = settings.label_smoothing;
        share = chosen * (1.0 - smoothing) + smoothing / classes as f64;
    }
    if settings.class_weights.is_empty() {
        let samples = chosen.sum(&all, false);
        return -((share * log_probability).sum(&all, false) / samples);
    }
    let weights = float_constant(emitter, rank, logits.data_type(), &settings.class_weights);
    let total = (chosen * weights).sum(&all, false);
    -((share * weights * log_probability).sum(&all, false) / total)
}

fn numbers(classes: usize) -> Vec<[u8; 8]> {
    (0..classes as i64).map(i64::to_le_bytes).collect()
}

fn along_classes(rank: usize, values: &[[u8; 8]]) -> Tensor {
    tensor(rank, DataType::Int64, values.len(), values.as_flattened())
}

fn float_constant<'g>(
    emitter: &'g Emitter,
    rank: usize,
    data_type: DataType,
    values: &[f64],
) -> Expr<'g> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    emitter.constant(&tensor(rank, DataType::Float64, values.len(), &bytes)).cast(data_type)
}

/// Values along axis 1 of as many axes.
fn tensor(rank: usize, data_type: DataType, count: usize, bytes: &[u8]) -> Tensor {
    let mut shape = Shape::from_elem(1, rank);
    shape[1] = count;
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    Tensor::numbers(data_type, shape, buffer.into_bytes()).expect("the bytes fit the shape")
}
