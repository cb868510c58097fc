//! One operator under test: how it is called, and whether its derivative is right.

use std::sync::Arc;

use onnxd::autodiff::{Facts, backward};
use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::build::{AttributeValue, GraphBuilder, Node, value_info};
use onnxd::onnx::proto::{FunctionProto, ModelProto};
use onnxd::onnx::types::value_types;
use onnxd::tensor::{DataType, Dimension, Tensor};
use onnxd::train::{observe, open};

use crate::engines::{onnxruntime, tract};
use crate::expanded::{assert_same_answers, expanded};
use crate::graph::{is_float, run, with_gradient, with_loss};
use crate::numbers::{Random, floats, values};

/// Elements of one input that are moved, one by one, for the differences.
const MAX_MOVED: usize = 60;

/// A call of one operator. Its floating-point inputs are differentiated; all others are constants.
pub struct Case {
    operator: &'static str,
    /// Where the operator is a function of our domain.
    function: Option<FunctionProto>,
    opset: i64,
    inputs: Vec<Input>,
    attributes: Vec<(&'static str, AttributeValue)>,
    outputs: usize,
    /// Outputs that the loss is made of; all that are floats otherwise.
    used: Option<Vec<usize>>,
    reference: Reference,
    tolerance: Option<f64>,
    /// Whether tract, too, computes the gradient in 32-bit floats.
    and_tract: bool,
    /// What each output's elements count for in the loss.
    weights: fn(usize, usize) -> Vec<f64>,
    /// A size that stands for an open dimension, wherever it appears.
    open: Option<usize>,
    /// Whether it is written out in other operators first.
    expanded: bool,
}

enum Input {
    /// A shape and its values.
    Floats(Vec<usize>, Vec<f64>),
    Constant(Tensor),
    /// The same, given when it runs.
    Given(Tensor),
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
            function: None,
            opset: 17,
            inputs: Vec::new(),
            attributes: Vec::new(),
            outputs: 1,
            used: None,
            reference: Reference::Tract,
            tolerance: None,
            and_tract: false,
            weights: Case::weights,
            open: None,
            expanded: false,
        }
    }

    /// A call of a function of our domain.
    pub fn of_function(operator: &'static str, function: FunctionProto) -> Case {
        Case { function: Some(function), ..Case::of(operator) }
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

    /// An input of another type whose values are not known beforehand.
    pub fn given(mut self, tensor: Tensor) -> Case {
        self.inputs.push(Input::Given(tensor));
        self
    }

    /// Dimensions of this size are taken to be open.
    pub fn open(mut self, size: usize) -> Case {
        self.open = Some(size);
        self
    }

    /// The operator is written out in others before it is differentiated; what they answer is to
    /// be what ONNX Runtime does for it.
    pub fn expanded(mut self) -> Case {
        self.expanded = true;
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

    /// Where the differences are another's: tract's gradient is to be the same.
    pub fn and_tract(mut self) -> Case {
        self.and_tract = true;
        self
    }

    /// Instead of 1e-6 of the largest element, or 2e-2 in 32-bit floats.
    pub fn tolerance(mut self, tolerance: f64) -> Case {
        self.tolerance = Some(tolerance);
        self
    }

    fn random(&self, shape: &[usize], low: f64, high: f64) -> Vec<f64> {
        let mut random = Random::new(self.inputs.len() as u64 * 7919 + 1);
        (0..shape.iter().product()).map(|_| random.next(low, high)).collect()
    }

    /// Checks the gradient of every float input: against central differences in 64-bit floats,
    /// and in 32-bit floats on ONNX Runtime against that.
    pub fn check(&self) {
        if self.expanded {
            let (written, _) = self.written(DataType::Float32);
            let (expanded, _) = self.model(DataType::Float32);
            let given = self.inputs(DataType::Float32);
            assert_same_answers(self.operator, &written, &expanded, &given);
        }
        let (engine, data_type): (Arc<dyn Engine>, _) = match self.reference {
            Reference::Tract => (tract(), DataType::Float64),
            Reference::OnnxRuntime => (onnxruntime(), DataType::Float64),
            Reference::Coarse => (onnxruntime(), DataType::Float32),
        };
        let gradients = self.gradients(&*engine, data_type);
        let expected = self.differences(&*engine, data_type);
        let usual = if self.reference == Reference::Coarse { 2e-2 } else { 1e-6 };
        let tolerance = self.tolerance.unwrap_or(usual);
        self.compare("central differences", &gradients, &expected, tolerance);
        let single = self.gradients(&*onnxruntime(), DataType::Float32);
        self.compare("32-bit floats", &single, &gradients, 2e-4);
        if self.and_tract {
            let single = self.gradients(&*tract(), DataType::Float32);
            self.compare("32-bit floats of tract", &single, &gradients, 2e-4);
        }
    }

    /// Checks the gradients against known ones, on both engines: at kinks, where differences say
    /// nothing.
    pub fn expect(&self, expected: &[Vec<f64>]) {
        for engine in [tract(), onnxruntime()] {
            let gradients = self.gradients(&*engine, DataType::Float32);
            self.compare("what is known", &gradients, expected, 1e-6);
        }
    }

    /// Checks the gradients of the outputs' sum against these numbers: where there is a kink, and
    /// differences are of no use.
    pub fn check_is(mut self, expected: &[&[f64]]) {
        self.weights = |_, count| vec![1.0; count];
        let expected: Vec<Vec<f64>> = expected.iter().map(|values| values.to_vec()).collect();
        let gradients = self.gradients(&*onnxruntime(), DataType::Float32);
        self.compare("what it is to be", &gradients, &expected, 1e-6);
    }

    /// Checks that it is refused, and why.
    pub fn refused(&self, reason: &str) {
        let engine = onnxruntime();
        let (model, shown) = self.model(DataType::Float32);
        let given = self.inputs(DataType::Float32);
        let model = with_loss(model, &shown, &*engine, &given, DataType::Float32, self.weights);
        let facts = self.facts(&*engine, &model, &given);
        let error = backward(&model, &facts, "loss", &self.wanted()).expect_err(self.operator);
        assert!(error.to_string().contains(reason), "{}: {error}", self.operator);
    }

    fn facts(&self, engine: &dyn Engine, model: &ModelProto, given: &[Tensor]) -> Facts {
        let observed = observe(engine, model, &[given.to_vec()])
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator));
        let mut facts = observed.facts;
        for dimension in facts.values_mut().flat_map(|fact| &mut fact.shape) {
            if self.open.is_some_and(|size| *dimension == Dimension::Fixed(size)) {
                *dimension = Dimension::Named("open".to_owned());
            }
        }
        facts
    }

    fn wanted(&self) -> Vec<String> {
        let inputs = self.inputs.iter().enumerate();
        let floats = inputs.filter(|(_, input)| matches!(input, Input::Floats(..)));
        floats.map(|(index, _)| format!("x{index}")).collect()
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

    /// The model that is differentiated, and its outputs.
    pub fn model(&self, data_type: DataType) -> (ModelProto, Vec<String>) {
        let (model, shown) = self.written(data_type);
        match self.expanded {
            true => (expanded(&model, &self.wanted(), &shown[0]), shown),
            false => (model, shown),
        }
    }

    /// The model in that type: float inputs are inputs.
    fn written(&self, data_type: DataType) -> (ModelProto, Vec<String>) {
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
                Input::Given(tensor) => {
                    let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
                    graph.input(&name, tensor.data_type(), &shape.join(", "))
                }
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
        if let Some(function) = &self.function {
            node = node.domain(function.domain());
            graph.import(function.domain(), 1);
            graph.function(function.clone());
        }
        graph.node(node);
        let mut model = graph.into_model(self.opset);
        let graph = model.graph.as_mut().expect("just built");
        let used = |index: &usize| self.used.as_ref().is_none_or(|used| used.contains(index));
        let shown = (0..self.outputs).filter(used).map(|index| outputs[index].clone());
        let shown: Vec<String> = shown.collect();
        let types = value_types(graph);
        let type_of = |name: &String| types.get(name.as_str()).copied().unwrap_or(data_type);
        let declared: Vec<_> =
            shown.iter().map(|name| value_info(name, type_of(name), None)).collect();
        graph.output = declared;
        (model, shown)
    }

    pub fn inputs(&self, data_type: DataType) -> Vec<Tensor> {
        let tensor = |input: &Input| match input {
            Input::Floats(shape, values) => Some(floats(data_type, shape, values)),
            Input::Given(tensor) => Some(tensor.clone()),
            _ => None,
        };
        self.inputs.iter().filter_map(tensor).collect()
    }

    /// Numbers that differ.
    pub fn weights(index: usize, count: usize) -> Vec<f64> {
        let mut random = Random::new(1000 + index as u64);
        (0..count).map(|_| random.next(-1.0, 1.0)).collect()
    }

    fn gradients(&self, engine: &dyn Engine, data_type: DataType) -> Vec<Vec<f64>> {
        let (model, shown) = self.model(data_type);
        let given = self.inputs(data_type);
        let model = with_loss(model, &shown, engine, &given, data_type, self.weights);
        let facts = self.facts(engine, &model, &given);
        let gradient = backward(&model, &facts, "loss", &self.wanted())
            .unwrap_or_else(|error| panic!("{}: {error}", self.operator));
        let names = gradient.gradients.clone();
        // A model without outputs is none.
        let results = if names.iter().any(Option::is_some) {
            let model = with_gradient(model, gradient, data_type);
            run(engine, &model, &given).unwrap_or_else(|error| panic!("{}: {error}", self.operator))
        } else {
            Vec::new()
        };
        let mut results = results.iter();
        let gradient_of = |(name, input): (&Option<String>, &Tensor)| match name {
            Some(_) => {
                let tensor = results.next().expect("one result per gradient");
                assert_eq!(tensor.shape(), input.shape(), "{}: {name:?}", self.operator);
                values(tensor)
            }
            None => vec![0.0; input.element_count()],
        };
        let moved = given.iter().filter(|tensor| is_float(tensor));
        names.iter().zip(moved).map(gradient_of).collect()
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
                let weights = (self.weights)(index, values.len());
                values.iter().zip(&weights).map(|(value, weight)| value * weight).sum()
            };
            results.iter().enumerate().map(weigh).sum()
        };
        let given = self.inputs(data_type);
        let mut all = Vec::new();
        for (place, tensor) in given.iter().enumerate() {
            if !is_float(tensor) {
                continue;
            }
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
