//! One operator under test: how it is called, and whether its derivative is right.

use std::sync::Arc;

use onnxd::autodiff::{Gradient, backward};
use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::build::{AttributeValue, GraphBuilder, Node, value_info};
use onnxd::onnx::proto::ModelProto;
use onnxd::tensor::{DataType, Tensor};
use onnxd::train::{observe, open};

use crate::engines::{onnxruntime, tract};
use crate::numbers::{Random, floats, values};

/// Elements of one input that are moved, one by one, for the differences.
const MAX_MOVED: usize = 60;

/// A call of one operator. Its floating-point inputs are differentiated; all others are constants.
pub struct Case {
    operator: &'static str,
    opset: i64,
    inputs: Vec<Input>,
    attributes: Vec<(&'static str, AttributeValue)>,
    outputs: usize,
    /// Outputs that the loss is made of; all that are floats otherwise.
    used: Option<Vec<usize>>,
    reference: Reference,
    tolerance: f64,
}

enum Input {
    /// A shape and its values.
    Floats(Vec<usize>, Vec<f64>),
    Constant(Tensor),
    /// A float that is given as an initializer and not differentiated.
    Fixed(Vec<usize>, Vec<f64>),
    LeftOut,
}

/// Where the differences are taken, in 64-bit floats.
#[derive(Clone, Copy, PartialEq)]
enum Reference {
    Tract,
    OnnxRuntime,
    /// Neither engine has the operator in 64-bit floats: 32-bit, with wide differences.
    Coarse,
}

impl Case {
    pub fn of(operator: &'static str) -> Case {
        Case {
            operator,
            opset: 17,
            inputs: Vec::new(),
            attributes: Vec::new(),
            outputs: 1,
            used: None,
            reference: Reference::Tract,
            tolerance: 1e-6,
        }
    }

    pub fn opset(mut self, opset: i64) -> Case {
        self.opset = opset;
        self
    }

    /// An input of numbers between -2 and 2.
    pub fn floats(self, shape: &[usize]) -> Case {
        self.floats_in(shape, -2.0, 2.0)
    }

    /// An input of numbers in a range.
    pub fn floats_in(mut self, shape: &[usize], low: f64, high: f64) -> Case {
        let values = self.random(shape, low, high);
        self.inputs.push(Input::Floats(shape.to_vec(), values));
        self
    }

    /// An input of these numbers.
    pub fn values(mut self, shape: &[usize], values: &[f64]) -> Case {
        self.inputs.push(Input::Floats(shape.to_vec(), values.to_vec()));
        self
    }

    /// A float that is not differentiated.
    pub fn fixed(mut self, shape: &[usize], values: &[f64]) -> Case {
        self.inputs.push(Input::Fixed(shape.to_vec(), values.to_vec()));
        self
    }

    /// An input of another type.
    pub fn constant(mut self, tensor: Tensor) -> Case {
        self.inputs.push(Input::Constant(tensor));
        self
    }

    /// An optional input that the node leaves out.
    pub fn left_out(mut self) -> Case {
        self.inputs.push(Input::LeftOut);
        self
    }

    pub fn attribute(mut self, name: &'static str, value: impl Into<AttributeValue>) -> Case {
        self.attributes.push((name, value.into()));
        self
    }

    pub fn outputs(mut self, count: usize) -> Case {
        self.outputs = count;
        self
    }

    /// The loss is made of these outputs alone.
    pub fn using(mut self, outputs: &[usize]) -> Case {
        self.used = Some(outputs.to_vec());
        self
    }

    /// tract lacks it in 64-bit floats.
    pub fn on_onnxruntime(mut self) -> Case {
        self.reference = Reference::OnnxRuntime;
        self
    }

    /// Neither engine has it in 64-bit floats.
    pub fn coarsely(mut self) -> Case {
        self.reference = Reference::Coarse;
        self
    }

    /// Instead of 1e-6 of the largest element.
    pub fn tolerance(mut self, tolerance: f64) -> Case {
        self.tolerance = tolerance;
        self
    }

    fn random(&self, shape: &[usize], low: f64, high: f64) -> Vec<f64> {
        let mut random = Random::new(self.inputs.len() as u64 * 7919 + 1);
        (0..shape.iter().product()).map(|_| random.next(low, high)).collect()
    }

