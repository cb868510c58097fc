//! Ways through a model's graphs: every node, every tensor, and what a node is called.

use std::collections::HashSet;
use std::slice;

use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    TensorProto,
};

/// The nodes of a graph in the file's order, each followed by those of its subgraphs.
#[derive(Clone, Debug)]
pub struct Nodes<'a> {
    /// What is left of each list of nodes; the innermost is last.
    open: Vec<slice::Iter<'a, NodeProto>>,
}

impl<'a> Iterator for Nodes<'a> {
    type Item = &'a NodeProto;

    fn next(&mut self) -> Option<&'a NodeProto> {
        loop {
            let Some(node) = self.open.last_mut()?.next() else {
                self.open.pop();
                continue;
            };
            // Pushed last to first, so that the first subgraph comes first.
            let subgraphs =
                node.attribute.iter().rev().flat_map(|attribute| {
                    attribute.graphs.iter().rev().chain(attribute.g.as_deref())
                });
            self.open.extend(subgraphs.map(|graph| graph.node.iter()));
            return Some(node);
        }
    }
}

/// Every node of the graph and its subgraphs.
pub fn graph_nodes(graph: &GraphProto) -> Nodes<'_> {
    Nodes { open: vec![graph.node.iter()] }
}

/// Every node of the model: those of its graph, then those of its functions' bodies, subgraphs
/// included. Training information is not part of it.
pub fn nodes(model: &ModelProto) -> Nodes<'_> {
    let functions = model.functions.iter().rev().map(|function| function.node.iter());
    let graph = model.graph.iter().map(|graph| graph.node.iter());
    Nodes { open: functions.chain(graph).collect() }
}

/// What to call a node in messages: its name, else its first output, else its operator.
pub fn node_label(node: &NodeProto) -> &str {
    if !node.name().is_empty() {
        return node.name();
    }
    let output = node.output.iter().find(|output| !output.is_empty());
    output.map_or(node.op_type(), String::as_str)
}

/// What to call a node's operator in messages: its type, after its domain where that is not
/// ONNX's own.
pub fn operator_label(node: &NodeProto) -> String {
    match canonical_domain(node.domain()) {
        "" => node.op_type().to_owned(),
        domain => format!("{domain}.{}", node.op_type()),
    }
}

/// The domain under its one name: ONNX's own has two.
pub fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// A node's attribute of that name.
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

/// A graph's own initializer of that name.
pub fn initializer<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name() == name)
}

/// Names that a node's subgraphs take from outside them, in the order of use; mostly none.
pub fn free_names(node: &NodeProto) -> Vec<&str> {
    let mut free = Vec::new();
    for graph in subgraphs(node) {
        let mut known: HashSet<&str> = graph.input.iter().map(|input| input.name()).collect();
        known.extend(graph.initializer.iter().map(TensorProto::name));
        known.extend(sparse_initializers(graph).map(TensorProto::name));
        for node in &graph.node {
            let own = node.input.iter().map(String::as_str).filter(|name| !name.is_empty());
            let names = own.chain(free_names(node));
            free.extend(names.filter(|name| !known.contains(name)));
            known.extend(node.output.iter().map(String::as_str));
        }
        let outputs = graph.output.iter().map(|output| output.name());
        free.extend(outputs.filter(|name| !known.contains(name)));
    }
    free
}

pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

pub(super) fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute
        .iter_mut()
        .flat_map(|attribute| attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs))
}

/// Initializers of which only some elements are stored: the tensors that carry their names.
pub(super) fn sparse_initializers(graph: &GraphProto) -> impl Iterator<Item = &TensorProto> {
    graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref())
}

/// The version of ONNX's own operators among those that are imported.
pub fn operators_version(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let own = imports.iter().find(|set| canonical_domain(set.domain()).is_empty());
    own.map(OperatorSetIdProto::version)
}

/// Every name that stands for a value of the graph or its subgraphs, or for one of their nodes.
pub fn value_names(graph: &GraphProto) -> HashSet<String> {
    let mut names = HashSet::new();
    collect_names(graph, &mut names);
    names
}

