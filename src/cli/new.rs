//! The options of `new`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::onnx::starters::{Activation, Downsampling, ImageSize, Initialization, Normalization};

/// Makes an initialised model to start from, which `finetune` trains.
///
/// Its answer is `output`, FP32 [batch, outputs]: logits of classes, or the numbers of a
/// regression.
#[derive(Debug, Subcommand)]
pub enum NewCommand {
    Mlp(NewMlpArguments),
    Cnn(NewCnnArguments),
    Transformer(NewTransformerArguments),
}

/// What all kinds of model are asked.
#[derive(Debug, Args)]
pub struct NewOptions {
    /// The file to write, which must not be there yet.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Classes, or numbers of a regression.
    #[arg(long, value_name = "COUNT")]
    pub outputs: usize,
    /// relu, gelu, tanh, silu or elu [default: relu; of a transformer gelu].
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Activation>,
    /// The share of elements that training drops: behind activations; in a transformer behind
    /// embeddings, attention and its parts; in a convolutional network before the last layer.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub dropout: f32,
    /// How weights are drawn: torch (as PyTorch's layers do), kaiming, xavier or normal.
    #[arg(long, value_name = "NAME", default_value_t = Initialization::Torch)]
    pub initialization: Initialization,
    /// Of the initial weights.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
}

/// A perceptron for tables: fully connected layers.
///
/// Takes `input`, FP32 [batch, inputs].
#[derive(Debug, Args)]
pub struct NewMlpArguments {
    #[command(flatten)]
    pub options: NewOptions,
    /// Features of a sample.
    #[arg(long, value_name = "COUNT")]
    pub inputs: usize,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',', default_values_t = [128, 128])]
    pub hidden: Vec<usize>,
    /// Between a hidden layer and its activation: none, batch or layer.
    #[arg(long, value_name = "NAME", default_value_t = Normalization::None)]
    pub normalization: Normalization,
}

/// A convolutional network for images: stages, each half as large as the one before.
///
/// Takes `input`, FP32 [batch, channels, height, width]. Its convolutions are 3 by 3; the mean over
/// the last stage goes into a linear layer.
#[derive(Debug, Args)]
pub struct NewCnnArguments {
    #[command(flatten)]
    pub options: NewOptions,
    /// Size of an image: channels, height, width.
    #[arg(long, value_name = "SIZES")]
    pub inputs: ImageSize,
    /// Channels of each stage.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',', default_values_t = [32, 64, 128])]
    pub channels: Vec<usize>,
    /// Convolutions in a stage; of a residual network pairs of them.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub blocks: usize,
    /// Pairs of convolutions, each beside a shortcut.
    #[arg(long)]
    pub residual: bool,
    /// From stage to stage: stride (of the next convolution) or max-pool.
    #[arg(long, value_name = "NAME", default_value_t = Downsampling::Stride)]
    pub downsampling: Downsampling,
    /// Between a convolution and its activation: none or batch.
    #[arg(long, value_name = "NAME", default_value_t = Normalization::Batch)]
    pub normalization: Normalization,
}

/// A transformer encoder for sequences of tokens.
///
/// Takes `input_ids`, INT64 [batch, length]. It normalises before each part, learns the positions,
/// and the mean over the tokens goes into a linear layer.
#[derive(Debug, Args)]
pub struct NewTransformerArguments {
    #[command(flatten)]
    pub options: NewOptions,
    /// Tokens there are.
    #[arg(long, value_name = "COUNT")]
    pub vocabulary: usize,
    /// Tokens in a sequence.
    #[arg(long, value_name = "COUNT")]
    pub length: usize,
    /// Of a token's vector.
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    pub width: usize,
    /// Blocks of attention and feed-forward part.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub layers: usize,
    /// Of an attention; a divisor of the width.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub heads: usize,
    /// Width inside the feed-forward part [default: four times the width].
    #[arg(long, value_name = "COUNT")]
    pub feed_forward: Option<usize>,
    /// Take `attention_mask` too, INT64 [batch, length]: 0 where a token only fills a shorter
    /// sequence up.
    #[arg(long)]
    pub mask: bool,
}