    /// Checks the gradient of every float input: against central differences in 64-bit floats,
    /// and in 32-bit floats on ONNX Runtime against that.
    pub fn check(&self) {
        let (engine, data_type): (Arc<dyn Engine>, _) = match self.reference {
            Reference::Tract => (tract(), DataType::Float64),
            Reference::OnnxRuntime => (onnxruntime(), DataType::Float64),
            Reference::Coarse => (onnxruntime(), DataType::Float32),
        };
        let gradients = self.gradients(&*engine, data_type);
        let expected = self.differences(&*engine, data_type);
        let tolerance = if self.reference == Reference::Coarse { 2e-2 } else { self.tolerance };
        self.compare("central differences", &gradients, &expected, tolerance);
        let single = self.gradients(&*onnxruntime(), DataType::Float32);
        self.compare("32-bit floats", &single, &gradients, 2e-4);
    }

    fn compare(&self, what: &str, actual: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
        for (input, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
            assert_eq!(actual.len(), expected.len(), "{} input {input}", self.operator);
            for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
                // Elements beyond those that were moved have no difference to compare with.
                let near = e.is_nan() || (a - e).abs() <= tolerance * scale;
                let operator = self.operator;
                assert!(
                    near,
                    "{operator} against {what}: gradient {index} of float input {input} is {a}, \
                     expected {e}\n all: {actual:?}\nexpected: {expected:?}"
                );
            }
        }
    }

    /// The model in that type: float inputs are inputs.
    fn model(&self, data_type: DataType) -> (ModelProto, Vec<String>) {
        let mut graph = GraphBuilder::new("case");
        let mut names = Vec::new();
        for (index, input) in self.inputs.iter().enumerate() {
            let name = format!("x{index}");
            names.push(match input {
                Input::Floats(shape, _) => {
                    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
                    graph.input(&name, data_type, &shape.join(", "))
                }
                Input::Fixed(shape, values) => {
                    graph.initializer(&name, &floats(data_type, shape, values))
                }
                Input::Constant(tensor) => graph.initializer(&name, tensor),
                Input::LeftOut => String::new(),
            });
        }
        let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = Node::new(self.operator, &inputs);
        let outputs: Vec<String> = (0..self.outputs).map(|index| format!("y{index}")).collect();
        for output in &outputs {
            node = node.output(output);
        }
        for (name, value) in &self.attributes {
            node = node.attribute(name, value.clone());
        }
        graph.node(node);
        let mut model = graph.into_model(self.opset);
        let graph = model.graph.as_mut().expect("just built");
        let used = |index: &usize| self.used.as_ref().is_none_or(|used| used.contains(index));
        let shown = (0..self.outputs).filter(used).map(|index| outputs[index].clone());
        let shown: Vec<String> = shown.collect();
        for name in &shown {
            graph.output.push(value_info(name, data_type, None));
        }
        (model, shown)
    }

    fn given(&self, data_type: DataType) -> Vec<Tensor> {
        let tensor = |input: &Input| match input {
            Input::Floats(shape, values) => Some(floats(data_type, shape, values)),
            _ => None,
        };
        self.inputs.iter().filter_map(tensor).collect()
    }

    /// What each output's elements count for in the loss.
    fn weights(index: usize, count: usize) -> Vec<f64> {
        let mut random = Random::new(1000 + index as u64);
        (0..count).map(|_| random.next(-1.0, 1.0)).collect()
    }

