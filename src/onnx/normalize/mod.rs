//! Any exporter's graph in the one form that is worked with: no functions, operators of version 17
//! or later, every constant an initializer, no `If` whose condition is one, nodes in an order in
//! which they can run, each under a name of its own. It computes what it did; names of weights,
//! inputs and outputs stay.

use std::collections::{HashMap, HashSet};

use super::OnnxError;
use super::branches::take_branches;
use super::constants::{constant, dense};
use super::graph::{canonical_domain, node_label, subgraphs, subgraphs_mut};
use super::inline::inline;
use super::names::Names;
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use super::prune::reads;
use super::upgrade::upgrade;

/// The format's version that normal models are written in at least, as built ones are.
const MIN_IR_VERSION: i64 = 8;

/// Brings a model into that form. Initializers that a caller may override become constants: they
/// are no inputs any more. Constants of subgraphs stay nodes there.
///
/// # Errors
/// What [`inline`] and [`upgrade`] refuse, a constant that is none, or nodes that wait for each
/// other.
pub fn normalize(model: &mut ModelProto) -> Result<(), OnnxError> {
    inline(model)?;
    upgrade(model)?;
    model.ir_version = Some(model.ir_version().max(MIN_IR_VERSION));
    let Some(graph) = &mut model.graph else { return Ok(()) };
    gather_constants(graph)?;
    // The conditions of inner ones may be constants of the branch.
    while take_branches(model, &HashMap::new()) {
        gather_constants(model.graph.as_mut().expect("it was there"))?;
    }
    let graph = model.graph.as_mut().expect("it was there");
    let stored: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    graph.input.retain(|input| !stored.contains(input.name()));
    sort(graph)?;
    replace_aliases(graph);
    let mut names = Names::default();
    name_nodes(graph, &mut names);
    Ok(())
}

/// Sparse initializers and `Constant` nodes become dense initializers.
fn gather_constants(graph: &mut GraphProto) -> Result<(), OnnxError> {
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        let name = sparse.values.as_ref().map_or("", |values| values.name());
        graph.initializer.push(dense(name, &sparse)?);
    }
    for node in std::mem::take(&mut graph.node) {
        match constant(&node)? {
            Some(tensor) => graph.initializer.push(tensor),
            None => graph.node.push(node),
        }
    }
    Ok(())
}

/// Puts nodes behind those whose values they read, and leaves the order alone where it is right.
fn sort(graph: &mut GraphProto) -> Result<(), OnnxError> {
    graph.node.iter_mut().flat_map(subgraphs_mut).try_for_each(sort)?;
    let made: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let reads: Vec<Vec<usize>> = graph
        .node
        .iter()
        .map(|node| reads(node).filter_map(|name| made.get(name).copied()).collect())
        .collect();
    let order = order(&reads).map_err(|index| {
        OnnxError::node(&graph.node[index], "it reads, over other nodes, what it makes itself")
    })?;
    let mut nodes: Vec<Option<NodeProto>> =
        std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    let next = |index: usize| nodes[index].take().expect("the order has every node once");
    graph.node = order.into_iter().map(next).collect();
    Ok(())
}

/// Every index once, behind those that it reads; the first that waits for itself where there is no
/// such order. On the heap: a chain of nodes may be long.
fn order(reads: &[Vec<usize>]) -> Result<Vec<usize>, usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; reads.len()];
    let mut order = Vec::with_capacity(reads.len());
    for start in 0..reads.len() {
        // Each with how many of its reads have been looked at.
        let mut path = vec![(start, 0)];
        while let Some((index, position)) = path.pop() {
            if states[index] == State::Done {
                continue;
            }
            states[index] = State::Open;
            let Some(&next) = reads[index].get(position) else {
                states[index] = State::Done;
                order.push(index);
                continue;
            };
            path.push((index, position + 1));
            match states[next] {
                State::New => path.push((next, 0)),
                State::Open => return Err(next),
                State::Done => {}
            }
        }
    }
    Ok(order)
}

/// `Identity` of an initializer is another name for it: one name is used. Where the other name is
/// an output, the node stays.
fn replace_aliases(graph: &mut GraphProto) {
    let stored: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let mut aliases: HashMap<String, String> = HashMap::new();
    for node in &graph.node {
        let is_identity =
            node.op_type() == "Identity" && canonical_domain(node.domain()).is_empty();
        let ([source], [name], true) = (&node.input[..], &node.output[..], is_identity) else {
            continue;
        };
        let source = aliases.get(source).unwrap_or(source).clone();
        if stored.contains(source.as_str()) {
            aliases.insert(name.clone(), source);
        }
    }
    if aliases.is_empty() {
        return;
    }
    graph.node.iter_mut().for_each(|node| rename_reads(node, &aliases));
    let mut outputs = HashSet::new();
    collect_outputs(graph, &mut outputs);
    graph.node.retain(|node| {
        !node.output.iter().any(|name| aliases.contains_key(name) && !outputs.contains(name))
    });
}

/// Names of subgraphs are unlike those outside them, so that what is renamed is the outer value.
fn rename_reads(node: &mut NodeProto, aliases: &HashMap<String, String>) {
    for name in &mut node.input {
        if let Some(source) = aliases.get(name) {
            name.clone_from(source);
        }
    }
    subgraphs_mut(node).flat_map(|graph| &mut graph.node).for_each(|it| rename_reads(it, aliases));
}

/// Outputs of the graph and its subgraphs.
fn collect_outputs(graph: &GraphProto, outputs: &mut HashSet<String>) {
    outputs.extend(graph.output.iter().map(|output| output.name().to_owned()));
    graph.node.iter().flat_map(subgraphs).for_each(|graph| collect_outputs(graph, outputs));
}

fn name_nodes(graph: &mut GraphProto, names: &mut Names) {
    for node in &mut graph.node {
        node.name = Some(names.fresh(node_label(node)));
        subgraphs_mut(node).for_each(|graph| name_nodes(graph, names));
    }
}

#[cfg(test)]
mod tests;
