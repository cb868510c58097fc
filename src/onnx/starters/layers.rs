//! What all models to start from are made of: layers with their weights, in a graph.

use std::collections::HashSet;

use super::initial::{Initial, constant};
use super::{MOST_WEIGHTS, OPSET, Starter, StarterError, Style};
use crate::onnx::build::{GraphBuilder, Node};
use crate::tensor::{DataType, Shape, Tensor};

/// The name of every model's answer.
const OUTPUT: &str = "output";

/// Between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Relu,
    Gelu,
    Tanh,
    Silu,
    Elu,
}

words!(Activation, "activation", [
    Relu => "relu",
    Gelu => "gelu",
    Tanh => "tanh",
    Silu => "silu",
    Elu => "elu",
]);

impl Activation {
    /// How much larger its input should be made, for its output to be as its layer's input was.
    /// Those that are like `relu` are treated as it.
    pub(super) fn gain(self) -> f64 {
        match self {
            Activation::Tanh => 5.0 / 3.0,
            Activation::Relu | Activation::Gelu | Activation::Silu | Activation::Elu => {
                std::f64::consts::SQRT_2
            }
        }
    }
}

/// Between a layer and its activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    None,
    Batch,
    Layer,
}

words!(Normalization, "normalization", [None => "none", Batch => "batch", Layer => "layer"]);

/// A fully connected layer or, with a window, a square convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Side of the window, an odd number; none for a fully connected layer.
    pub(super) window: Option<usize>,
    pub(super) stride: i64,
    /// Left out where a batch normalisation follows, which would take it away again.
    pub(super) bias: bool,
    pub(super) gain: f64,
}

impl Layer {
    /// A fully connected layer with a bias, and nothing after it that makes its answer smaller.
    pub(super) fn linear(from: usize, to: usize) -> Layer {
        Layer { from, to, window: None, stride: 1, bias: true, gain: 1.0 }
    }
}

/// A graph that grows by layers.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) graph: GraphBuilder,
    initial: Initial,
    activation: Activation,
    dropout: f32,
    parameters: u64,
    /// Parameters, and numbers that are kept beside them.
    weights: u64,
    constants: HashSet<String>,
}

impl Layers {
    pub(super) fn new(name: &str, style: Style) -> Layers {
        Layers {
            graph: GraphBuilder::new(name),
            initial: Initial::new(style.initialization, style.seed),
            activation: style.activation,
            dropout: style.dropout,
            parameters: 0,
            weights: 0,
            constants: HashSet::new(),
        }
    }

    /// The model, if it is not too large: weights beyond the limit were not even made.
    pub(super) fn into_starter(self) -> Result<Starter, StarterError> {
        if self.weights > MOST_WEIGHTS {
            return Err(StarterError::TooLarge { limit: MOST_WEIGHTS });
        }
        Ok(Starter { model: self.graph.into_model(OPSET), parameters: self.parameters })
    }

    /// The last layer, and the declaration of its answer.
    pub(super) fn head(&mut self, x: &str, from: usize, outputs: usize) {
        self.layer_to(OUTPUT, "head", x, Layer::linear(from, outputs));
        self.graph.output(OUTPUT, DataType::Float32, &format!("batch, {outputs}"));
    }

    /// A layer; its node is called as its weights are.
    pub(super) fn layer(&mut self, name: &str, x: &str, layer: Layer) -> String {
        self.layer_to(name, name, x, layer)
    }

