//! The walk: from the loss backwards over the nodes, each asked for the gradients of its inputs.
//! It knows no operator.

use std::collections::{HashMap, HashSet};

use super::call::{Call, Constants};
use super::emitter::{DOMAIN, Emitter, Written};
use super::error::{AutodiffError, Obstacle};
use super::expr::Expr;
use super::facts::{Fact, Facts};
use super::rules::{self, Derivative};
use super::unbroadcast::unbroadcast;
use crate::onnx::build::operator_set;
use crate::onnx::graph::{canonical_domain, free_names, node_label, operator_label, value_names};
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::tensor::DataType;

/// The oldest operators that gradients are written in.
pub const MIN_OPSET: i64 = 17;

/// What is to be added to a graph for its gradients.
#[derive(Clone, Debug, Default)]
pub struct Gradient {
    /// In an order that they can be run in, behind the graph's own nodes.
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<TensorProto>,
    /// Functions of our domain that the nodes call.
    pub functions: Vec<FunctionProto>,
    /// For every wanted value, in the order wanted: the name of the loss's gradient for it, of its
    /// shape and type. `None` where the loss does not depend on it.
    pub gradients: Vec<Option<String>>,
}

impl Gradient {
    /// Puts it behind the nodes of the graph that it was made for.
    pub fn append_to(&self, model: &mut ModelProto) {
        let graph = model.graph.get_or_insert_default();
        graph.node.extend(self.nodes.iter().cloned());
        graph.initializer.extend(self.initializers.iter().cloned());
        if !self.functions.is_empty() {
            let key = |function: &FunctionProto| (function.domain.clone(), function.name.clone());
            let known: HashSet<_> = model.functions.iter().map(key).collect();
            let new = self.functions.iter().filter(|function| !known.contains(&key(function)));
            model.functions.extend(new.cloned());
            let imported = model.opset_import.iter().any(|set| set.domain() == DOMAIN);
            if !imported {
                model.opset_import.push(operator_set(DOMAIN, 1));
            }
            // The first version of the format that has functions.
            model.ir_version = Some(model.ir_version().max(8));
        }
    }
}

/// The gradients of `loss`, a scalar of the model's graph, for the values `wanted`.
///
/// The graph is in the order of execution, its functions are inlined and its operators are those
/// of version 17 or later.
///
/// # Errors
/// There is no such loss, or a node on the way has no derivative: all of them are named.
pub fn backward(
    model: &ModelProto,
    facts: &Facts,
    loss: &str,
    wanted: &[String],
) -> Result<Gradient, AutodiffError> {
    let graph = model.graph.as_ref().ok_or(AutodiffError::NoGraph)?;
    let opset = model.opset_import.iter().find(|set| canonical_domain(set.domain()).is_empty());
    let opset = opset.map_or(0, |set| set.version());
    if opset < MIN_OPSET {
        return Err(AutodiffError::OldOperators { actual: opset, expected: MIN_OPSET });
    }
    check_loss(facts, loss)?;
    let paths = Paths::find(graph, facts, loss, wanted)?;
    let emitter = Emitter::new("gradient/", opset, value_names(graph));
    let constants: Constants = graph
        .initializer
        .iter()
        .filter(|tensor| !wanted.iter().any(|name| name == tensor.name()))
        .map(|tensor| (tensor.name(), tensor))
        .collect();
    let obstacles = paths.obstacles(&emitter, facts, &constants);
    if !obstacles.is_empty() {
        return Err(AutodiffError::Obstacles { obstacles });
    }
    let found = walk(&emitter, &paths, facts, &constants, loss);
    let names = |name: &String| found.get(name.as_str()).map(|name| name.to_string());
    let gradients: Vec<Option<String>> = wanted.iter().map(names).collect();
    Ok(assemble(emitter.into_written(), gradients))
}

