//! Recurrences, written out step by step.

use onnxd::onnx::build::{AttributeValue, GraphBuilder, Node};
use onnxd::tensor::{DataType, Tensor};

use crate::case::Case;
use crate::engines::onnxruntime;
use crate::expanded::{declared, expanded};
use crate::graph::run;
use crate::numbers::{floats, short_ints, values};

const STEPS: usize = 3;
const BATCH: usize = 2;
const WIDTH: usize = 4;
const HIDDEN: usize = 3;

/// What an operator's weights are like.
#[derive(Clone, Copy)]
struct Cell {
    operator: &'static str,
    gates: usize,
    /// The output, and the last of each state.
    outputs: usize,
}

const LSTM: Cell = Cell { operator: "LSTM", gates: 4, outputs: 3 };
const GRU: Cell = Cell { operator: "GRU", gates: 3, outputs: 2 };
const RNN: Cell = Cell { operator: "RNN", gates: 1, outputs: 2 };

impl Cell {
    /// Input and weights; small, so that nothing is saturated.
    fn of(self, directions: usize) -> Case {
        let rows = self.gates * HIDDEN;
        let case = Case::of(self.operator)
            .expanded()
            .on_onnxruntime()
            .and_tract()
            .outputs(self.outputs)
            .attribute("hidden_size", HIDDEN as i64)
            .floats_in(&[STEPS, BATCH, WIDTH], -1.0, 1.0)
            .floats_in(&[directions, rows, WIDTH], -0.8, 0.8)
            .floats_in(&[directions, rows, HIDDEN], -0.8, 0.8);
        match directions {
            2 => case.attribute("direction", "bidirectional"),
            _ => case,
        }
    }

    /// Biases too.
    fn biased(self, directions: usize) -> Case {
        self.of(directions).floats_in(&[directions, 2 * self.gates * HIDDEN], -0.5, 0.5)
    }

    fn all(self, directions: usize) -> Case {
        let lengths = short_ints(&[BATCH], &[STEPS as i32, 2]);
        let case = self.biased(directions).given(lengths);
        (1..self.outputs)
            .fold(case, |case, _| case.floats_in(&[directions, BATCH, HIDDEN], -0.8, 0.8))
    }
}

