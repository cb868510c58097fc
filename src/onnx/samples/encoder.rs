//! A sentence encoder of the MiniLM kind: token numbers in, a vector per token out.

use super::{OPSET, Random};
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::proto::ModelProto;
use crate::tensor::{DataType, Shape, Tensor};

/// Tokens that a sequence may have: rows of the position table.
const POSITIONS: usize = 512;
/// Added to the scores of masked positions; `exp` of it is exactly 0 in 32 bits, so padding has no
/// influence on what is not padding.
const MASKED: f32 = -10_000.0;

const OUTPUT: &str = "last_hidden_state";

/// The sizes of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSize {
    /// At least 1.
    pub layers: usize,
    pub width: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Width between the two products of the feed-forward part.
    pub feed_forward: usize,
    pub vocabulary: usize,
}

impl EncoderSize {
    /// That of MiniLM-L6, which most sentence encoders in service have.
    pub const MINILM: EncoderSize =
        EncoderSize { layers: 6, width: 384, heads: 12, feed_forward: 1536, vocabulary: 30_522 };
}

/// `input_ids` and `attention_mask`, INT64 `[batch, sequence]`, to `last_hidden_state` FP32
/// `[batch, sequence, width]`. Sequences have 512 tokens at most.
pub fn encoder(size: EncoderSize) -> ModelProto {
    let mut builder = Builder { graph: GraphBuilder::new("encoder"), random: Random::new(2), size };
    let tokens = builder.graph.input("input_ids", DataType::Int64, "batch, sequence");
    let mask = builder.graph.input("attention_mask", DataType::Int64, "batch, sequence");
    let bias = builder.mask_bias(&mask);
    let mut hidden = builder.embeddings(&tokens);
    for layer in 0..size.layers {
        let prefix = format!("layer{layer}");
        let attention = builder.attention(&prefix, &hidden, &bias);
        let sum = builder.graph.call("Add", &[&attention, &hidden]);
        hidden = builder.norm(&format!("{prefix}.attention.hidden"), &sum);
        let forward = builder.feed_forward(&prefix, &hidden);
        let sum = builder.graph.call("Add", &[&forward, &hidden]);
        let last = layer + 1 == size.layers;
        let name = if last { OUTPUT.to_owned() } else { format!("{prefix}.hidden") };
        hidden = builder.norm(&name, &sum);
    }
    let mut graph = builder.graph;
    let shape = format!("batch, sequence, {}", size.width);
    graph.output(OUTPUT, DataType::Float32, &shape);
    graph.into_model(OPSET)
}

struct Builder {
    graph: GraphBuilder,
    random: Random,
    size: EncoderSize,
}

impl Builder {
    /// Word and position vectors, summed and normalised.
    fn embeddings(&mut self, tokens: &str) -> String {
        let width = self.size.width;
        let words = self.random.tensor(&[self.size.vocabulary, width], 0.5);
        let words = self.graph.initializer("embeddings.words", &words);
        let positions = self.random.tensor(&[POSITIONS, width], 0.5);
        let positions = self.graph.initializer("embeddings.positions", &positions);
        let words = self.graph.call("Gather", &[&words, tokens]);

        let shape = self.graph.call("Shape", &[tokens]);
        let zero = self.integers("zero", &[0]);
        let one = self.integers("one", &[1]);
        let length = self.graph.call("Gather", &[&shape, &one]);
        let positions = self.graph.call("Slice", &[&positions, &zero, &length, &zero]);
        let sum = self.graph.call("Add", &[&words, &positions]);
        self.norm("embeddings.hidden", &sum)
    }

    /// What is added to attention scores: 0, or [`MASKED`] where the mask is 0; `[batch, 1, 1,
    /// sequence]`.
    fn mask_bias(&mut self, mask: &str) -> String {
        let float = Node::new("Cast", &[mask]).attribute("to", 1i64);
        let float = self.graph.node(float);
        let axes = self.integers("mask.axes", &[1, 2]);
        let spread = self.graph.call("Unsqueeze", &[&float, &axes]);
        let one = self.scalar("mask.one", 1.0);
        let masked = self.scalar("mask.masked", MASKED);
        let inverse = self.graph.call("Sub", &[&one, &spread]);
        self.graph.call("Mul", &[&inverse, &masked])
    }

