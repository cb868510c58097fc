//! What is known where a node stands, and how it is changed there.

use std::collections::{HashMap, HashSet};

use crate::onnx::build::{self, AttributeValue, Node};
use crate::onnx::constants::{constant, floats, integers};
use crate::onnx::graph::{attribute, free_names, node_label};
use crate::onnx::names::Names;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::ranks::value_ranks_within;
use crate::onnx::types::value_types_within;
use crate::onnx::weights::tensor;
use crate::tensor::{DataType, Shape, Tensor};

/// Constants of more elements are no arguments of an operator.
const MAX_ARGUMENT_ELEMENTS: i64 = 64;

/// What is known of the values that the nodes of a graph see.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'o> {
    outer: Option<&'o Scope<'o>>,
    types: HashMap<String, DataType>,
    ranks: HashMap<String, usize>,
    arguments: HashMap<String, Tensor>,
    /// What is read by a node, or is an output of the graph.
    read: HashSet<String>,
}

impl Scope<'_> {
    /// That of a graph within this one.
    pub fn of<'s>(&'s self, graph: &GraphProto) -> Scope<'s> {
        let owned = |name: &str| name.to_owned();
        let types = value_types_within(graph, &|name| self.data_type(name)).into_iter();
        let ranks = value_ranks_within(graph, &|name| self.rank(name)).into_iter();
        let mut arguments = HashMap::new();
        let constants = graph.node.iter().filter_map(|node| constant(node).ok().flatten());
        for proto in graph.initializer.iter().cloned().chain(constants) {
            let elements = proto.dims.iter().fold(1i64, |count, &size| count.saturating_mul(size));
            if elements <= MAX_ARGUMENT_ELEMENTS {
                arguments.extend(tensor(&proto).ok().map(|tensor| (owned(proto.name()), tensor)));
            }
        }
        let mut read: HashSet<String> =
            graph.output.iter().map(|output| owned(output.name())).collect();
        for node in &graph.node {
            read.extend(node.input.iter().cloned());
            read.extend(free_names(node).into_iter().map(owned));
        }
        Scope {
            outer: Some(self),
            types: types.map(|(name, data_type)| (owned(name), data_type)).collect(),
            ranks: ranks.map(|(name, rank)| (owned(name), rank)).collect(),
            arguments,
            read,
        }
    }

    fn data_type(&self, name: &str) -> Option<DataType> {
        self.types.get(name).copied().or_else(|| self.outer?.data_type(name))
    }

    fn rank(&self, name: &str) -> Option<usize> {
        self.ranks.get(name).copied().or_else(|| self.outer?.rank(name))
    }

    fn argument(&self, name: &str) -> Option<&Tensor> {
        self.arguments.get(name).or_else(|| self.outer?.argument(name))
    }
}

/// One node that is being changed, and what it needs beside it.
pub(super) struct Place<'a> {
    /// Of the operators that the model is written in.
    pub version: i64,
    label: String,
    names: &'a mut Names,
    scope: &'a Scope<'a>,
    before: Vec<NodeProto>,
    after: Vec<NodeProto>,
}

impl<'a> Place<'a> {
    pub fn new(
        version: i64,
        node: &NodeProto,
        names: &'a mut Names,
        scope: &'a Scope<'a>,
    ) -> Place<'a> {
        let label = node_label(node).to_owned();
        Place { version, label, names, scope, before: Vec::new(), after: Vec::new() }
    }

    /// The nodes to be put before and behind it.
    pub fn into_nodes(self) -> (Vec<NodeProto>, Vec<NodeProto>) {
        (self.before, self.after)
    }

    pub fn rank(&self, name: &str) -> Option<usize> {
        self.scope.rank(name)
    }

    /// The value of that name where it is a constant of a few elements.
    pub fn argument(&self, name: &str) -> Option<&Tensor> {
        self.scope.argument(name)
    }

    pub fn is_read(&self, name: &str) -> bool {
        self.scope.read.contains(name)
    }

    /// A name for a value of this node's.
    pub fn fresh(&mut self, part: &str) -> String {
        self.names.fresh(&format!("{}/{part}", self.label))
    }

    /// Puts a node before this one; the answer is the name of its output.
    pub fn before(&mut self, part: &str, node: Node) -> String {
        let name = self.fresh(part);
        self.before.push(node.name(&name).output(&name).into_proto());
        name
    }

    /// Puts a node behind this one that makes the value of this name.
    pub fn after(&mut self, part: &str, node: Node, output: &str) {
        let name = self.fresh(part);
        self.after.push(node.name(&name).output(output).into_proto());
    }

    fn constant(&mut self, part: &str, tensor: Tensor) -> String {
        self.before(part, Node::new("Constant", &[]).attribute("value", tensor))
    }

    /// A constant vector of 64-bit integers.
    pub fn integers(&mut self, part: &str, values: &[i64]) -> String {
        self.constant(part, integers(&[values.len()], values))
    }

    /// A constant vector of 32-bit floats.
    pub fn floats(&mut self, part: &str, values: &[f32]) -> String {
        self.constant(part, floats(&[values.len()], values))
    }

    /// A constant number of 32 bits.
    pub fn float(&mut self, part: &str, value: f32) -> String {
        self.constant(part, floats(&[], &[value]))
    }

    /// A constant number of the type that the value `like` has.
    pub fn float_like(&mut self, part: &str, value: f32, like: &str) -> String {
        let data_type = self.scope.data_type(like);
        let bytes = match data_type {
            Some(DataType::Float64) => f64::from(value).to_le_bytes().to_vec(),
            Some(DataType::Float16) => half::f16::from_f32(value).to_le_bytes().to_vec(),
            Some(DataType::Float32) => return self.float(part, value),
            _ => {
                let number = self.float(part, value);
                return self.before(part, Node::new("CastLike", &[&number, like]));
            }
        };
        let data_type = data_type.expect("it was one of two");
        let tensor = Tensor::numbers(data_type, Shape::new(), bytes.into());
        self.constant(part, tensor.expect("the bytes were made for this type"))
    }
}

/// Takes an attribute off a node.
pub(super) fn take(node: &mut NodeProto, name: &str) -> Option<AttributeProto> {
    let index = node.attribute.iter().position(|attribute| attribute.name() == name)?;
    Some(node.attribute.remove(index))
}

/// An attribute's text, or what it is where the node leaves it out.
pub(super) fn text(node: &NodeProto, name: &str, default: &str) -> String {
    let bytes = attribute(node, name).and_then(|attribute| attribute.s.as_ref());
    bytes.map_or_else(|| default.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
}

/// Sets an attribute, whether or not the node has it.
pub(super) fn set(node: &mut NodeProto, name: &str, value: impl Into<AttributeValue>) {
    take(node, name);
    node.attribute.push(build::attribute(name, value.into()));
}