fn check_loss(facts: &Facts, loss: &str) -> Result<(), AutodiffError> {
    let fact = facts.get(loss).ok_or_else(|| AutodiffError::NoLoss { name: loss.to_owned() })?;
    if fact.shape.is_empty() {
        return Ok(());
    }
    let shape = format!("{:?}", fact.shape);
    Err(AutodiffError::LossNotScalar { name: loss.to_owned(), shape })
}

/// Whether gradients flow through values of this type.
fn is_continuous(fact: &Fact) -> bool {
    use DataType::{BFloat16, Float16, Float32, Float64};
    matches!(fact.data_type, Float16 | BFloat16 | Float32 | Float64)
}

/// The nodes between what is wanted and the loss.
pub(super) struct Paths<'n> {
    /// In the order of execution.
    nodes: Vec<&'n NodeProto>,
    /// The values that depend on something wanted, and on which of them (a few, for messages).
    sources: HashMap<&'n str, Vec<usize>>,
    wanted: &'n [String],
}

/// Sources kept per value: enough for a message.
const KEPT_SOURCES: usize = 64;

impl<'n> Paths<'n> {
    pub fn find(
        graph: &'n GraphProto,
        facts: &Facts,
        loss: &str,
        wanted: &'n [String],
    ) -> Result<Paths<'n>, AutodiffError> {
        let mut sources: HashMap<&str, Vec<usize>> =
            wanted.iter().enumerate().map(|(index, name)| (name.as_str(), vec![index])).collect();
        let mut dependent = Vec::new();
        for node in &graph.node {
            let mut from: Vec<usize> = Vec::new();
            for name in inputs_of(node) {
                from.extend(sources.get(name).into_iter().flatten());
            }
            if from.is_empty() {
                continue;
            }
            from.sort_unstable();
            from.dedup();
            from.truncate(KEPT_SOURCES);
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let unknown = || AutodiffError::UnknownValue { name: name.clone() };
                if is_continuous(facts.get(name).ok_or_else(unknown)?) {
                    sources.insert(name, from.clone());
                }
            }
            dependent.push(node);
        }
        // Backwards: which of them the loss depends on.
        let mut needed: HashSet<&str> = HashSet::from([loss]);
        let mut nodes = Vec::new();
        for node in dependent.into_iter().rev() {
            let carries =
                |name: &String| needed.contains(name.as_str()) && sources.contains_key(&**name);
            if node.output.iter().any(carries) {
                needed.extend(inputs_of(node));
                nodes.push(node);
            }
        }
        nodes.reverse();
        Ok(Paths { nodes, sources, wanted })
    }

    /// In the order of execution.
    pub fn nodes(&self) -> impl Iterator<Item = &'n NodeProto> {
        self.nodes.iter().copied()
    }

    /// Nodes that have no derivative.
    fn obstacles(
        &self,
        emitter: &Emitter,
        facts: &'n Facts,
        constants: &'n Constants<'n>,
    ) -> Vec<Obstacle> {
        let obstacle = |node: &&'n NodeProto| {
            let reason = match rules::derivative(node) {
                Derivative::Unknown => "it has no rule",
                Derivative::Unsupported(reason) => reason,
                _ => {
                    let (gradients, wanted) = (Vec::new(), self.wanted_inputs(node));
                    let call = Call { emitter, node, facts, constants, gradients, wanted };
                    rules::objection(&call)?
                }
            };
            Some(self.obstacle(node, reason.to_owned()))
        };
        self.nodes.iter().filter_map(obstacle).collect()
    }

    /// A node that nothing passes through, and what it is in the way of.
    pub fn obstacle(&self, node: &NodeProto, reason: String) -> Obstacle {
        let mut from: Vec<usize> = inputs_of(node)
            .flat_map(|name| self.sources.get(name).into_iter().flatten().copied())
            .collect();
        from.sort_unstable();
        from.dedup();
        Obstacle {
            node: node_label(node).to_owned(),
            operator: operator_label(node),
            reason,
            parameters: from.iter().map(|&index| self.wanted[index].clone()).collect(),
        }
    }

    /// Per input of a node: whether something wanted is behind it.
    fn wanted_inputs(&self, node: &NodeProto) -> Vec<bool> {
        node.input.iter().map(|name| self.sources.contains_key(&**name)).collect()
    }
}