fn names(names: &[&str]) -> AttributeValue {
    AttributeValue::Strings(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn inputs_outputs_and_directions() {
    for cell in [LSTM, GRU, RNN] {
        for directions in [1, 2] {
            cell.of(directions).check();
            cell.biased(directions).check();
            cell.all(directions).check();
        }
        cell.of(1).attribute("direction", "reverse").check();
        cell.all(1).attribute("direction", "reverse").check();
        cell.biased(1).outputs(1).check();
        cell.biased(2).using(&[1]).check();
        cell.biased(1).opset(22).check();
        let same = short_ints(&[BATCH], &[STEPS as i32; BATCH]);
        cell.biased(1).constant(same).check();
    }
}

#[test]
fn activations() {
    let lstm =
        |f: &str, g: &str, h: &str| LSTM.biased(1).attribute("activations", names(&[f, g, h]));
    lstm("HardSigmoid", "Softsign", "Softplus").coarsely().check();
    let given = lstm("HardSigmoid", "Affine", "ScaledTanh");
    let given = given.attribute("activation_alpha", &[0.3f32, 0.7, 1.2][..]);
    given.attribute("activation_beta", &[0.4f32, 0.1, 0.9][..]).coarsely().check();
    let two = ["Sigmoid", "Tanh", "HardSigmoid", "Softsign"];
    GRU.biased(2).attribute("activations", names(&two)).coarsely().check();
    for name in ["Relu", "LeakyRelu", "Elu", "Softplus", "Tanh"] {
        RNN.biased(1).attribute("activations", names(&[name])).coarsely().check();
    }
    // Below everything: at the threshold it jumps, and differences are of no use.
    let threshold = RNN.biased(1).attribute("activations", names(&["ThresholdedRelu"]));
    threshold.attribute("activation_alpha", &[-5.0f32][..]).coarsely().check();
}

#[test]
fn clipping() {
    for cell in [LSTM, GRU, RNN] {
        cell.biased(2).attribute("clip", 0.3f32).check();
    }
    GRU.biased(1).attribute("clip", 0.3f32).attribute("linear_before_reset", 1i64).check();
}

#[test]
fn peepholes_and_coupled_gates() {
    let looking =
        |directions: usize| LSTM.all(directions).floats_in(&[directions, 3 * HIDDEN], -0.8, 0.8);
    looking(1).check();
    looking(2).check();
    looking(1).attribute("clip", 0.4f32).check();
    looking(1).attribute("input_forget", 1i64).check();
    LSTM.biased(1).attribute("input_forget", 1i64).check();
}

#[test]
fn the_reset_gate_behind_the_product() {
    GRU.biased(1).attribute("linear_before_reset", 1i64).check();
    GRU.of(1).attribute("linear_before_reset", 1i64).check();
    GRU.all(2).attribute("linear_before_reset", 1i64).check();
}

/// ONNX Runtime has this layout not: it is that of the other one, turned.
#[test]
fn samples_before_steps() {
    for cell in [LSTM, GRU, RNN] {
        for directions in [1, 2] {
            let usual = cell.all(directions);
            let (model, _) = usual.model(DataType::Float32);
            let mut given = usual.inputs(DataType::Float32);
            let expected = run(&*onnxruntime(), &model, &given).expect("it runs");
            let turned = cell.turned(directions, &given);
            // Inputs with a batch axis: the sequence and the states.
            for index in std::iter::once(0).chain(5..given.len()) {
                given[index] = swap(&given[index]);
            }
            let actual = run(&*onnxruntime(), &turned, &given).expect("it runs");
            assert_eq!(values(&expected[0]), values(&to_front(&actual[0])), "{}", cell.operator);
            for (actual, expected) in actual.iter().zip(&expected).skip(1) {
                assert_eq!(values(expected), values(&swap(actual)), "{}", cell.operator);
            }
        }
    }
}

impl Cell {
    /// The node in that layout, written out.
    fn turned(self, directions: usize, given: &[Tensor]) -> onnxd::onnx::proto::ModelProto {
        let mut graph = GraphBuilder::new("turned");
        let mut names = Vec::new();
        for (index, tensor) in given.iter().enumerate() {
            let mut shape = tensor.shape().to_vec();
            if index == 0 || index >= 5 {
                shape.swap(0, 1);
            }
            let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
            names.push(graph.input(&format!("x{index}"), tensor.data_type(), &shape.join(",")));
        }
        let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let direction = if directions == 2 { "bidirectional" } else { "forward" };
        let mut node = Node::new(self.operator, &inputs)
            .name("node")
            .attribute("hidden_size", HIDDEN as i64)
            .attribute("direction", direction)
            .attribute("layout", 1i64);
        for index in 0..self.outputs {
            node = node.output(&format!("y{index}"));
            graph.output(&format!("y{index}"), DataType::Float32, "?, ?, ?");
        }
        graph.node(node);
        let mut model = graph.into_model(17);
        let output = &mut model.graph.as_mut().expect("just built").output[0];
        *output = onnxd::onnx::build::value_info("y0", DataType::Float32, None);
        expanded(&model, &["x0".to_owned()], "y0")
    }
}

/// The first two axes of three exchanged.
fn swap(tensor: &Tensor) -> Tensor {
    let [rows, columns, width] = *tensor.shape() else { panic!("three axes") };
    let all = values(tensor);
    let mut turned = Vec::new();
    for column in 0..columns {
        for row in 0..rows {
            turned.extend(&all[(row * columns + column) * width..][..width]);
        }
    }
    floats(DataType::Float32, &[columns, rows, width], &turned)
}

/// `[batch, steps, directions, hidden]` to `[steps, directions, batch, hidden]`.
fn to_front(tensor: &Tensor) -> Tensor {
    let [batch, steps, directions, hidden] = *tensor.shape() else { panic!("four axes") };
    let rows = floats(DataType::Float32, &[batch, steps * directions, hidden], &values(tensor));
    swap(&rows)
}

#[test]
fn lengths_that_are_not_known_and_too_many_steps_are_refused() {
    let check = |steps: &str, direction: &str, activation: &str, reason: &str| {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, &format!("{steps}, 2, 1"));
        let weight = floats(DataType::Float32, &[2, 1, 1], &[0.5; 2]);
        graph.initializer("w", &weight);
        graph.initializer("r", &weight);
        let node = Node::new("RNN", &["x", "w", "r"]).name("recurrence");
        let two = vec![activation.to_owned(); 2];
        let node = node.attribute("direction", direction).attribute("activations", two);
        graph.node(node.output("y"));
        graph.output("y", DataType::Float32, "?, ?, ?, ?");
        let model = graph.into_model(17);
        let facts = declared(&model);
        let error = onnxd::autodiff::expand(&model, &facts, "y", &["w".to_owned()]);
        let error = error.expect_err(reason).to_string();
        assert!(error.contains("node \"recurrence\" (RNN)") && error.contains(reason), "{error}");
    };
    check("length", "bidirectional", "Tanh", "give the model's input a fixed one");
    check("513", "bidirectional", "Tanh", "513 steps in 2 directions, expected 1 to 1024 in all");
    check("5", "sideways", "Tanh", "its direction is \"sideways\"");
    check("5", "forward", "Tanh", "it names 2 activations, expected 1");
    check("5", "bidirectional", "Affine", "does not give the numbers of its activation \"Affine\"");
    check("5", "bidirectional", "Swish", "its activation is \"Swish\", expected Relu, Tanh");
}
