//! Functions of our own domain that rules call. Each body is written in ONNX's own operators, so
//! that whatever runs the graph can run them; an engine that has a kernel of that name runs the
//! kernel.

mod embedding;

pub use embedding::embedding_gradient;

use super::emitter::DOMAIN;
use crate::onnx::build::{AttributeValue, GraphBuilder, Node, operator_set};
use crate::onnx::proto::{AttributeType, FunctionProto};

/// A function's body as it is put together.
struct Body {
    graph: GraphBuilder,
}

impl Body {
    fn new() -> Body {
        Body { graph: GraphBuilder::new("body") }
    }

    fn call(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.graph.call(operator, inputs)
    }

    fn node(&mut self, node: Node) -> String {
        self.graph.node(node)
    }

    /// A constant: one of the attributes `value_int`, `value_ints`, `value_float`.
    fn constant(&mut self, kind: &str, value: impl Into<AttributeValue>) -> String {
        self.node(Node::new("Constant", &[]).attribute(kind, value))
    }

    /// An integer attribute of the function's, as a number without a shape.
    fn reference(&mut self, name: &str) -> String {
        self.node(Node::new("Constant", &[]).reference("value_int", name, AttributeType::Int))
    }

    /// The function, in ONNX's operators of that version; its outputs are the values of these
    /// names, and its attributes have no defaults.
    fn into_function(self, opset: i64, signature: &Signature) -> FunctionProto {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        FunctionProto {
            name: Some(signature.name.to_owned()),
            domain: Some(DOMAIN.to_owned()),
            input: owned(signature.inputs),
            output: owned(signature.outputs),
            attribute: owned(signature.attributes),
            node: self.graph.into_graph().node,
            opset_import: vec![operator_set("", opset)],
            ..FunctionProto::default()
        }
    }
}

/// What a function is called by.
struct Signature<'a> {
    name: &'a str,
    inputs: &'a [&'a str],
    outputs: &'a [&'a str],
    attributes: &'a [&'a str],
}
