//! The models: those of `peer.py`, in ONNX.

use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::onnx::proto::ModelProto;
use onnxd::onnx::samples::{EncoderSize, Random, encoder, mlp};
use onnxd::tensor::{DataType, Shape, Tensor};
use onnxd::train::Loss;

pub struct Case {
    pub name: &'static str,
    pub batch: usize,
    pub model: ModelProto,
    pub input_names: Vec<&'static str>,
    pub inputs: Vec<Tensor>,
    pub target: Tensor,
    pub output: &'static str,
    pub loss: Loss,
    /// How often PyTorch's step should hold ours: as a user finds it, and at its best.
    pub eager_bar: f64,
    pub best_bar: f64,
}

pub fn all() -> Vec<Case> {
    vec![
        perceptron(32, 4.0, 2.0),
        perceptron(256, 2.0, 1.2),
        convolutions(),
        residual(),
        sentences(),
    ]
}

fn perceptron(batch: usize, eager_bar: f64, best_bar: f64) -> Case {
    Case {
        name: "mlp",
        batch,
        model: mlp(64, &[512, 512], 10),
        input_names: vec!["input"],
        inputs: vec![Random::new(3).tensor(&[batch, 64], 1.0)],
        target: integers(&[batch], 10),
        output: "output",
        loss: Loss::CrossEntropy,
        eager_bar,
        best_bar,
    }
}

fn images(name: &'static str, model: ModelProto, eager_bar: f64, best_bar: f64) -> Case {
    Case {
        name,
        batch: 32,
        model,
        input_names: vec!["input"],
        inputs: vec![Random::new(3).tensor(&[32, 3, 32, 32], 1.0)],
        target: integers(&[32], 10),
        output: "output",
        loss: Loss::CrossEntropy,
        eager_bar,
        best_bar,
    }
}

fn convolutions() -> Case {
    let mut net = Network::new();
    let mut x = "input".to_owned();
    for (before, channels, stride) in [(3, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1)] {
        x = net.convolution(&x, [before, channels, 3], stride, true);
        x = net.graph.call("Relu", &[&x]);
    }
    images("cnn", net.finish(&x, 64), 1.8, 1.2)
}

fn residual() -> Case {
    let mut net = Network::new();
    let mut x = net.normalized("input", [3, 16, 3], 1);
    x = net.graph.call("Relu", &[&x]);
    let mut before = 16;
    for channels in [16, 32, 64] {
        for place in 0..3 {
            let stride = if place == 0 && channels != 16 { 2 } else { 1 };
            let first = net.normalized(&x, [before, channels, 3], stride);
            let first = net.graph.call("Relu", &[&first]);
            let second = net.normalized(&first, [channels, channels, 3], 1);
            let way = if stride == 1 && before == channels {
                x
            } else {
                net.normalized(&x, [before, channels, 1], stride)
            };
            let sum = net.graph.call("Add", &[&second, &way]);
            x = net.graph.call("Relu", &[&sum]);
            before = channels;
        }
    }
    images("resnet", net.finish(&x, 64), 1.5, 1.2)
}

fn sentences() -> Case {
    let (batch, length) = (8, 32);
    let ones: Vec<u8> = (0..batch * length).flat_map(|_| 1i64.to_le_bytes()).collect();
    let shape = Shape::from_slice(&[batch, length]);
    let mask = Tensor::numbers(DataType::Int64, shape, ones.into()).expect("it fits");
    Case {
        name: "encoder",
        batch,
        model: encoder(EncoderSize::MINILM),
        input_names: vec!["input_ids", "attention_mask"],
        inputs: vec![integers(&[batch, length], 30_522), mask],
        target: Random::new(4).tensor(&[batch, length, 384], 1.0),
        output: "last_hidden_state",
        loss: Loss::MeanSquared,
        eager_bar: 2.2,
        best_bar: 1.05,
    }
}

fn integers(shape: &[usize], below: u64) -> Tensor {
    let mut random = Random::new(5);
    let count: usize = shape.iter().product();
    let value = |_| random.below(below).to_le_bytes();
    let bytes: Vec<u8> = (0..count).flat_map(value).collect();
    Tensor::numbers(DataType::Int64, Shape::from_slice(shape), bytes.into()).expect("it fits")
}

/// A network for images.
struct Network {
    graph: GraphBuilder,
    random: Random,
    layers: usize,
}

impl Network {
    fn new() -> Network {
        let mut graph = GraphBuilder::new("network");
        graph.input("input", DataType::Float32, "batch, 3, 32, 32");
        Network { graph, random: Random::new(1), layers: 0 }
    }

    /// `sizes` are channels before and behind, and the kernel's.
    fn convolution(&mut self, x: &str, sizes: [usize; 3], stride: i64, biased: bool) -> String {
        let [before, channels, kernel] = sizes;
        let name = format!("conv{}", self.layers);
        self.layers += 1;
        let deviation = (2.0 / (before * kernel * kernel) as f32).sqrt();
        let weight = self.random.tensor(&[channels, before, kernel, kernel], deviation);
        let weight = self.graph.initializer(&format!("{name}.weight"), &weight);
        let mut inputs = vec![x.to_owned(), weight];
        if biased {
            let bias = Tensor::zeros(DataType::Float32, Shape::from_slice(&[channels]));
            let bias = bias.expect("a few numbers");
            inputs.push(self.graph.initializer(&format!("{name}.bias"), &bias));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let pad = (kernel / 2) as i64;
        let node = Node::new("Conv", &inputs)
            .attribute("kernel_shape", [kernel as i64; 2])
            .attribute("strides", [stride; 2])
            .attribute("pads", [pad; 4]);
        self.graph.node(node)
    }

    fn normalized(&mut self, x: &str, sizes: [usize; 3], stride: i64) -> String {
        let name = format!("norm{}", self.layers);
        let y = self.convolution(x, sizes, stride, false);
        let shape = [sizes[1]];
        let mut values = |what: &str, value: f32| {
            let tensor = Tensor::from_f32(&shape, &vec![value; sizes[1]]).expect("they fit");
            self.graph.initializer(&format!("{name}.{what}"), &tensor)
        };
        let (scale, bias) = (values("scale", 1.0), values("bias", 0.0));
        let (mean, variance) = (values("mean", 0.0), values("variance", 1.0));
        self.graph.node(Node::new("BatchNormalization", &[&y, &scale, &bias, &mean, &variance]))
    }

    fn finish(mut self, x: &str, channels: usize) -> ModelProto {
        let mean = self.graph.call("GlobalAveragePool", &[x]);
        let flat = self.graph.node(Node::new("Flatten", &[&mean]).attribute("axis", 1i64));
        let weight = self.random.tensor(&[channels, 10], (1.0 / channels as f32).sqrt());
        let weight = self.graph.initializer("head.weight", &weight);
        let bias = Tensor::from_f32(&[10], &[0.0; 10]).expect("they fit");
        let bias = self.graph.initializer("head.bias", &bias);
        self.graph.node(Node::new("Gemm", &[&flat, &weight, &bias]).output("output"));
        self.graph.output("output", DataType::Float32, "batch, 10");
        self.graph.into_model(17)
    }
}