    fn layer_to(&mut self, output: &str, name: &str, x: &str, layer: Layer) -> String {
        let window = layer.window.unwrap_or(1);
        let shape = match layer.window {
            Some(side) => vec![layer.to, layer.from, side, side],
            None => vec![layer.to, layer.from],
        };
        let gain = layer.gain;
        let weight =
            self.trained(&format!("{name}.weight"), &shape, |initial| initial.weight(&shape, gain));
        let mut inputs = vec![x.to_owned(), weight];
        if layer.bias {
            inputs.push(
                self.trained(&format!("{name}.bias"), &shape[..1], |initial| initial.bias(&shape)),
            );
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let node = match layer.window {
            Some(_) => {
                let (side, pad) = (size_i64(window), size_i64(window / 2));
                Node::new("Conv", &inputs)
                    .attribute("kernel_shape", [side, side])
                    .attribute("pads", [pad, pad, pad, pad])
                    .attribute("strides", [layer.stride, layer.stride])
            }
            None => Node::new("Gemm", &inputs).attribute("transB", 1i64),
        };
        self.graph.node(node.name(name).output(output))
    }

    /// Normalises `width` features, channels or the elements of a token.
    pub(super) fn normalization(
        &mut self,
        kind: Normalization,
        name: &str,
        x: &str,
        width: usize,
    ) -> String {
        let node = match kind {
            Normalization::None => return x.to_owned(),
            Normalization::Layer => {
                let [scale, bias] = self.scale_and_bias(name, width);
                Node::new("LayerNormalization", &[x, &scale, &bias]).attribute("axis", -1i64)
            }
            Normalization::Batch => {
                let [scale, bias] = self.scale_and_bias(name, width);
                let mut kept = |what: &str, value: f64| {
                    let name = format!("{name}.{what}");
                    self.weight(&name, &[width], |_| constant(&[width], value))
                };
                let mean = kept("running_mean", 0.0);
                let variance = kept("running_var", 1.0);
                Node::new("BatchNormalization", &[x, &scale, &bias, &mean, &variance])
            }
        };
        self.graph.node(node.attribute("epsilon", 1e-5f32).name(name).output(name))
    }

    fn scale_and_bias(&mut self, name: &str, width: usize) -> [String; 2] {
        [("weight", 1.0), ("bias", 0.0)].map(|(what, value)| {
            let name = format!("{name}.{what}");
            self.trained(&name, &[width], |_| constant(&[width], value))
        })
    }

    pub(super) fn activation(&mut self, x: &str) -> String {
        match self.activation {
            Activation::Relu => self.graph.call("Relu", &[x]),
            Activation::Tanh => self.graph.call("Tanh", &[x]),
            Activation::Elu => self.graph.call("Elu", &[x]),
            Activation::Silu => {
                let share = self.graph.call("Sigmoid", &[x]);
                self.graph.call("Mul", &[x, &share])
            }
            Activation::Gelu => self.gelu(x),
        }
    }

    /// Drops elements in training, where the style says so.
    pub(super) fn dropout(&mut self, x: &str) -> String {
        if self.dropout == 0.0 {
            return x.to_owned();
        }
        let ratio = self.scalar("dropout.ratio", self.dropout);
        self.graph.call("Dropout", &[x, &ratio])
    }

    /// `x · (1 + erf(x / √2)) / 2`: operator set 17 has no operator for it.
    fn gelu(&mut self, x: &str) -> String {
        let root = self.scalar("gelu.root", std::f32::consts::SQRT_2);
        let one = self.scalar("gelu.one", 1.0);
        let half = self.scalar("gelu.half", 0.5);
        let scaled = self.graph.call("Div", &[x, &root]);
        let error = self.graph.call("Erf", &[&scaled]);
        let share = self.graph.call("Add", &[&error, &one]);
        let product = self.graph.call("Mul", &[x, &share]);
        self.graph.call("Mul", &[&product, &half])
    }

    /// A table of vectors.
    pub(super) fn embedding(&mut self, name: &str, [rows, width]: [usize; 2]) -> String {
        let shape = [rows, width];
        self.trained(&format!("{name}.weight"), &shape, |initial| initial.embedding(&shape))
    }

    /// What the activation takes away.
    pub(super) fn gain(&self) -> f64 {
        self.activation.gain()
    }

    /// A number that is no parameter; one of a name that is there already is the same one.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> String {
        let tensor = Tensor::from_f32(&[], &[value]).expect("one value");
        self.constant(name, &tensor)
    }

    /// As [`scalar`](Self::scalar), for shapes and axes.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor::numbers(DataType::Int64, Shape::from_slice(&[values.len()]), bytes)
            .expect("as many values as the shape has");
        self.constant(name, &tensor)
    }

    fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        if self.constants.insert(name.to_owned()) {
            self.graph.initializer(name, tensor);
        }
        name.to_owned()
    }

    /// A weight that training changes.
    fn trained(
        &mut self,
        name: &str,
        shape: &[usize],
        make: impl FnOnce(&mut Initial) -> Tensor,
    ) -> String {
        self.parameters = self.parameters.saturating_add(elements(shape));
        self.weight(name, shape, make)
    }

    fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        make: impl FnOnce(&mut Initial) -> Tensor,
    ) -> String {
        self.weights = self.weights.saturating_add(elements(shape));
        if self.weights <= MOST_WEIGHTS {
            let tensor = make(&mut self.initial);
            self.graph.initializer(name, &tensor);
        }
        name.to_owned()
    }
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |count: u64, &size| count.saturating_mul(size as u64))
}

/// A size as ONNX has it.
pub(super) fn size_i64(size: usize) -> i64 {
    i64::try_from(size).expect("sizes were checked against their most")
}
