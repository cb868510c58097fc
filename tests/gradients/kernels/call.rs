//! One call of a function, as a model of its own.

use std::sync::Arc;

use onnxd::autodiff::DOMAIN;
use onnxd::engine::{Engine, EngineError, SessionSettings};
use onnxd::onnx::build::{AttributeValue, GraphBuilder, Node, attribute, value_info};
use onnxd::onnx::proto::{AttributeProto, FunctionProto, ModelProto};
use onnxd::tensor::{DataType, Tensor};
use onnxd::train::{TrainError, open};

use crate::engines::{onnxruntime, tract};
use crate::numbers::{Random, floats, values};

/// A call, its inputs and what it answers.
pub struct Call {
    function: FunctionProto,
    /// What the function calls.
    helpers: Vec<FunctionProto>,
    opset: i64,
    inputs: Vec<Tensor>,
    attributes: Vec<AttributeProto>,
    /// Outputs that the call names.
    wanted: Vec<usize>,
    tolerance: f64,
    /// Whether the first axis of the first input, and of all that have as long a one, is open.
    open: bool,
    /// tract refuses the body.
    body_elsewhere: bool,
}

impl Call {
    /// A call of the function that is made for operators of version 17.
    pub fn of(function: fn(i64) -> FunctionProto) -> Call {
        Call::of_made(function(17))
    }

    pub fn of_made(function: FunctionProto) -> Call {
        Call {
            wanted: (0..function.output.len()).collect(),
            function,
            helpers: Vec::new(),
            opset: 17,
            inputs: Vec::new(),
            attributes: Vec::new(),
            tolerance: 2e-5,
            open: false,
            body_elsewhere: false,
        }
    }

    /// A function that this one calls.
    pub fn helper(mut self, function: FunctionProto) -> Call {
        self.helpers.push(function);
        self
    }

    /// An input of numbers between -2 and 2.
    pub fn floats(self, shape: &[usize]) -> Call {
        self.floats_in(shape, -2.0, 2.0)
    }

    pub fn floats_in(self, shape: &[usize], low: f64, high: f64) -> Call {
        let mut random = Random::new(self.inputs.len() as u64 * 7919 + 1);
        let values: Vec<f64> =
            (0..shape.iter().product()).map(|_| random.next(low, high)).collect();
        self.tensor(floats(DataType::Float32, shape, &values))
    }

    pub fn tensor(mut self, tensor: Tensor) -> Call {
        self.inputs.push(tensor);
        self
    }

    pub fn attribute(self, name: &str, value: impl Into<AttributeValue>) -> Call {
        self.given_attribute(attribute(name, value.into()))
    }

    pub fn given_attribute(mut self, attribute: AttributeProto) -> Call {
        self.attributes.push(attribute);
        self
    }

    /// The call names these outputs alone; the others have no name.
    pub fn wanting(mut self, outputs: &[usize]) -> Call {
        self.wanted = outputs.to_vec();
        self
    }

    /// Instead of 2e-5 of the largest element.
    pub fn tolerance(mut self, tolerance: f64) -> Call {
        self.tolerance = tolerance;
        self
    }

    /// The batch is not known beforehand.
    pub fn open(mut self) -> Call {
        self.open = true;
        self
    }

    /// tract lacks something that the body needs: its kernel is held against the other engine.
    pub fn body_elsewhere(mut self) -> Call {
        self.body_elsewhere = true;
        self
    }

    /// Checks the kernel on both engines.
    pub fn check(&self) {
        let bodies = self.run(&*onnxruntime(), false, 1).expect("ONNX Runtime has all operators");
        for engine in [onnxruntime(), tract()] {
            let name = format!("{} on {}", self.function.name(), engine.name());
            let bodies = if engine.name() == "tract" && !self.body_elsewhere {
                self.run(&*engine, false, 1).unwrap_or_else(|error| panic!("{name}: {error}"))
            } else {
                bodies.clone()
            };
            self.check_engine(&name, &engine, &bodies);
        }
    }