fn collect_names(graph: &GraphProto, names: &mut HashSet<String>) {
    let values = graph.input.iter().chain(&graph.output).map(|value| value.name());
    names.extend(values.map(str::to_owned));
    let initializers = graph.initializer.iter().chain(sparse_initializers(graph));
    names.extend(initializers.map(|tensor| tensor.name().to_owned()));
    for node in &graph.node {
        names.extend(node.output.iter().cloned());
        names.insert(node.name().to_owned());
        subgraphs(node).for_each(|graph| collect_names(graph, names));
    }
}

/// Calls `visit` with every tensor of the model, wherever it may be: initializers and attributes
/// of the graph, of subgraphs, of functions and of training information.
///
/// # Errors
/// The first that `visit` returns.
pub fn visit_tensors_mut<E>(
    model: &mut ModelProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(graph) = &mut model.graph {
        visit_graph(graph, visit)?;
    }
    for function in &mut model.functions {
        visit_attributes(&mut function.attribute_proto, visit)?;
        visit_nodes(&mut function.node, visit)?;
    }
    for training in &mut model.training_info {
        for graph in [&mut training.initialization, &mut training.algorithm].into_iter().flatten() {
            visit_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn visit_graph<E>(
    graph: &mut GraphProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in &mut graph.initializer {
        visit(tensor)?;
    }
    for sparse in &mut graph.sparse_initializer {
        visit_sparse(sparse, visit)?;
    }
    visit_nodes(&mut graph.node, visit)
}

fn visit_nodes<E>(
    nodes: &mut [NodeProto],
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    nodes.iter_mut().try_for_each(|node| visit_attributes(&mut node.attribute, visit))
}

fn visit_attributes<E>(
    attributes: &mut [AttributeProto],
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for attribute in attributes {
        for tensor in attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors) {
            visit(tensor)?;
        }
        let single = attribute.sparse_tensor.as_deref_mut();
        for sparse in single.into_iter().chain(&mut attribute.sparse_tensors) {
            visit_sparse(sparse, visit)?;
        }
        for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            visit_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn visit_sparse<E>(
    sparse: &mut SparseTensorProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    [&mut sparse.values, &mut sparse.indices].into_iter().flatten().try_for_each(visit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::FunctionProto;

    fn node(name: &str, subgraphs: Vec<GraphProto>) -> NodeProto {
        let graphs = AttributeProto { graphs: subgraphs, ..AttributeProto::default() };
        NodeProto { name: Some(name.to_owned()), attribute: vec![graphs], ..NodeProto::default() }
    }

    fn graph(node: Vec<NodeProto>) -> GraphProto {
        let tensor = TensorProto::default();
        GraphProto { node, initializer: vec![tensor], ..GraphProto::default() }
    }

    fn nested() -> ModelProto {
        let inner = graph(vec![node("c", vec![])]);
        let first = graph(vec![node("b", vec![inner])]);
        let second = graph(vec![node("d", vec![])]);
        let function = FunctionProto { node: vec![node("f", vec![])], ..FunctionProto::default() };
        ModelProto {
            graph: Some(graph(vec![node("a", vec![first, second]), node("e", vec![])])),
            functions: vec![function],
            ..ModelProto::default()
        }
    }

    #[test]
    fn nodes_come_in_file_order_with_subgraphs_in_place() {
        let names: Vec<String> = nodes(&nested()).map(|node| node.name().to_owned()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn tensors_of_subgraphs_are_visited() {
        let mut count = 0;
        let mut visit = |_: &mut TensorProto| -> Result<(), ()> {
            count += 1;
            Ok(())
        };
        visit_tensors_mut(&mut nested(), &mut visit).expect("visit never fails");
        assert_eq!(count, 4);
    }

    #[test]
    fn a_nameless_node_is_called_by_its_output() {
        let mut node = NodeProto {
            op_type: Some("Conv".to_owned()),
            domain: Some("ai.onnx".to_owned()),
            ..NodeProto::default()
        };
        assert_eq!(node_label(&node), "Conv");
        node.output = vec![String::new(), "y".to_owned()];
        assert_eq!(node_label(&node), "y");
        assert_eq!(operator_label(&node), "Conv");
        node.domain = Some("com.example".to_owned());
        assert_eq!(operator_label(&node), "com.example.Conv");
    }
}
