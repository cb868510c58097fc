//! What a case adds to its operator: a loss, and the gradient.

use onnxd::autodiff::Gradient;
use onnxd::engine::{Engine, SessionSettings};
use onnxd::onnx::build::{GraphBuilder, Node, value_info};
use onnxd::onnx::element_type_of;
use onnxd::onnx::proto::ModelProto;
use onnxd::tensor::{DataType, Tensor};
use onnxd::train::open;

use crate::numbers::floats;

/// Whether it is differentiated.
pub fn is_float(tensor: &Tensor) -> bool {
    matches!(tensor.data_type(), DataType::Float32 | DataType::Float64)
}

/// The loss: the sum of all outputs' elements, each times its weight; `weights` has those of one
/// output, for its place and its number of elements.
pub fn with_loss(
    mut model: ModelProto,
    outputs: &[String],
    engine: &dyn Engine,
    given: &[Tensor],
    data_type: DataType,
    weights: fn(usize, usize) -> Vec<f64>,
) -> ModelProto {
    let results = run(engine, &model, given).unwrap_or_else(|error| panic!("{error}"));
    let mut builder = GraphBuilder::new("loss");
    let mut parts = Vec::new();
    for (index, (name, result)) in outputs.iter().zip(&results).enumerate() {
        let elements = weights(index, result.element_count());
        let elements = floats(data_type, result.shape(), &elements);
        let factors = builder.initializer(&format!("loss/weights{index}"), &elements);
        let mut name = name.clone();
        if result.data_type() != data_type {
            let number = Node::new("Cast", &[&name])
                .attribute("to", i64::from(element_type_of(data_type)))
                .name(&format!("loss/number{index}"))
                .output(&format!("loss/number{index}"));
            name = builder.node(number);
        }
        let product = Node::new("Mul", &[&name, &factors])
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

pub fn with_gradient(mut model: ModelProto, gradient: Gradient, data_type: DataType) -> ModelProto {
    gradient.append_to(&mut model);
    let graph = model.graph.as_mut().expect("built here");
    graph.output.clear();
    for name in gradient.gradients.iter().flatten() {
        graph.output.push(value_info(name, data_type, None));
    }
    model
}

pub fn run(
    engine: &dyn Engine,
    model: &ModelProto,
    given: &[Tensor],
) -> Result<Vec<Tensor>, onnxd::train::TrainError> {
    let mut session = open(engine, model, &SessionSettings::cpu())?;
    let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
    let given: Vec<Option<Tensor>> = given.iter().cloned().map(Some).collect();
    Ok(session.run(&given, &outputs)?)
}
