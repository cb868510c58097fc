//! Operators that are written out in others before they are differentiated: a recurrence step by
//! step, attention as the products that it is made of. What they come to has rules; so none of them
//! needs one.
//!
//! Unlike rules, expansions change the forward graph, and are made of what is known of its values.
//! Reading order: here the table and the walk, `recurrence` (what LSTM, GRU and RNN share), a file
//! per cell, `cell_activation`, `attention`, `rotary`, `pieces` (splitting).

mod attention;
mod cell_activation;
mod gru;
mod lstm;
mod pieces;
mod recurrence;
mod rnn;
mod rotary;

use std::collections::HashSet;

use super::backward::Paths;
use super::call::{Call, Constants};
use super::emitter::{Emitter, Written};
use super::error::AutodiffError;
use super::expr::Expr;
use super::facts::Facts;
use crate::onnx::build::Node;
use crate::onnx::graph::{canonical_domain, node_label, operators_version, value_names};
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto};

/// What stands for the outputs of a node, in their order; `None` where the node has no such output.
type Outputs<'g> = Vec<Option<Expr<'g>>>;

/// The node in other operators, or why it cannot be written out.
type Expansion = for<'g, 'n> fn(&Call<'g, 'n>) -> Result<Outputs<'g>, String>;

const TABLE: &[(&str, Expansion)] = &[
    ("Attention", attention::attention),
    ("GRU", gru::gru),
    ("LSTM", lstm::lstm),
    ("RNN", rnn::rnn),
    ("RotaryEmbedding", rotary::rotary),
];

/// The model with the nodes between `wanted` and `output` written out that the table has; `None`
/// where there are none, and the model is what it was.
///
/// # Errors
/// A node cannot be written out: all of them are named.
pub fn expand(
    model: &ModelProto,
    facts: &Facts,
    output: &str,
    wanted: &[String],
) -> Result<Option<ModelProto>, AutodiffError> {
    let graph = model.graph.as_ref().ok_or(AutodiffError::NoGraph)?;
    if !graph.node.iter().any(|node| expansion(node).is_some()) {
        return Ok(None);
    }
    let paths = Paths::find(graph, facts, output, wanted)?;
    let on_way: HashSet<&str> = paths.nodes().map(node_label).collect();
    let is_constant = |name: &str| !wanted.iter().any(|wanted| wanted == name);
    let constants: Constants = graph
        .initializer
        .iter()
        .filter(|tensor| is_constant(tensor.name()))
        .map(|tensor| (tensor.name(), tensor))
        .collect();
    let opset = operators_version(&model.opset_import).unwrap_or(0);
    let mut expander = Expander { facts, constants, opset, names: value_names(graph) };
    let mut expanded = GraphProto { node: Vec::with_capacity(graph.node.len()), ..graph.clone() };
    let mut obstacles = Vec::new();
    let mut any = false;
    for node in &graph.node {
        match expansion(node).filter(|_| on_way.contains(node_label(node))) {
            None => expanded.node.push(node.clone()),
            Some(expansion) => match expander.expand(node, expansion) {
                Ok(written) => {
                    any = true;
                    expanded.node.extend(written.nodes);
                    expanded.initializer.extend(written.initializers);
                }
                Err(reason) => obstacles.push(paths.obstacle(node, reason)),
            },
        }
    }
    if !obstacles.is_empty() {
        return Err(AutodiffError::Obstacles { obstacles });
    }
    Ok(any.then(|| ModelProto { graph: Some(expanded), ..model.clone() }))
}

fn expansion(node: &NodeProto) -> Option<Expansion> {
    let own = canonical_domain(node.domain()).is_empty();
    let entry = TABLE.iter().find(|(operator, _)| own && *operator == node.op_type())?;
    Some(entry.1)
}

struct Expander<'n> {
    facts: &'n Facts,
    constants: Constants<'n>,
    opset: i64,
    names: HashSet<String>,
}

impl Expander<'_> {
    /// The node's outputs keep their names.
    fn expand(&mut self, node: &NodeProto, expansion: Expansion) -> Result<Written, String> {
        let emitter = Emitter::new("expanded/", self.opset, self.names.clone());
        let call = Call {
            emitter: &emitter,
            node,
            facts: self.facts,
            constants: &self.constants,
            gradients: Vec::new(),
            wanted: Vec::new(),
        };
        let made: Vec<Option<String>> = expansion(&call)?
            .into_iter()
            .map(|output| output.map(|output| output.name().to_string()))
            .collect();
        let mut written = emitter.into_written();
        for (output, made) in node.output.iter().zip(made) {
            if let (Some(made), false) = (made, output.is_empty()) {
                let pass = Node::new("Identity", &[&made]).name(output).output(output);
                written.nodes.push(pass.into_proto());
            }
        }
        self.names.extend(written.nodes.iter().flat_map(|node| node.output.iter().cloned()));
        self.names.extend(written.initializers.iter().map(|tensor| tensor.name().to_owned()));
        Ok(written)
    }
}
