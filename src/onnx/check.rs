//! Structural faults that need no knowledge of operators: values that nothing defines, values
//! defined twice, domains that are not imported. All are found at once, each with its node. What
//! an operator asks of its inputs is the engine's to say.

use std::collections::{HashMap, HashSet};

use super::graph::{canonical_domain, node_label, operator_label};
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("node {node:?} ({operator}): input {input:?} is defined by nothing")]
    InputUndefined { node: String, operator: String, input: String },
    #[error(
        "node {node:?} ({operator}): input {input:?} is defined only later, by node \
             {producer:?}"
    )]
    InputTooEarly { node: String, operator: String, input: String, producer: String },
    #[error("node {node:?} ({operator}): output {output:?} has been defined before")]
    OutputRedefined { node: String, operator: String, output: String },
    #[error("node {node:?} ({operator}): operators of {domain:?} are not imported by {importer}")]
    DomainNotImported { node: String, operator: String, domain: String, importer: String },
    #[error("node {node:?} names no operator")]
    OperatorMissing { node: String },
    #[error("{place}: output {output:?} is produced by nothing")]
    OutputUndefined { place: String, output: String },
    #[error("{place}: {kind} {name:?} is declared twice")]
    DeclaredTwice { place: String, kind: &'static str, name: String },
}

/// The faults of the model, in the file's order; none for a sound one.
pub fn check(model: &ModelProto) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(graph) = &model.graph {
        let mut checker = Checker::new("the model".to_owned(), &model.opset_import, &mut faults);
        checker.graph(graph, format!("graph {:?}", graph.name()));
    }
    let mut functions = HashSet::new();
    for function in &model.functions {
        let domain = canonical_domain(function.domain());
        let place = format!("function {:?}", format!("{domain}.{}", function.name()));
        if !functions.insert((domain, function.name(), function.overload())) {
            faults.push(Fault::DeclaredTwice {
                place: "the model".to_owned(),
                kind: "function",
                name: format!("{domain}.{}", function.name()),
            });
        }
        let mut checker = Checker::new(place.clone(), &function.opset_import, &mut faults);
        checker.scopes.push(HashSet::new());
        checker.declare(&place, "input", function.input.iter().map(String::as_str));
        checker.body(&function.node, function.output.iter().map(String::as_str), &place);
    }
    faults
}

struct Checker<'a, 'f> {
    /// What imports the operators, in messages.
    importer: String,
    domains: HashSet<&'a str>,
    /// The values known at this point, innermost graph last.
    scopes: Vec<HashSet<&'a str>>,
    faults: &'f mut Vec<Fault>,
}

impl<'a, 'f> Checker<'a, 'f> {
    fn new(
        importer: String,
        imports: &'a [OperatorSetIdProto],
        faults: &'f mut Vec<Fault>,
    ) -> Checker<'a, 'f> {
        let domains = imports.iter().map(|set| canonical_domain(set.domain())).collect();
        Checker { importer, domains, scopes: Vec::new(), faults }
    }

    fn graph(&mut self, graph: &'a GraphProto, place: String) {
        self.scopes.push(HashSet::new());
        self.declare(&place, "input", graph.input.iter().map(|input| input.name()));
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        let initializers: Vec<&str> =
            graph.initializer.iter().chain(sparse).map(|tensor| tensor.name()).collect();
        let mut seen = HashSet::new();
        for &name in &initializers {
            if !seen.insert(name) {
                self.declared_twice(&place, "initializer", name);
            }
        }
        // An initializer of an input's name is its default.
        self.innermost().extend(initializers);
        self.body(&graph.node, graph.output.iter().map(|output| output.name()), &place);
        self.scopes.pop();
    }

