//! A transformer encoder for sequences of tokens, with normalisation before each part, and the mean
//! over the tokens at its end.
//!
//! Between attentions the tokens of all sequences are rows of one matrix: every layer is then one
//! `Gemm`, its bias included.

use super::layers::{Layer, Layers, Normalization, size_i64};
use super::{Starter, StarterError, Style, check_count, check_dropout, check_sizes};
use crate::onnx::build::Node;
use crate::tensor::DataType;

/// Added to the scores of masked tokens; `exp` of it is exactly 0 in 32 bits, so padding has no
/// influence on what is not padding.
const MASKED: f32 = -10_000.0;

/// The sizes of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerSettings {
    /// Tokens there are: their numbers are below this.
    pub vocabulary: usize,
    /// Tokens in a sequence.
    pub length: usize,
    pub width: usize,
    pub layers: usize,
    /// A divisor of the width.
    pub heads: usize,
    /// Width between the two layers that each token goes through alone.
    pub feed_forward: usize,
    /// Whether sequences may be shorter: with an input `attention_mask`.
    pub mask: bool,
    pub outputs: usize,
    pub style: Style,
}

/// `input_ids` INT64 `[batch, length]` to `output`. With a mask there is `attention_mask` too, of
/// that type and shape: 1 where a token counts, 0 where it only fills the sequence up.
///
/// # Errors
/// A size is zero or beyond reason, or the heads do not divide the width.
pub fn transformer(settings: &TransformerSettings) -> Result<Starter, StarterError> {
    check(settings)?;
    let TransformerSettings { length, width, .. } = *settings;
    let mut layers = Layers::new("transformer", settings.style);
    let shape = format!("batch, {length}");
    let tokens = layers.graph.input("input_ids", DataType::Int64, &shape);
    let mask = settings
        .mask
        .then(|| layers.graph.input("attention_mask", DataType::Int64, &shape))
        .map(|mask| layers.graph.node(Node::new("Cast", &[&mask]).attribute("to", 1i64)));
    let mut builder = Builder { layers, settings };
    let bias = mask.as_ref().map(|mask| builder.score_bias(mask));
    let mut rows = builder.embeddings(&tokens);
    for index in 0..settings.layers {
        rows = builder.block(&format!("blocks.{index}"), &rows, bias.as_deref());
    }
    let rows = builder.norm("norm", &rows);
    let mean = builder.mean(&rows, mask.as_deref());
    let mut layers = builder.layers;
    layers.head(&mean, width, settings.outputs);
    layers.into_starter()
}

fn check(settings: &TransformerSettings) -> Result<(), StarterError> {
    check_sizes("vocabulary", &[settings.vocabulary])?;
    check_sizes("length", &[settings.length])?;
    check_sizes("width", &[settings.width])?;
    check_count("layers", settings.layers)?;
    check_sizes("heads", &[settings.heads])?;
    check_sizes("feed-forward", &[settings.feed_forward])?;
    check_sizes("outputs", &[settings.outputs])?;
    check_dropout(settings.style)?;
    let (width, heads) = (settings.width, settings.heads);
    if !width.is_multiple_of(heads) {
        return Err(StarterError::Heads { width, heads });
    }
    Ok(())
}

struct Builder<'s> {
    layers: Layers,
    settings: &'s TransformerSettings,
}

