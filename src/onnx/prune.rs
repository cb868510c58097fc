//! What a graph does not need leaves it: nodes whose answers are known, and whatever nothing reads.

use std::collections::{HashMap, HashSet};

use super::graph::{free_names, sparse_initializers, subgraphs_mut};
use super::proto::{GraphProto, ModelProto, NodeProto};
use super::weights::tensor_proto;
use crate::tensor::Tensor;

/// Replaces nodes by initializers where all that they make is in the table, by the value's name;
/// then drops what is unused.
pub fn fold(model: &mut ModelProto, known: &HashMap<String, Tensor>) {
    let Some(graph) = &mut model.graph else { return };
    let mut constants = Vec::new();
    graph.node.retain(|node| {
        let mut outputs = node.output.iter().filter(|name| !name.is_empty()).peekable();
        if outputs.peek().is_none() || !outputs.clone().all(|name| known.contains_key(name)) {
            return true;
        }
        constants.extend(outputs.map(|name| tensor_proto(name, &known[name])));
        false
    });
    graph.initializer.extend(constants);
    drop_unused(model);
}

/// Drops nodes, initializers and descriptions of values that no output of the graph depends on, in
/// subgraphs too. Inputs and outputs stay.
pub fn drop_unused(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        prune(graph);
    }
}

fn prune(graph: &mut GraphProto) {
    graph.node.iter_mut().flat_map(subgraphs_mut).for_each(prune);
    let mut read: HashSet<String> =
        graph.output.iter().map(|output| output.name().to_owned()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| read.contains(output)) {
            read.extend(reads(&node).map(str::to_owned));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| read.contains(tensor.name()));
    graph
        .sparse_initializer
        .retain(|sparse| sparse.values.as_ref().is_some_and(|values| read.contains(values.name())));
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let given = graph.input.iter().map(|input| input.name());
    let stored = graph.initializer.iter().chain(sparse_initializers(graph));
    let there: HashSet<String> =
        made.chain(given).chain(stored.map(|tensor| tensor.name())).map(str::to_owned).collect();
    graph.value_info.retain(|value| there.contains(value.name()));
    graph.quantization_annotation.retain(|annotation| there.contains(annotation.tensor_name()));
}

/// What a node reads, in its subgraphs too.
pub(super) fn reads(node: &NodeProto) -> impl Iterator<Item = &str> {
    let own = node.input.iter().map(String::as_str).filter(|name| !name.is_empty());
    own.chain(free_names(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node, value_info};
    use crate::onnx::check::check;
    use crate::onnx::constants::{floats, integers};
    use crate::tensor::DataType;

    fn names(graph: &GraphProto) -> (Vec<&str>, Vec<&str>) {
        let nodes = graph.node.iter().map(NodeProto::op_type).collect();
        (nodes, graph.initializer.iter().map(|tensor| tensor.name()).collect())
    }

    #[test]
    fn what_no_output_depends_on_is_dropped() {
        let mut branch = GraphBuilder::new("branch");
        branch.call("Neg", &["x"]);
        let inside = branch.call("Add", &["x", "kept"]);
        branch.output(&inside, DataType::Float32, "2");
        let branch = branch.into_graph();
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "2");
        graph.input("unread", DataType::Float32, "2");
        graph.input("flag", DataType::Bool, "");
        graph.initializer("kept", &floats(&[2], &[1.0, 2.0]));
        graph.initializer("dropped", &floats(&[2], &[1.0, 2.0]));
        graph.call("Mul", &["x", "dropped"]);
        let choice = Node::new("If", &["flag"]).attribute("then_branch", branch.clone());
        let y = graph.node(choice.attribute("else_branch", branch));
        graph.call("Relu", &[&y]);
        graph.output(&y, DataType::Float32, "2");
        let mut model = graph.into_model(17);
        let info = &mut model.graph.as_mut().expect("just built").value_info;
        info.extend(["x", "Mul_0"].map(|name| value_info(name, DataType::Float32, None)));
        drop_unused(&mut model);
        assert_eq!(check(&model), []);
        let graph = model.graph.expect("still there");
        assert_eq!(names(&graph), (vec!["If"], vec!["kept"]));
        let branch = graph.node[0].attribute[0].g.as_ref().expect("a branch");
        assert_eq!(names(branch), (vec!["Add"], vec![]));
        assert_eq!(graph.input.len(), 3);
        assert_eq!(graph.value_info.len(), 1);
    }

    #[test]
    fn nodes_with_known_answers_become_initializers() {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "n, 2");
        let shape = graph.call("Shape", &["x"]);
        let cut = graph.node(Node::new("Slice", &[&shape, "from", "to"]).output("cut"));
        graph.initializer("from", &integers(&[1], &[1]));
        graph.initializer("to", &integers(&[1], &[2]));
        let y = graph.call("Expand", &["x", &cut]);
        graph.output(&y, DataType::Float32, "n, 2");
        let mut model = graph.into_model(17);
        let known = HashMap::from([("cut".to_owned(), integers(&[1], &[2]))]);
        fold(&mut model, &known);
        assert_eq!(check(&model), []);
        assert_eq!(names(&model.graph.expect("still there")), (vec!["Expand"], vec!["cut"]));
    }

    #[test]
    fn a_node_is_kept_where_one_of_its_answers_is_not_known() {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "4");
        graph.node(Node::new("Split", &["x"]).output("a").output("b"));
        let y = graph.call("Add", &["a", "b"]);
        graph.output(&y, DataType::Float32, "2");
        let mut model = graph.into_model(17);
        let known = HashMap::from([("a".to_owned(), floats(&[2], &[1.0, 2.0]))]);
        fold(&mut model, &known);
        assert_eq!(names(&model.graph.expect("still there")), (vec!["Split", "Add"], vec![]));
    }
}
