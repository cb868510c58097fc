//! `If` whose condition is known: the branch that is taken stands in its place.

use std::collections::{HashMap, HashSet};

use super::graph::{attribute, canonical_domain, node_label, sparse_initializers, subgraphs_mut};
use super::names::Names;
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use super::weights::tensor;
use crate::tensor::{DataType, Tensor};

/// Whether a model has an `If` outside its subgraphs.
pub fn has_branches(model: &ModelProto) -> bool {
    model.graph.iter().flat_map(|graph| &graph.node).any(is_branching)
}

/// Puts the branch that is taken in the place of each `If` of the graph whose condition is an
/// initializer or in the table, by the value's name; whether there was any. What was inside a
/// branch may then have a new name.
pub fn take_branches(model: &mut ModelProto, known: &HashMap<String, Tensor>) -> bool {
    let Some(graph) = &mut model.graph else { return false };
    let stored: HashMap<String, bool> = graph
        .initializer
        .iter()
        .filter(|proto| proto.dims.iter().all(|&size| size == 1))
        .filter_map(|proto| Some((proto.name().to_owned(), flag(&tensor(proto).ok()?)?)))
        .collect();
    let condition = |node: &NodeProto| {
        let name = node.input.first().filter(|_| is_branching(node))?;
        stored.get(name).copied().or_else(|| flag(known.get(name)?))
    };
    let taken = |node: &NodeProto| {
        let branch = if condition(node)? { "then_branch" } else { "else_branch" };
        attribute(node, branch)?.g.as_deref().cloned()
    };
    if !graph.node.iter().any(|node| taken(node).is_some()) {
        return false;
    }
    let mut names = Names::of(graph);
    let mut outer = outer_names(graph);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let Some(mut branch) = taken(&node) else {
            nodes.push(node);
            continue;
        };
        let outputs: Vec<String> = branch.output.iter().map(|it| it.name().to_owned()).collect();
        let aliases = make_unique(&mut branch, &mut names, &mut outer);
        nodes.append(&mut branch.node);
        graph.initializer.append(&mut branch.initializer);
        graph.sparse_initializer.append(&mut branch.sparse_initializer);
        for (inner, name) in outputs.into_iter().zip(&node.output) {
            if !name.is_empty() {
                let inner = aliases.get(&inner).cloned().unwrap_or(inner);
                nodes.push(pass(&names.fresh(node_label(&node)), inner, name));
            }
        }
    }
    graph.node = nodes;
    true
}

fn is_branching(node: &NodeProto) -> bool {
    node.op_type() == "If" && canonical_domain(node.domain()).is_empty()
}

fn flag(tensor: &Tensor) -> Option<bool> {
    let bytes = tensor.bytes().filter(|_| tensor.data_type() == DataType::Bool)?;
    bytes.first().map(|&byte| byte != 0)
}

fn pass(node: &str, from: String, to: &str) -> NodeProto {
    NodeProto {
        name: Some(node.to_owned()),
        op_type: Some("Identity".to_owned()),
        input: vec![from],
        output: vec![to.to_owned()],
        ..NodeProto::default()
    }
}

/// What stands for a value of the graph itself.
fn outer_names(graph: &GraphProto) -> HashSet<String> {
    let mut names = made_in(graph);
    names.extend(graph.input.iter().map(|input| input.name().to_owned()));
    names
}

fn made_in(graph: &GraphProto) -> HashSet<String> {
    let stored = graph.initializer.iter().chain(sparse_initializers(graph));
    let stored = stored.map(|tensor| tensor.name().to_owned());
    graph.node.iter().flat_map(|node| node.output.iter().cloned()).chain(stored).collect()
}

/// Renames what the branch makes and the graph has by the same name, as it may where two branches
/// do; what was renamed.
fn make_unique(
    branch: &mut GraphProto,
    names: &mut Names,
    outer: &mut HashSet<String>,
) -> HashMap<String, String> {
    let mut aliases = HashMap::new();
    for name in made_in(branch).into_iter().filter(|name| !name.is_empty()) {
        let unique = if outer.contains(&name) { names.fresh(&name) } else { name.clone() };
        outer.insert(unique.clone());
        if unique != name {
            aliases.insert(name, unique);
        }
    }
    if !aliases.is_empty() {
        rename(branch, &aliases);
    }
    aliases
}