impl Builder<'_> {
    /// The vectors of tokens and of their positions, added: a row per token.
    fn embeddings(&mut self, tokens: &str) -> String {
        let TransformerSettings { vocabulary, length, width, .. } = *self.settings;
        let table = self.layers.embedding("embeddings.tokens", [vocabulary, width]);
        let positions = self.layers.embedding("embeddings.positions", [length, width]);
        let vectors = self.layers.graph.call("Gather", &[&table, tokens]);
        let sum = self.layers.graph.call("Add", &[&vectors, &positions]);
        let sum = self.layers.dropout(&sum);
        self.reshape("shape.rows", &sum, &[-1, size_i64(width)])
    }

    /// What is added to the scores: 0, or [`MASKED`] where the mask is 0; `[batch, 1, 1, length]`.
    fn score_bias(&mut self, mask: &str) -> String {
        let axes = self.layers.integers("mask.axes", &[1, 2]);
        let one = self.layers.scalar("mask.one", 1.0);
        let masked = self.layers.scalar("mask.masked", MASKED);
        let spread = self.layers.graph.call("Unsqueeze", &[mask, &axes]);
        let inverse = self.layers.graph.call("Sub", &[&one, &spread]);
        self.layers.graph.call("Mul", &[&inverse, &masked])
    }

    fn block(&mut self, name: &str, rows: &str, bias: Option<&str>) -> String {
        let TransformerSettings { width, feed_forward, .. } = *self.settings;
        let normal = self.norm(&format!("{name}.norm1"), rows);
        let mixed = self.attention(&format!("{name}.attention"), &normal, bias);
        let mixed = self.layers.dropout(&mixed);
        let rows = self.layers.graph.call("Add", &[rows, &mixed]);
        let normal = self.norm(&format!("{name}.norm2"), &rows);
        let gain = self.layers.gain();
        let wide = Layer { gain, ..Layer::linear(width, feed_forward) };
        let wide = self.layers.layer(&format!("{name}.linear1"), &normal, wide);
        let active = self.layers.activation(&wide);
        let active = self.layers.dropout(&active);
        let narrow = Layer::linear(feed_forward, width);
        let narrow = self.layers.layer(&format!("{name}.linear2"), &active, narrow);
        let narrow = self.layers.dropout(&narrow);
        self.layers.graph.call("Add", &[&rows, &narrow])
    }

    fn attention(&mut self, name: &str, rows: &str, bias: Option<&str>) -> String {
        let width = self.settings.width;
        let head_width = width / self.settings.heads;
        let query = self.heads(&format!("{name}.query"), rows, [0, 2, 1, 3]);
        let key = self.heads(&format!("{name}.key"), rows, [0, 2, 3, 1]);
        let value = self.heads(&format!("{name}.value"), rows, [0, 2, 1, 3]);

        let scale = self.layers.scalar("attention.scale", (1.0 / head_width as f32).sqrt());
        let query = self.layers.graph.call("Mul", &[&query, &scale]);
        let mut scores = self.layers.graph.call("MatMul", &[&query, &key]);
        if let Some(bias) = bias {
            scores = self.layers.graph.call("Add", &[&scores, bias]);
        }
        let shares = Node::new("Softmax", &[&scores]).attribute("axis", -1i64);
        let shares = self.layers.graph.node(shares);
        let shares = self.layers.dropout(&shares);
        let mixed = self.layers.graph.call("MatMul", &[&shares, &value]);

        let rows = Node::new("Transpose", &[&mixed]).attribute("perm", [0, 2, 1, 3]);
        let rows = self.layers.graph.node(rows);
        let rows = self.reshape("shape.rows", &rows, &[-1, size_i64(width)]);
        self.layers.layer(&format!("{name}.output"), &rows, Layer::linear(width, width))
    }

    /// A projection, cut into heads, its axes (sequence, token, head, element) in the given order.
    fn heads(&mut self, name: &str, rows: &str, order: [i64; 4]) -> String {
        let TransformerSettings { length, width, heads, .. } = *self.settings;
        let projected = self.layers.layer(name, rows, Layer::linear(width, width));
        let shape = [-1, size_i64(length), size_i64(heads), size_i64(width / heads)];
        let cut = self.reshape("shape.heads", &projected, &shape);
        self.layers.graph.node(Node::new("Transpose", &[&cut]).attribute("perm", order))
    }

    /// The mean over the tokens of a sequence that count; zeros where none does.
    fn mean(&mut self, rows: &str, mask: Option<&str>) -> String {
        let TransformerSettings { length, width, .. } = *self.settings;
        let shape = [-1, size_i64(length), size_i64(width)];
        let tokens = self.reshape("shape.tokens", rows, &shape);
        let Some(mask) = mask else {
            let mean = Node::new("ReduceMean", &[&tokens]).attribute("axes", [1]);
            return self.layers.graph.node(mean.attribute("keepdims", 0i64));
        };
        let last = self.layers.integers("mask.last", &[2]);
        let first = self.layers.integers("mask.tokens", &[1]);
        let mask = self.layers.graph.call("Unsqueeze", &[mask, &last]);
        let counted = self.layers.graph.call("Mul", &[&tokens, &mask]);
        let [sum, count] = [&counted, &mask].map(|value| {
            let sum = Node::new("ReduceSum", &[value, &first]).attribute("keepdims", 0i64);
            self.layers.graph.node(sum)
        });
        let one = self.layers.scalar("mask.one", 1.0);
        let count = self.layers.graph.call("Max", &[&count, &one]);
        self.layers.graph.call("Div", &[&sum, &count])
    }

    fn norm(&mut self, name: &str, rows: &str) -> String {
        let width = self.settings.width;
        self.layers.normalization(Normalization::Layer, name, rows, width)
    }

    fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let shape = self.layers.integers(name, shape);
        self.layers.graph.call("Reshape", &[x, &shape])
    }
}