    fn attention(&mut self, prefix: &str, hidden: &str, bias: &str) -> String {
        let width = self.size.width;
        let head_width = width / self.size.heads;
        let query = self.heads(&format!("{prefix}.query"), hidden, [0, 2, 1, 3]);
        let key = self.heads(&format!("{prefix}.key"), hidden, [0, 2, 3, 1]);
        let value = self.heads(&format!("{prefix}.value"), hidden, [0, 2, 1, 3]);

        let scores = self.graph.call("MatMul", &[&query, &key]);
        let scale = self.scalar(&format!("{prefix}.scale"), (head_width as f32).sqrt());
        let scores = self.graph.call("Div", &[&scores, &scale]);
        let scores = self.graph.call("Add", &[&scores, bias]);
        let weights = self.graph.node(Node::new("Softmax", &[&scores]).attribute("axis", -1i64));
        let mixed = self.graph.call("MatMul", &[&weights, &value]);

        let rows = Node::new("Transpose", &[&mixed]).attribute("perm", [0, 2, 1, 3]);
        let rows = self.graph.node(rows);
        let flat = self.integers(&format!("{prefix}.flat"), &[0, 0, size_i64(width)]);
        let rows = self.graph.call("Reshape", &[&rows, &flat]);
        self.linear(&format!("{prefix}.projection"), &rows, [width, width])
    }

    /// A projection, cut into heads, its axes in the given order.
    fn heads(&mut self, prefix: &str, hidden: &str, order: [i64; 4]) -> String {
        let EncoderSize { width, heads, .. } = self.size;
        let projected = self.linear(prefix, hidden, [width, width]);
        let shape = [0, 0, size_i64(heads), size_i64(width / heads)];
        let shape = self.integers(&format!("{prefix}.shape"), &shape);
        let cut = self.graph.call("Reshape", &[&projected, &shape]);
        self.graph.node(Node::new("Transpose", &[&cut]).attribute("perm", order))
    }

    fn feed_forward(&mut self, prefix: &str, hidden: &str) -> String {
        let EncoderSize { width, feed_forward, .. } = self.size;
        let wide = self.linear(&format!("{prefix}.wide"), hidden, [width, feed_forward]);
        let active = self.gelu(&format!("{prefix}.gelu"), &wide);
        self.linear(&format!("{prefix}.narrow"), &active, [feed_forward, width])
    }

    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    fn gelu(&mut self, prefix: &str, x: &str) -> String {
        let root = self.scalar(&format!("{prefix}.root"), std::f32::consts::SQRT_2);
        let one = self.scalar(&format!("{prefix}.one"), 1.0);
        let half = self.scalar(&format!("{prefix}.half"), 0.5);
        let scaled = self.graph.call("Div", &[x, &root]);
        let erf = self.graph.call("Erf", &[&scaled]);
        let shifted = self.graph.call("Add", &[&erf, &one]);
        let product = self.graph.call("Mul", &[x, &shifted]);
        self.graph.call("Mul", &[&product, &half])
    }

    fn linear(&mut self, prefix: &str, x: &str, [from, to]: [usize; 2]) -> String {
        let weight = self.random.tensor(&[from, to], (1.0 / from as f32).sqrt());
        let weight = self.graph.initializer(&format!("{prefix}.weight"), &weight);
        let bias = self.random.tensor(&[to], 0.02);
        let bias = self.graph.initializer(&format!("{prefix}.bias"), &bias);
        let product = self.graph.call("MatMul", &[x, &weight]);
        self.graph.call("Add", &[&product, &bias])
    }

    /// Normalises each token's vector; the result and its weights are named after `output`.
    fn norm(&mut self, output: &str, x: &str) -> String {
        let width = self.size.width;
        let scale = Tensor::from_f32(&[width], &vec![1.0; width]).expect("one for each column");
        let scale = self.graph.initializer(&format!("{output}.norm.scale"), &scale);
        let bias = self.random.tensor(&[width], 0.02);
        let bias = self.graph.initializer(&format!("{output}.norm.bias"), &bias);
        let norm = Node::new("LayerNormalization", &[x, &scale, &bias]).output(output);
        self.graph.node(norm.attribute("axis", -1i64).attribute("epsilon", 1e-12f32))
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        let tensor = Tensor::from_f32(&[], &[value]).expect("one value");
        self.graph.initializer(name, &tensor)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor::numbers(DataType::Int64, Shape::from_slice(&[values.len()]), bytes)
            .expect("as many values as the shape has");
        self.graph.initializer(name, &tensor)
    }
}

fn size_i64(size: usize) -> i64 {
    i64::try_from(size).expect("sizes of layers are small")
}