    /// Checks that ONNX Runtime computes the same bits with the body, however often, on 2 threads.
    pub fn assert_body_repeats(&self, times: usize) {
        let run = || self.run(&*onnxruntime(), false, 2).expect("ONNX Runtime has all operators");
        let first = run();
        for _ in 1..times {
            for (again, first) in run().iter().zip(&first) {
                assert_eq!(again.bytes(), first.bytes(), "{}", self.function.name());
            }
        }
    }

    /// Checks that both engines refuse the call, and say so.
    pub fn refused(&self, reason: &str) {
        for engine in [onnxruntime(), tract()] {
            let error = self.run(&*engine, true, 1).expect_err("it is refused").to_string();
            assert!(error.contains(reason), "{}: {error}", engine.name());
        }
    }

    fn check_engine(&self, name: &str, engine: &Arc<dyn Engine>, bodies: &[Tensor]) {
        let run = |threads: usize| {
            self.run(&**engine, true, threads).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let first = run(1);
        for (index, (kernel, body)) in first.iter().zip(bodies).enumerate() {
            assert_eq!(kernel.shape(), body.shape(), "{name}, output {index}");
            let (actual, expected) = (values(kernel), values(body));
            let scale = expected.iter().fold(0.1f64, |most, value| most.max(value.abs()));
            for (place, (a, e)) in actual.iter().zip(&expected).enumerate() {
                let near = (a - e).abs() <= self.tolerance * scale;
                assert!(near, "{name}, output {index}, element {place}: {a}, the body has {e}");
            }
        }
        for threads in [1, 2, 3] {
            for (again, first) in run(threads).iter().zip(&first) {
                assert_eq!(again.bytes(), first.bytes(), "{name} on {threads} threads");
            }
        }
    }

    /// What a run answers; with kernels it is seen to it that one ran.
    fn run(
        &self,
        engine: &dyn Engine,
        kernels: bool,
        threads: usize,
    ) -> Result<Vec<Tensor>, TrainError> {
        let settings = SessionSettings { kernels, threads, ..SessionSettings::cpu() };
        let mut session = open(engine, &self.model(), &settings)?;
        if kernels {
            let nodes: usize = session.placement().nodes.iter().map(|part| part.nodes).sum();
            assert_eq!(nodes, 1, "{}: the call is one node", self.function.name());
        }
        let given: Vec<Option<Tensor>> = self.inputs.iter().cloned().map(Some).collect();
        let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
        let first = session.run(&given, &outputs)?;
        let again: Result<Vec<Tensor>, EngineError> = session.run(&given, &outputs);
        for (first, again) in first.iter().zip(&again?) {
            assert_eq!(first.bytes(), again.bytes(), "{}: a second run", self.function.name());
        }
        Ok(first)
    }

    fn model(&self) -> ModelProto {
        let mut graph = GraphBuilder::new("call");
        let mut names = Vec::new();
        let batch =
            self.inputs.first().and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
        for (index, tensor) in self.inputs.iter().enumerate() {
            let mut sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
            if self.open && sizes.len() > 1 && tensor.shape()[0] == batch {
                sizes[0] = "batch".to_owned();
            }
            let name = format!("x{index}");
            names.push(graph.input(&name, tensor.data_type(), &sizes.join(", ")));
        }
        let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = Node::new(self.function.name(), &inputs).domain(DOMAIN).into_proto();
        for output in 0..self.function.output.len() {
            let name = format!("y{output}");
            node.output.push(if self.wanted.contains(&output) { name } else { String::new() });
        }
        node.attribute = self.attributes.clone();
        node.name = Some("call".to_owned());
        graph.import(DOMAIN, 1);
        for function in [&self.function].into_iter().chain(&self.helpers) {
            graph.function(function.clone());
        }
        let mut model = graph.into_model(self.opset);
        let graph = model.graph.as_mut().expect("just built");
        graph.node.push(node);
        for output in &self.wanted {
            graph.output.push(value_info(&format!("y{output}"), DataType::Float32, None));
        }
        model
    }
}