    fn gradients(&self, engine: &dyn Engine, data_type: DataType) -> Vec<Vec<f64>> {
        let (model, shown) = self.model(data_type);
        let given = self.given(data_type);
        let model = with_loss(model, &shown, engine, &given, data_type);
        let facts = observe(engine, &model, std::slice::from_ref(&given))
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator))
            .facts;
        let wanted: Vec<String> = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(_, input)| matches!(input, Input::Floats(..)))
            .map(|(index, _)| format!("x{index}"))
            .collect();
        let gradient = backward(&model, &facts, "loss", &wanted)
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator));
        let names = gradient.gradients.clone();
        let model = with_gradient(model, gradient, data_type);
        let results = run(engine, &model, &given)
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator));
        let mut results = results.iter();
        let gradient_of = |(name, input): (&Option<String>, &Tensor)| match name {
            Some(_) => {
                let tensor = results.next().expect("one result per gradient");
                assert_eq!(tensor.shape(), input.shape(), "{}: {name:?}", self.operator);
                values(tensor)
            }
            None => vec![0.0; input.element_count()],
        };
        names.iter().zip(&given).map(gradient_of).collect()
    }

    fn differences(&self, engine: &dyn Engine, data_type: DataType) -> Vec<Vec<f64>> {
        let (model, _) = self.model(data_type);
        let step: f64 = if data_type == DataType::Float64 { 1e-5 } else { 1e-2 };
        let mut session = open(engine, &model, &SessionSettings::cpu())
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator));
        let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
        let mut loss = |given: &[Tensor]| -> f64 {
            let given: Vec<Option<Tensor>> = given.iter().cloned().map(Some).collect();
            let results = session.run(&given, &outputs).expect("it ran before");
            let weigh = |(index, tensor): (usize, &Tensor)| -> f64 {
                let values = values(tensor);
                let weights = Case::weights(index, values.len());
                values.iter().zip(&weights).map(|(value, weight)| value * weight).sum()
            };
            results.iter().enumerate().map(weigh).sum()
        };
        let given = self.given(data_type);
        let mut all = Vec::new();
        for (place, tensor) in given.iter().enumerate() {
            let center = values(tensor);
            let mut differences = vec![f64::NAN; center.len()];
            let stride = center.len().div_ceil(MAX_MOVED).max(1);
            for index in (0..center.len()).step_by(stride) {
                let mut at = |moved: f64| {
                    let mut values = center.clone();
                    values[index] += moved;
                    let mut given = given.clone();
                    given[place] = floats(data_type, tensor.shape(), &values);
                    loss(&given)
                };
                differences[index] = (at(step) - at(-step)) / (2.0 * step);
            }
            all.push(differences);
        }
        all
    }
}

/// The loss: the sum of all outputs' elements, each times a number of its own.
fn with_loss(
    mut model: ModelProto,
    outputs: &[String],
    engine: &dyn Engine,
    given: &[Tensor],
    data_type: DataType,
) -> ModelProto {
    let results = run(engine, &model, given).unwrap_or_else(|error| panic!("{error}"));
    let mut builder = GraphBuilder::new("loss");
    let mut parts = Vec::new();
    for (index, (name, result)) in outputs.iter().zip(&results).enumerate() {
        let weights = Case::weights(index, result.element_count());
        let weights = floats(data_type, result.shape(), &weights);
        let weights = builder.initializer(&format!("loss/weights{index}"), &weights);
        let product = Node::new("Mul", &[name, &weights])
            .name(&format!("loss/product{index}"))
            .output(&format!("loss/product{index}"));
        let product = builder.node(product);
        let sum = Node::new("ReduceSum", &[&product])
            .attribute("keepdims", 0i64)
            .name(&format!("loss/sum{index}"))
            .output(&format!("loss/sum{index}"));
        parts.push(builder.node(sum));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    builder.node(Node::new("Sum", &parts).name("loss").output("loss"));
    let loss = builder.into_graph();
    let graph = model.graph.as_mut().expect("built here");
    graph.node.extend(loss.node);
    graph.initializer.extend(loss.initializer);
    graph.output = vec![value_info("loss", data_type, Some(&[]))];
    model
}

fn with_gradient(mut model: ModelProto, gradient: Gradient, data_type: DataType) -> ModelProto {
    gradient.append_to(&mut model);
    let graph = model.graph.as_mut().expect("built here");
    graph.output.clear();
    for name in gradient.gradients.iter().flatten() {
        graph.output.push(value_info(name, data_type, None));
    }
    model
}

fn run(
    engine: &dyn Engine,
    model: &ModelProto,
    given: &[Tensor],
) -> Result<Vec<Tensor>, onnxd::train::TrainError> {
    let mut session = open(engine, model, &SessionSettings::cpu())?;
    let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
    let given: Vec<Option<Tensor>> = given.iter().cloned().map(Some).collect();
    Ok(session.run(&given, &outputs)?)
}
