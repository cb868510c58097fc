//! A convolutional network for images: stages of blocks, each stage half as large as the one
//! before and with channels of its own; then the mean over the image, and a linear layer.

use std::fmt;
use std::str::FromStr;

use super::layers::{Layer, Layers, Normalization};
use super::{Starter, StarterError, Style, check_count, check_dropout, check_sizes};
use crate::onnx::build::Node;
use crate::tensor::DataType;

/// Channels and size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ImageSize, String> {
        let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.parse().ok()).collect();
        match sizes.as_deref() {
            Some(&[channels, height, width]) => Ok(ImageSize { channels, height, width }),
            _ => Err(format!("expected CHANNELS,HEIGHT,WIDTH such as 3,32,32, got {text:?}")),
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageSize { channels, height, width } = self;
        write!(formatter, "{channels},{height},{width}")
    }
}

/// How the image becomes smaller from stage to stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downsampling {
    /// The first convolution of the next stage takes every other place.
    Stride,
    /// The largest of two by two.
    MaxPool,
}

words!(Downsampling, "downsampling", [Stride => "stride", MaxPool => "max-pool"]);

/// The sizes of a convolutional network.
#[derive(Clone, Debug, PartialEq)]
pub struct CnnSettings {
    pub inputs: ImageSize,
    /// Of each stage.
    pub channels: Vec<usize>,
    /// In each stage: a convolution, or, residual, two of them beside a shortcut.
    pub blocks: usize,
    pub residual: bool,
    pub downsampling: Downsampling,
    pub outputs: usize,
    /// None or batch.
    pub normalization: Normalization,
    pub style: Style,
}

/// `input` FP32 `[batch, channels, height, width]` to `output`. Convolutions are 3 by 3 and padded.
///
/// # Errors
/// A size is zero or beyond reason, the image is too small for so many stages, or the
/// normalisation is not for images.
pub fn cnn(settings: &CnnSettings) -> Result<Starter, StarterError> {
    check(settings)?;
    let ImageSize { channels, height, width } = settings.inputs;
    let mut layers = Layers::new("cnn", settings.style);
    let shape = format!("batch, {channels}, {height}, {width}");
    let mut value = layers.graph.input("input", DataType::Float32, &shape);
    let mut builder = Builder { layers, normalization: settings.normalization };
    let mut from = channels;
    if settings.residual {
        // Shortcuts begin where channels are features, not colours.
        let to = settings.channels[0];
        value = builder.convolution("stem", &value, Shape { from, to, window: 3, stride: 1 });
        value = builder.layers.activation(&value);
        from = to;
    }
    for (stage, &to) in settings.channels.iter().enumerate() {
        let smaller = stage > 0;
        if smaller && settings.downsampling == Downsampling::MaxPool {
            value = builder.pool(&value);
        }
        for block in 0..settings.blocks {
            let strides = smaller && block == 0 && settings.downsampling == Downsampling::Stride;
            let shape = Shape { from, to, window: 3, stride: if strides { 2 } else { 1 } };
            let name = format!("stages.{stage}.blocks.{block}");
            value = match settings.residual {
                true => builder.residual(&name, &value, shape),
                false => builder.plain(&name, &value, shape),
            };
            from = to;
        }
    }
    let mut layers = builder.layers;
    let mean = layers.graph.call("GlobalAveragePool", &[&value]);
    let flat = layers.graph.node(Node::new("Flatten", &[&mean]).attribute("axis", 1i64));
    let flat = layers.dropout(&flat);
    layers.head(&flat, from, settings.outputs);
    layers.into_starter()
}

fn check(settings: &CnnSettings) -> Result<(), StarterError> {
    let ImageSize { channels, height, width } = settings.inputs;
    check_sizes("inputs", &[channels, height, width])?;
    check_count("channels", settings.channels.len())?;
    check_sizes("channels", &settings.channels)?;
    check_count("blocks", settings.blocks)?;
    check_sizes("outputs", &[settings.outputs])?;
    check_dropout(settings.style)?;
    if settings.normalization == Normalization::Layer {
        return Err(StarterError::NormalizationUnfit { normalization: settings.normalization });
    }
    // Each stage but the first halves the image, of which something must be left.
    let side = height.min(width);
    let most = side.ilog2() as usize + 1;
    let stages = settings.channels.len();
    if stages > most {
        return Err(StarterError::ImageTooSmall { side, stages, most });
    }
    Ok(())
}

/// A convolution's sizes.
#[derive(Clone, Copy)]
struct Shape {
    from: usize,
    to: usize,
    window: usize,
    stride: i64,
}

struct Builder {
    layers: Layers,
    normalization: Normalization,
}

impl Builder {
    fn plain(&mut self, name: &str, x: &str, shape: Shape) -> String {
        let value = self.convolution(name, x, shape);
        self.layers.activation(&value)
    }

    /// Two convolutions beside a shortcut, which is one of a single place where sizes change.
    fn residual(&mut self, name: &str, x: &str, shape: Shape) -> String {
        let Shape { from, to, stride, .. } = shape;
        let value = self.convolution(&format!("{name}.first"), x, shape);
        let value = self.layers.activation(&value);
        let second = Shape { from: to, stride: 1, ..shape };
        let value = self.convolution(&format!("{name}.second"), &value, second);
        let shortcut = if from == to && stride == 1 {
            x.to_owned()
        } else {
            self.convolution(&format!("{name}.shortcut"), x, Shape { window: 1, ..shape })
        };
        let sum = self.layers.graph.call("Add", &[&value, &shortcut]);
        self.layers.activation(&sum)
    }

    /// A convolution and its normalisation.
    fn convolution(&mut self, name: &str, x: &str, shape: Shape) -> String {
        let layer = Layer {
            from: shape.from,
            to: shape.to,
            window: Some(shape.window),
            stride: shape.stride,
            bias: self.normalization == Normalization::None,
            gain: self.layers.gain(),
        };
        let value = self.layers.layer(&format!("{name}.conv"), x, layer);
        self.layers.normalization(self.normalization, &format!("{name}.norm"), &value, shape.to)
    }

    fn pool(&mut self, x: &str) -> String {
        let node = Node::new("MaxPool", &[x]);
        self.layers.graph.node(node.attribute("kernel_shape", [2, 2]).attribute("strides", [2, 2]))
    }
}