    /// The nodes of a graph or function, in the scope that was opened for it.
    fn body(
        &mut self,
        nodes: &'a [NodeProto],
        outputs: impl Iterator<Item = &'a str>,
        place: &str,
    ) {
        let producers: HashMap<&str, &NodeProto> = nodes
            .iter()
            .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)))
            .collect();
        for node in nodes {
            self.node(node, &producers);
        }
        for output in outputs {
            if !self.is_known(output) {
                let output = output.to_owned();
                self.faults.push(Fault::OutputUndefined { place: place.to_owned(), output });
            }
        }
    }

    fn node(&mut self, node: &'a NodeProto, producers: &HashMap<&str, &NodeProto>) {
        let label = || (node_label(node).to_owned(), operator_label(node));
        if node.op_type().is_empty() {
            self.faults.push(Fault::OperatorMissing { node: label().0 });
        }
        let domain = canonical_domain(node.domain());
        if !self.domains.contains(domain) {
            let ((node, operator), importer) = (label(), self.importer.clone());
            let domain = if domain.is_empty() { "ai.onnx" } else { domain }.to_owned();
            self.faults.push(Fault::DomainNotImported { node, operator, domain, importer });
        }
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if self.is_known(input) {
                continue;
            }
            let ((node, operator), input) = (label(), input.clone());
            self.faults.push(match producers.get(input.as_str()) {
                None => Fault::InputUndefined { node, operator, input },
                Some(producer) => {
                    let producer = node_label(producer).to_owned();
                    Fault::InputTooEarly { node, operator, input, producer }
                }
            });
        }
        for attribute in &node.attribute {
            self.subgraphs(node, attribute);
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !self.innermost().insert(output) {
                let ((node, operator), output) = (label(), output.clone());
                self.faults.push(Fault::OutputRedefined { node, operator, output });
            }
        }
    }

    fn subgraphs(&mut self, node: &NodeProto, attribute: &'a AttributeProto) {
        for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
            let place = format!("{:?} of node {:?}", attribute.name(), node_label(node));
            self.graph(graph, place);
        }
    }

    fn declare(&mut self, place: &str, kind: &'static str, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if !self.innermost().insert(name) {
                self.declared_twice(place, kind, name);
            }
        }
    }

    fn declared_twice(&mut self, place: &str, kind: &'static str, name: &str) {
        let (place, name) = (place.to_owned(), name.to_owned());
        self.faults.push(Fault::DeclaredTwice { place, kind, name });
    }

    fn innermost(&mut self) -> &mut HashSet<&'a str> {
        self.scopes.last_mut().expect("a scope is opened before anything is put in it")
    }

    fn is_known(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node, operator_set};
    use crate::onnx::proto::FunctionProto;
    use crate::onnx::samples::{EncoderSize, encoder, mlp, resnet18};
    use crate::tensor::DataType;

    fn check_faults(build: impl FnOnce(&mut GraphBuilder), expected: &[&str]) {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "2");
        build(&mut graph);
        let faults = check(&graph.into_model(17));
        let texts: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn samples_are_sound() {
        let small = EncoderSize { layers: 2, width: 8, heads: 2, feed_forward: 16, vocabulary: 10 };
        for model in [mlp(64, &[128, 128], 10), encoder(small), resnet18(32)] {
            assert_eq!(check(&model), []);
        }
    }

    #[test]
    fn undefined_and_early_inputs_name_the_node() {
        check_faults(
            |graph| {
                graph.node(Node::new("Add", &["x", "ghost"]).name("sum"));
                graph.node(Node::new("Relu", &["late"]).output("y"));
                graph.node(Node::new("Relu", &["x"]).name("last").output("late"));
                graph.output("z", DataType::Float32, "2");
            },
            &[
                "node \"sum\" (Add): input \"ghost\" is defined by nothing",
                "node \"Relu_1\" (Relu): input \"late\" is defined only later, by node \"last\"",
                "graph \"g\": output \"z\" is produced by nothing",
            ],
        );
    }

    #[test]
    fn redefinitions_are_found() {
        check_faults(
            |graph| {
                graph.input("x", DataType::Float32, "2");
                graph.node(Node::new("Relu", &["x"]).name("again").output("x"));
            },
            &[
                "graph \"g\": input \"x\" is declared twice",
                "node \"again\" (Relu): output \"x\" has been defined before",
            ],
        );
    }

    #[test]
    fn subgraphs_see_the_outer_graph_and_not_the_other_way_round() {
        let mut branch = GraphBuilder::new("branch");
        let inner = branch.node(Node::new("Relu", &["x"]).output("inner"));
        branch.output(&inner, DataType::Float32, "2");
        let mut broken = GraphBuilder::new("broken");
        broken.output("nowhere", DataType::Float32, "2");
        check_faults(
            |graph| {
                let choice = Node::new("If", &["x"])
                    .name("choice")
                    .attribute("then_branch", branch.into_graph())
                    .attribute("else_branch", broken.into_graph());
                graph.node(choice);
                graph.node(Node::new("Relu", &["inner"]).name("outside"));
            },
            &[
                "\"else_branch\" of node \"choice\": output \"nowhere\" is produced by nothing",
                "node \"outside\" (Relu): input \"inner\" is defined by nothing",
            ],
        );
    }

    #[test]
    fn domains_must_be_imported_where_they_are_used() {
        let body = Node::new("Gelu", &["a"]).domain("com.example").output("b");
        let function = FunctionProto {
            name: Some("Act".to_owned()),
            domain: Some("local".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            node: vec![body.into_proto()],
            opset_import: vec![operator_set("", 17)],
            ..FunctionProto::default()
        };
        check_faults(
            |graph| {
                graph.import("local", 1);
                graph.function(function.clone());
                graph.node(Node::new("Act", &["x"]).domain("local"));
                graph.node(Node::new("Odd", &["x"]).domain("elsewhere").name("odd"));
            },
            &[
                "node \"odd\" (elsewhere.Odd): operators of \"elsewhere\" are not imported by \
                 the model",
                "node \"b\" (com.example.Gelu): operators of \"com.example\" are not imported by \
                 function \"local.Act\"",
            ],
        );
    }
}
