//! A perceptron for tables.

use super::layers::{Layer, Layers, Normalization};
use super::{Starter, StarterError, Style, check_count, check_dropout, check_sizes};
use crate::tensor::DataType;

/// The sizes of a perceptron.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpSettings {
    /// Features of a sample.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    pub outputs: usize,
    pub normalization: Normalization,
    pub style: Style,
}

/// `input` FP32 `[batch, inputs]` to `output`: fully connected layers, each hidden one followed by
/// its normalisation, activation and dropout.
///
/// # Errors
/// A size is zero or beyond reason.
pub fn mlp(settings: &MlpSettings) -> Result<Starter, StarterError> {
    let MlpSettings { inputs, hidden, outputs, normalization, style } = settings;
    check_sizes("inputs", &[*inputs])?;
    check_count("hidden", hidden.len())?;
    check_sizes("hidden", hidden)?;
    check_sizes("outputs", &[*outputs])?;
    check_dropout(*style)?;
    let mut layers = Layers::new("mlp", *style);
    let mut value = layers.graph.input("input", DataType::Float32, &format!("batch, {inputs}"));
    let mut width = *inputs;
    let gain = layers.gain();
    for (index, &next) in hidden.iter().enumerate() {
        let bias = *normalization != Normalization::Batch;
        let layer = Layer { bias, gain, ..Layer::linear(width, next) };
        value = layers.layer(&format!("layers.{index}"), &value, layer);
        value = layers.normalization(*normalization, &format!("norms.{index}"), &value, next);
        value = layers.activation(&value);
        value = layers.dropout(&value);
        width = next;
    }
    layers.head(&value, width, *outputs);
    layers.into_starter()
}
