//! `If` on the way: the branch that shapes decide on is trained.

use onnxd::engine::SessionSettings;
use onnxd::onnx::build::{GraphBuilder, Node};
use onnxd::onnx::normalize;
use onnxd::onnx::proto::GraphProto;
use onnxd::tensor::{DataType, Tensor};
use onnxd::train::{
    Algorithm, Clipping, Loss, LossSettings, OptimizerSettings, StepPlan, Stepper, Trainable,
    parameters, prepare, step_graph,
};

use crate::engines::{onnxruntime, tract};
use crate::numbers::floats;

fn branch(operator: &str) -> GraphProto {
    let mut graph = GraphBuilder::new(operator);
    graph.node(Node::new(operator, &["product"]).output("chosen"));
    graph.output("chosen", DataType::Float32, "?, ?");
    graph.into_graph()
}

fn row(shape: &[usize], value: f64) -> Tensor {
    floats(DataType::Float32, shape, &vec![value; shape.iter().product()])
}

/// Exporters ask whether an axis is 1 before they take it away.
#[test]
fn the_branch_that_a_shape_decides_on_is_trained() {
    let mut graph = GraphBuilder::new("g");
    graph.input("x", DataType::Float32, "batch, 3");
    graph.initializer("w", &row(&[3, 2], 0.5));
    graph.node(Node::new("MatMul", &["x", "w"]).output("product"));
    graph.node(Node::new("Shape", &["x"]).output("shape"));
    graph.initializer("two", &crate::numbers::ints(&[2], &[2, 3]));
    graph.node(Node::new("Equal", &["shape", "two"]).output("equal"));
    graph.initializer("first", &crate::numbers::ints(&[], &[0]));
    graph.node(Node::new("Gather", &["equal", "first"]).output("condition"));
    let choice = Node::new("If", &["condition"]).attribute("then_branch", branch("Neg"));
    graph.node(choice.attribute("else_branch", branch("Identity")).output("y"));
    graph.output("y", DataType::Float32, "batch, 2");
    let mut model = graph.into_model(17);
    normalize(&mut model).expect("sound");
    let trained = parameters(&model, &Trainable::default()).expect("there is one");
    let plan = StepPlan {
        model: &model,
        parameters: &trained,
        output: "y",
        loss: &LossSettings::plain(Loss::MeanSquared),
        optimizer: &OptimizerSettings::of(Algorithm::Sgd),
        clipping: Clipping::default(),
        parts: 1,
        seed: 0,
    };
    for (engine, batch) in [(onnxruntime(), 2), (tract(), 4)] {
        let (x, target) = (row(&[batch, 3], 1.0), row(&[batch, 2], 0.0));
        let prepared = prepare(&*engine, &plan, vec![x.clone(), target.clone()]).expect("it runs");
        let graph = step_graph(&plan, &prepared).expect("a derivative");
        let session = SessionSettings::cpu();
        let mut stepper =
            Stepper::new(&*engine, &session, &graph, &["x".to_owned()]).expect("it opens");
        // y = ∓1.5: the mean of squares is 2.25, its slope for each weight 1.5.
        let loss = |stepper: &mut Stepper, step| {
            stepper.step(std::slice::from_ref(&x), &target, 0.1, step).expect("a step").loss
        };
        assert!((loss(&mut stepper, 1) - 2.25).abs() < 1e-6);
        let weight = 0.5 - 0.1 * 1.5;
        let after = (3.0f64 * weight).powi(2);
        assert!((loss(&mut stepper, 2) - after).abs() < 1e-6);
    }
}
