//! What the file says of itself, in the form that is shown.

use serde::Serialize;

use crate::onnx::facts::{operator_sets, operators, parameters, signature};
use crate::onnx::proto::ModelProto;
use crate::tensor::TensorSpec;

/// ONNX's own domain, as people call it.
const STANDARD_DOMAIN: &str = "ai.onnx";

#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub ir_version: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub producer: String,
    pub operator_sets: Vec<OperatorSet>,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    /// In the order of how often they are called.
    pub operators: Vec<Operator>,
    /// Elements and bytes of all constant tensors.
    pub parameters: u64,
    pub parameter_bytes: u64,
    /// What is wrong with the model's structure.
    pub faults: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct OperatorSet {
    pub domain: String,
    pub version: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Operator {
    pub domain: String,
    pub operator: String,
    pub count: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Tensor {
    pub name: String,
    pub datatype: String,
    /// As the protocol writes it, -1 where an axis is open; none where even the rank is.
    pub shape: Option<Vec<i64>>,
    /// As people read it, with the names of open axes.
    pub shape_text: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// All facts. What cannot be told is a fault, so that the rest is still shown.
pub(super) fn gather(model: &ModelProto) -> Facts {
    let mut faults: Vec<String> =
        crate::onnx::check::check(model).iter().map(ToString::to_string).collect();
    let mut kept = |error: crate::onnx::OnnxError| faults.push(error.to_string());
    let signature = signature(model).map_err(&mut kept).unwrap_or_default();
    let size = parameters(model).map_err(&mut kept).unwrap_or_default();
    let sets = operator_sets(model)
        .into_iter()
        .map(|set| OperatorSet { domain: domain(set.domain), version: set.version });
    let counts = operators(model).into_iter().map(|operator| Operator {
        domain: domain(operator.domain),
        operator: operator.operator,
        count: operator.count,
    });
    let mut operators: Vec<Operator> = counts.collect();
    // Stable: operators that are called equally often stay in alphabetical order.
    operators.sort_by_key(|operator| std::cmp::Reverse(operator.count));
    let producer = format!("{} {}", model.producer_name(), model.producer_version());
    Facts {
        ir_version: model.ir_version(),
        producer: producer.trim().to_owned(),
        operator_sets: sets.collect(),
        inputs: signature.inputs.iter().map(tensor).collect(),
        outputs: signature.outputs.iter().map(tensor).collect(),
        operators,
        parameters: size.elements,
        parameter_bytes: size.bytes,
        faults,
    }
}

fn domain(domain: String) -> String {
    if domain.is_empty() { STANDARD_DOMAIN.to_owned() } else { domain }
}

fn tensor(spec: &TensorSpec) -> Tensor {
    let shape = spec.shape.as_ref();
    Tensor {
        name: spec.name.clone(),
        datatype: spec.data_type.protocol_name().to_owned(),
        shape: shape.map(|shape| shape.iter().map(|size| size.protocol_size()).collect()),
        shape_text: spec.shape_text(),
        optional: spec.optional,
    }
}
