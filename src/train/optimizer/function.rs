//! The update as a function of the domain `onnxd`: one node in the step graph, whatever the number
//! of parameters.
//!
//! Inputs: `rate`, `step`, `scale`, `apply`, then all parameters, all gradients, all first moments,
//! all second moments, and the indices of those that are tables and have a gradient for the rows
//! that were looked up alone. Outputs: all parameters, all first moments, all second moments; as
//! they were where `apply` is not above zero.

use std::collections::HashSet;

use super::{Algorithm, Lookup, OptimizerSettings, Stepped, Updated, adam, sgd};
use crate::autodiff::functions::embedding::embedding_gradient;
use crate::autodiff::{DOMAIN, Emitter, Expr, Written};
use crate::onnx::build::{AttributeValue, Node, operator_set};
use crate::onnx::proto::{FunctionProto, NodeProto, TensorProto};
use crate::onnx::weights::tensor;
use crate::tensor::DataType;

/// The function's name, which is its kernel's too.
pub fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sgd => "SgdUpdate",
        Algorithm::Adam | Algorithm::AdamW => "AdamUpdate",
    }
}

/// What a kernel is told; the body has it in its constants.
pub fn attributes(
    settings: &OptimizerSettings,
    parameters: &[Updated<'_>],
) -> Vec<(&'static str, AttributeValue)> {
    let decayed: Vec<i64> = parameters.iter().map(|parameter| parameter.decayed.into()).collect();
    let looked_up = parameters.iter().map(|parameter| parameter.lookup.is_some().into()).collect();
    let mut attributes: Vec<(&str, AttributeValue)> = vec![
        ("weight_decay", (settings.weight_decay as f32).into()),
        ("decayed", AttributeValue::Ints(decayed)),
        ("looked_up", AttributeValue::Ints(looked_up)),
    ];
    match settings.algorithm {
        Algorithm::Sgd => attributes.extend([
            ("momentum", (settings.momentum as f32).into()),
            ("nesterov", i64::from(settings.nesterov).into()),
        ]),
        Algorithm::Adam | Algorithm::AdamW => attributes.extend([
            ("beta1", AttributeValue::Float(settings.beta1 as f32)),
            ("beta2", AttributeValue::Float(settings.beta2 as f32)),
            ("epsilon", AttributeValue::Float(settings.epsilon as f32)),
            ("decoupled", i64::from(settings.algorithm == Algorithm::AdamW).into()),
        ]),
    }
    attributes
}

/// The function for these parameters.
pub fn update(
    settings: &OptimizerSettings,
    opset: i64,
    parameters: &[Updated<'_>],
) -> FunctionProto {
    let emitter = Emitter::new("", opset, HashSet::new());
    let mut inputs: Vec<String> = ["rate", "step", "scale", "apply"].map(str::to_owned).into();
    let first = parameters.first().map_or(DataType::Float32, |first| first.value.data_type());
    let rate = emitter.value("rate", first);
    let step = emitter.value("step", DataType::Int64);
    let scale = emitter.value("scale", first);
    let applied = emitter.value("apply", first).greater(0.0);
    let groups = ["value", "gradient", "moment1_", "moment2_"];
    for group in &groups[..2 + settings.moments()] {
        inputs.extend((0..parameters.len()).map(|index| format!("{group}{index}")));
    }
    let looked_up =
        |(index, outer): (usize, &Updated<'_>)| outer.lookup.map(|_| format!("indices{index}"));
    inputs.extend(parameters.iter().enumerate().filter_map(looked_up));
    let inner = |(index, outer): (usize, &Updated<'_>)| {
        let data_type = outer.value.data_type();
        let value = |group: &str| emitter.value(&format!("{group}{index}"), data_type);
        let mut gradient = value(groups[1]);
        if let Some(Lookup { indices, rows }) = outer.lookup {
            let indices = emitter.value(&format!("indices{index}"), indices.data_type());
            let rows = vec![("rows", (rows as i64).into())];
            let function = embedding_gradient(opset);
            let types = [data_type];
            let of_rows = [Some(gradient), Some(indices)];
            gradient = emitter.call_function(function, &of_rows, rows, &types)[0];
        }
        Updated {
            value: value(groups[0]),
            gradient: gradient * scale,
            lookup: None,
            moments: groups[2..2 + settings.moments()].iter().map(|group| value(group)).collect(),
            decayed: outer.decayed,
        }
    };
    let inner: Vec<Updated<'_>> = parameters.iter().enumerate().map(inner).collect();
    let stepped: Vec<Stepped<'_>> = match settings.algorithm {
        Algorithm::Sgd => inner.iter().map(|p| sgd::step(settings, rate, step, p)).collect(),
        Algorithm::Adam | Algorithm::AdamW => adam::step(settings, rate, step, &inner),
    };
    let chosen = |(new, old): (Expr<'_>, Expr<'_>)| applied.select(new, old).name().to_string();
    let pairs = stepped.iter().zip(&inner);
    let mut results: Vec<String> =
        pairs.clone().map(|(new, old)| chosen((new.value, old.value))).collect();
    for moment in 0..settings.moments() {
        let moments = pairs.clone().map(|(new, old)| (new.moments[moment], old.moments[moment]));
        results.extend(moments.map(chosen));
    }
    let written = emitter.into_written();
    let names = attributes(settings, parameters);
    FunctionProto {
        name: Some(name(settings.algorithm).to_owned()),
        domain: Some(DOMAIN.to_owned()),
        input: inputs,
        output: results,
        attribute: names.into_iter().map(|(name, _)| name.to_owned()).collect(),
        node: body(written),
        opset_import: vec![operator_set("", opset), operator_set(DOMAIN, 1)],
        ..FunctionProto::default()
    }
}

/// A function has no initializers: constants are nodes.
fn body(written: Written) -> Vec<NodeProto> {
    let constant = |proto: &TensorProto| {
        let value = tensor(proto).expect("the emitter made it");
        let node = Node::new("Constant", &[]).name(proto.name()).output(proto.name());
        node.attribute("value", value).into_proto()
    };
    written.initializers.iter().map(constant).chain(written.nodes).collect()
}