/// What a node reads, in its subgraphs too.
fn inputs_of(node: &NodeProto) -> impl Iterator<Item = &str> {
    let own = node.input.iter().map(String::as_str).filter(|name| !name.is_empty());
    own.chain(free_names(node))
}

/// Gradients that have come together at each value.
type Sums<'g, 'n> = HashMap<&'n str, Vec<Expr<'g>>>;

fn walk<'n>(
    emitter: &Emitter,
    paths: &Paths<'n>,
    facts: &'n Facts,
    constants: &'n Constants<'n>,
    loss: &'n str,
) -> HashMap<&'n str, std::rc::Rc<str>> {
    let mut sums: Sums = HashMap::new();
    sums.insert(loss, vec![emitter.scalar(facts[loss].data_type, 1.0)]);
    for node in paths.nodes.iter().rev() {
        let gradients: Vec<Option<Expr>> = node
            .output
            .iter()
            .map(|name| sums.get(name.as_str()).map(|parts| add_up(parts)))
            .collect();
        if gradients.iter().all(Option::is_none) {
            continue;
        }
        let wanted = paths.wanted_inputs(node);
        let call = Call { emitter, node, facts, constants, gradients, wanted };
        for (index, part) in input_gradients(&call).into_iter().enumerate() {
            if let Some(part) = part
                && call.wants(index)
            {
                sums.entry(&node.input[index]).or_default().push(part);
            }
        }
    }
    let wanted = paths.wanted.iter().map(String::as_str);
    wanted.filter_map(|name| Some((name, add_up(sums.get(name)?).name()))).collect()
}

fn input_gradients<'g>(call: &Call<'g, '_>) -> Vec<Option<Expr<'g>>> {
    match rules::derivative(call.node) {
        Derivative::Elementwise(rule) => {
            vec![Some(rule(call.gradient(), call.input(0), call.output(0)))]
        }
        Derivative::Exact(rule) => rule(call),
        Derivative::Broadcast(rule) => {
            let undo = |(index, part): (usize, Option<Expr<'g>>)| {
                let part = part.filter(|_| call.wants(index))?;
                Some(unbroadcast(part, call.output_dimensions(0), call.input_dimensions(index)))
            };
            rule(call).into_iter().enumerate().map(undo).collect()
        }
        Derivative::Zero => Vec::new(),
        Derivative::Unknown | Derivative::Unsupported(_) => {
            unreachable!("such nodes were refused before the walk")
        }
    }
}

fn add_up<'g>(parts: &[Expr<'g>]) -> Expr<'g> {
    let (&first, rest) = parts.split_first().expect("an entry is made with its first part");
    match rest {
        [] => first,
        [second] => first + *second,
        rest => first.call("Sum", rest),
    }
}

/// Drops what was written and is not used.
fn assemble(written: Written, gradients: Vec<Option<String>>) -> Gradient {
    let mut used: HashSet<String> = gradients.iter().flatten().cloned().collect();
    let mut nodes = Vec::new();
    for node in written.nodes.into_iter().rev() {
        if node.output.iter().any(|name| used.contains(name)) {
            used.extend(inputs_of(&node).map(str::to_owned));
            nodes.push(node);
        }
    }
    nodes.reverse();
    let called: HashSet<&str> = nodes.iter().map(NodeProto::op_type).collect();
    let mut functions = written.functions;
    functions.retain(|function| called.contains(function.name()));
    let mut initializers = written.initializers;
    initializers.retain(|tensor| used.contains(tensor.name()));
    Gradient { nodes, initializers, functions, gradients }
}
