//! Models with random weights, shaped like ones that people serve: what benchmarks, tests and
//! `onnxd bench` run. The weights come from a seed and are scaled so that values neither die out
//! nor grow from layer to layer.
//!
//! Reading order: `mlp`, `encoder` (sentence encoder), `resnet` (image classifier), `random`.

mod encoder;
mod mlp;
mod random;
mod resnet;

pub use encoder::{EncoderSize, encoder};
pub use mlp::mlp;
pub use random::Random;
pub use resnet::resnet18;

/// Operator set of all samples: the first with `LayerNormalization`.
pub const OPSET: i64 = 17;
