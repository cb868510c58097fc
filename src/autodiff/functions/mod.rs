//! The functions of our domain, a file per family: what runs where an engine has no kernel of that
//! name. Bodies are written as rules are, in 64-bit floats, and work in any type.

pub mod activation;
pub mod convolution;
pub mod dropout;
pub mod embedding;
pub mod normalization;

use std::collections::HashSet;

use super::emitter::{DOMAIN, Emitter};
use super::expr::Expr;
use crate::onnx::build::{AttributeValue, Node, operator_set};
use crate::onnx::proto::{AttributeType, FunctionProto, NodeProto, TensorProto};
use crate::onnx::weights::tensor;
use crate::tensor::DataType;

/// What a function is called with and answers.
pub(super) struct Signature<const INPUTS: usize, const OUTPUTS: usize> {
    pub name: &'static str,
    pub inputs: [&'static str; INPUTS],
    pub outputs: [&'static str; OUTPUTS],
    pub attributes: &'static [&'static str],
}

/// The function with what `body` makes of its inputs. Numbers take the first input's type.
pub(super) fn function<const INPUTS: usize, const OUTPUTS: usize>(
    opset: i64,
    signature: &Signature<INPUTS, OUTPUTS>,
    body: impl for<'g> FnOnce(&'g Emitter, [Expr<'g>; INPUTS]) -> [Expr<'g>; OUTPUTS],
) -> FunctionProto {
    let names = signature.inputs.iter().chain(&signature.outputs).map(|&name| name.to_owned());
    let emitter = Emitter::new("", opset, names.collect::<HashSet<String>>());
    let inputs = signature.inputs.map(|name| emitter.value(name, DataType::Float64));
    let made = body(&emitter, inputs).map(|output| output.name().to_string());
    let written = emitter.into_written();
    let like = signature.inputs[0];
    let mut nodes: Vec<NodeProto> =
        written.initializers.iter().flat_map(|proto| constant(proto, like)).collect();
    nodes.extend(written.nodes);
    for node in &mut nodes {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if let Some(place) = made.iter().position(|made| made == name) {
                *name = signature.outputs[place].to_owned();
            }
        }
    }
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionProto {
        name: Some(signature.name.to_owned()),
        domain: Some(DOMAIN.to_owned()),
        input: owned(&signature.inputs),
        output: owned(&signature.outputs),
        attribute: owned(signature.attributes),
        node: nodes,
        opset_import: vec![operator_set("", opset)],
        ..FunctionProto::default()
    }
}

/// A function has no initializers: a node, and for floats one more, since the type is the call's.
fn constant(proto: &TensorProto, like: &str) -> Vec<NodeProto> {
    let value = tensor(proto).expect("the emitter made it of a tensor");
    let node = |operator: &str, inputs: &[&str], name: &str| {
        Node::new(operator, inputs).name(name).output(name)
    };
    let name = proto.name();
    if value.data_type() != DataType::Float64 {
        return vec![node("Constant", &[], name).attribute("value", value).into_proto()];
    }
    let double = format!("{name}.double");
    vec![
        node("Constant", &[], &double).attribute("value", value).into_proto(),
        node("CastLike", &[&double, like], name).into_proto(),
    ]
}

/// An integer attribute of the function around it, as a vector of one.
pub(super) fn int_attribute<'g>(emitter: &'g Emitter, name: &str) -> Expr<'g> {
    let reference = AttributeValue::Reference(name.to_owned(), AttributeType::Int);
    let number =
        emitter.call("Constant", &[], vec![("value_int", reference)], &[DataType::Int64])[0];
    number.unsqueeze(&[0])
}

/// A list attribute of the function around it.
pub(super) fn ints_attribute<'g>(emitter: &'g Emitter, name: &str) -> Expr<'g> {
    let reference = AttributeValue::Reference(name.to_owned(), AttributeType::Ints);
    emitter.call("Constant", &[], vec![("value_ints", reference)], &[DataType::Int64])[0]
}

/// A float attribute of the function around it, as a number of that value's type.
pub(super) fn float_attribute<'g>(like: Expr<'g>, name: &str) -> Expr<'g> {
    let reference = AttributeValue::Reference(name.to_owned(), AttributeType::Float);
    let attributes = vec![("value_float", reference)];
    let number = like.emitter().call("Constant", &[], attributes, &[DataType::Float32])[0];
    as_type_of(number, like)
}

/// A number as one of another value's type.
pub(super) fn as_type_of<'g>(number: Expr<'g>, like: Expr<'g>) -> Expr<'g> {
    number.call_typed("CastLike", &[like], vec![], like.data_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reads_and_writes_the_signature_in_the_type_of_the_call() {
        let signature =
            Signature { name: "Twice", inputs: ["x"], outputs: ["y"], attributes: &["axis"] };
        let twice = function(17, &signature, |emitter, [x]| {
            [(2.0 * x).call("ReduceSum", &[int_attribute(emitter, "axis")])]
        });
        let calls: Vec<String> = twice
            .node
            .iter()
            .map(|node| format!("{}({})", node.op_type(), node.input.join(", ")))
            .collect();
        let expected = [
            "Constant()",
            "CastLike(Constant.1.double, x)",
            "Constant()",
            "Mul(Constant.1, x)",
            "Constant()",
            "Unsqueeze(Constant.2, Constant.3)",
            "ReduceSum(Mul.1, Unsqueeze.1)",
        ];
        assert_eq!(calls, expected);
        assert_eq!(twice.node[4].attribute[0].ref_attr_name(), "axis");
        assert_eq!(twice.node[6].output, ["y"]);
    }
}