fn rename(graph: &mut GraphProto, aliases: &HashMap<String, String>) {
    let one = |name: &mut String| {
        if let Some(alias) = aliases.get(name) {
            name.clone_from(alias);
        }
    };
    let tensor = |tensor: &mut TensorProto| {
        if let Some(name) = &mut tensor.name {
            one(name);
        }
    };
    graph.initializer.iter_mut().for_each(tensor);
    graph.sparse_initializer.iter_mut().filter_map(|it| it.values.as_mut()).for_each(tensor);
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(one);
        subgraphs_mut(node).for_each(|graph| rename(graph, aliases));
    }
    graph.output.iter_mut().filter_map(|output| output.name.as_mut()).for_each(one);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node};
    use crate::onnx::check::check;
    use crate::onnx::constants::floats;
    use crate::onnx::normalize;
    use crate::tensor::Shape;

    fn bool_tensor(value: bool) -> Tensor {
        Tensor::numbers(DataType::Bool, Shape::new(), vec![u8::from(value)].into()).expect("a byte")
    }

    /// A branch that multiplies by a weight of its own.
    fn branch(operator: &str) -> GraphProto {
        let mut graph = GraphBuilder::new(operator);
        graph.initializer("w", &floats(&[1], &[2.0]));
        graph.node(Node::new("Mul", &["x", "w"]).output("inside"));
        graph.node(Node::new(operator, &["inside"]).output("chosen"));
        graph.output("chosen", DataType::Float32, "2");
        graph.into_graph()
    }

    fn choice(condition: &str) -> Node {
        let node = Node::new("If", &[condition]).attribute("then_branch", branch("Neg"));
        node.attribute("else_branch", branch("Exp"))
    }

    fn operators(model: &ModelProto) -> Vec<&str> {
        model.graph.iter().flat_map(|graph| &graph.node).map(|node| node.op_type()).collect()
    }

    fn model(build: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "2");
        build(&mut graph);
        graph.into_model(17)
    }

    #[test]
    fn branches_with_the_same_names_are_taken_side_by_side() {
        let mut model = model(|graph| {
            graph.initializer("yes", &bool_tensor(true));
            graph.initializer("no", &bool_tensor(false));
            let one = graph.node(choice("yes").output("one"));
            let other = graph.node(choice("no").output("other"));
            let sum = graph.call("Add", &[&one, &other]);
            graph.output(&sum, DataType::Float32, "2");
        });
        normalize(&mut model).expect("sound");
        assert_eq!(check(&model), []);
        let kinds = operators(&model);
        let expected = ["Mul", "Neg", "Identity", "Mul", "Exp", "Identity", "Add"];
        assert_eq!(kinds, expected);
        assert_eq!(model.graph.expect("still there").initializer.len(), 4);
    }

    #[test]
    fn a_branch_inside_a_branch_is_taken_too() {
        let mut outer = GraphBuilder::new("outer");
        outer.node(Node::new("Constant", &[]).attribute("value", bool_tensor(false)).output("no"));
        outer.node(choice("no").output("inner"));
        outer.output("inner", DataType::Float32, "2");
        let outer = outer.into_graph();
        let mut model = model(|graph| {
            graph.initializer("yes", &bool_tensor(true));
            let node = Node::new("If", &["yes"]).attribute("then_branch", outer.clone());
            let y = graph.node(node.attribute("else_branch", outer).output("y"));
            graph.output(&y, DataType::Float32, "2");
        });
        normalize(&mut model).expect("sound");
        assert_eq!(check(&model), []);
        assert_eq!(operators(&model), ["Mul", "Exp", "Identity", "Identity"]);
    }

    #[test]
    fn a_condition_may_be_known_from_elsewhere_or_not_at_all() {
        let mut model = model(|graph| {
            let sum = graph.node(Node::new("ReduceSum", &["x"]).attribute("keepdims", 0));
            let condition = graph.node(Node::new("IsNaN", &[&sum]).output("condition"));
            let y = graph.node(choice(&condition).output("y"));
            graph.output(&y, DataType::Float32, "2");
        });
        assert!(has_branches(&model) && !take_branches(&mut model, &HashMap::new()));
        let known = HashMap::from([("condition".to_owned(), bool_tensor(false))]);
        assert!(take_branches(&mut model, &known) && !has_branches(&model));
        assert_eq!(check(&model), []);
    }
}
