//! An image classifier of the ResNet-18 kind, its batch normalisations folded into the
//! convolutions, as exporters leave it.

use super::{OPSET, Random};
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::proto::ModelProto;
use crate::tensor::DataType;

/// `input` FP32 `[batch, 3, side, side]` to `output` FP32 `[batch, 1000]`. ResNet-18 itself has a
/// side of 224; any of at least 32 works.
pub fn resnet18(side: usize) -> ModelProto {
    let mut builder = Builder { graph: GraphBuilder::new("resnet18"), random: Random::new(3) };
    let shape = format!("batch, 3, {side}, {side}");
    let input = builder.graph.input("input", DataType::Float32, &shape);
    let stem = Convolution { from: 3, to: 64, kernel: 7, stride: 2, gain: 2.0 };
    let value = builder.convolution("stem", &input, stem);
    let value = builder.graph.call("Relu", &[&value]);
    let pool = Node::new("MaxPool", &[&value])
        .attribute("kernel_shape", [3, 3])
        .attribute("pads", [1, 1, 1, 1])
        .attribute("strides", [2, 2]);
    let mut value = builder.graph.node(pool);
    let mut from = 64;
    for (stage, to) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let prefix = format!("stage{stage}.block{block}");
            value = builder.block(&prefix, &value, [from, to], stride);
            from = to;
        }
    }
    let Builder { mut graph, mut random } = builder;
    let pooled = graph.call("GlobalAveragePool", &[&value]);
    let flat = graph.node(Node::new("Flatten", &[&pooled]).attribute("axis", 1i64));
    let weight = random.tensor(&[1000, 512], (1.0 / 512f32).sqrt());
    let weight = graph.initializer("classes.weight", &weight);
    let bias = graph.initializer("classes.bias", &random.tensor(&[1000], 0.02));
    let classes = Node::new("Gemm", &[&flat, &weight, &bias]).attribute("transB", 1i64);
    graph.node(classes.output("output"));
    graph.output("output", DataType::Float32, "batch, 1000");
    graph.into_model(OPSET)
}

/// A square convolution that keeps the image's size but for its stride.
struct Convolution {
    from: usize,
    to: usize,
    kernel: usize,
    stride: i64,
    /// Variance out over variance in.
    gain: f32,
}

struct Builder {
    graph: GraphBuilder,
    random: Random,
}

impl Builder {
    /// Two convolutions beside a shortcut.
    fn block(&mut self, prefix: &str, x: &str, [from, to]: [usize; 2], stride: i64) -> String {
        let first = Convolution { from, to, kernel: 3, stride, gain: 2.0 };
        let inner = self.convolution(&format!("{prefix}.first"), x, first);
        let inner = self.graph.call("Relu", &[&inner]);
        // The shortcut adds its own variance: a small gain keeps the sum from growing.
        let second = Convolution { from: to, to, kernel: 3, stride: 1, gain: 0.2 };
        let inner = self.convolution(&format!("{prefix}.second"), &inner, second);
        let shortcut = if stride == 1 && from == to {
            x.to_owned()
        } else {
            let project = Convolution { from, to, kernel: 1, stride, gain: 1.0 };
            self.convolution(&format!("{prefix}.shortcut"), x, project)
        };
        let sum = self.graph.call("Add", &[&inner, &shortcut]);
        self.graph.call("Relu", &[&sum])
    }

    fn convolution(&mut self, prefix: &str, x: &str, shape: Convolution) -> String {
        let Convolution { from, to, kernel, stride, gain } = shape;
        let deviation = (gain / (from * kernel * kernel) as f32).sqrt();
        let weight = self.random.tensor(&[to, from, kernel, kernel], deviation);
        let weight = self.graph.initializer(&format!("{prefix}.weight"), &weight);
        let bias =
            self.graph.initializer(&format!("{prefix}.bias"), &self.random.tensor(&[to], 0.05));
        let side = i64::try_from(kernel).expect("kernels are small");
        let pad = side / 2;
        let node = Node::new("Conv", &[x, &weight, &bias])
            .attribute("kernel_shape", [side, side])
            .attribute("pads", [pad, pad, pad, pad])
            .attribute("strides", [stride, stride]);
        self.graph.node(node)
    }
}
