//! Functions that a model brings along, replaced by their bodies: what comes after knows operators
//! only.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::OnnxError;
use super::graph::{canonical_domain, graph_nodes, node_label, subgraphs_mut};
use super::names::Names;
use super::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};
use super::read::MAX_MODEL_BYTES;

/// Nodes that the calls of a model may stand for. Functions that call each other can stand for
/// exponentially many.
const MAX_NODES: usize = 1_000_000;

/// Calls within calls. Exporters nest a handful.
const MAX_DEPTH: usize = 32;

/// What a call names its function by: domain, operator, overload.
type Key = (String, String, String);

/// Replaces every call of a function that the model has, in subgraphs and in functions too. Nodes
/// and values of a body are named after the node that called it. What the functions imported is
/// imported by the model then.
///
/// # Errors
/// A function calls itself, is there twice, is written in other operators than the model, leaves
/// open what an attribute is, or the calls stand for too much.
pub fn inline(model: &mut ModelProto) -> Result<(), OnnxError> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let Some(mut graph) = model.graph.take() else { return Ok(()) };
    let functions = std::mem::take(&mut model.functions);
    let mut table: HashMap<Key, Vec<Function>> = HashMap::new();
    for proto in &functions {
        let size = proto.encoded_len() as u64;
        table.entry(key_of(proto)).or_default().push(Function { proto, size });
    }
    let mut inliner = Inliner {
        table: &table,
        imports: std::mem::take(&mut model.opset_import),
        names: Names::of(&graph),
        nodes: 0,
        bytes: 0,
        path: Vec::new(),
    };
    inliner.graph(&mut graph)?;
    model.opset_import = inliner.imports;
    let used: HashSet<&str> =
        graph_nodes(&graph).map(|node| canonical_domain(node.domain())).collect();
    let of_functions: HashSet<&str> =
        functions.iter().map(|function| canonical_domain(function.domain())).collect();
    model.opset_import.retain(|set| {
        let domain = canonical_domain(set.domain());
        domain.is_empty() || used.contains(domain) || !of_functions.contains(domain)
    });
    model.graph = Some(graph);
    Ok(())
}

fn key_of(function: &FunctionProto) -> Key {
    let domain = canonical_domain(function.domain()).to_owned();
    (domain, function.name().to_owned(), function.overload().to_owned())
}

struct Function<'a> {
    proto: &'a FunctionProto,
    /// In bytes of the file.
    size: u64,
}

struct Inliner<'a> {
    table: &'a HashMap<Key, Vec<Function<'a>>>,
    /// Those of the model, and what its functions need besides.
    imports: Vec<OperatorSetIdProto>,
    names: Names,
    /// What all calls so far stand for.
    nodes: usize,
    bytes: u64,
    /// The functions whose bodies are being inlined, outermost first.
    path: Vec<Key>,
}

impl<'a> Inliner<'a> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), OnnxError> {
        let nodes = std::mem::take(&mut graph.node);
        graph.node = self.list(nodes)?;
        Ok(())
    }

    fn list(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, OnnxError> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let domain = canonical_domain(node.domain()).to_owned();
            let key = (domain, node.op_type().to_owned(), node.overload().to_owned());
            match self.table.get(&key).map(Vec::as_slice) {
                None => {
                    subgraphs_mut(&mut node).try_for_each(|graph| self.graph(graph))?;
                    inlined.push(node);
                }
                Some([function]) => inlined.extend(self.call(&node, key, function)?),
                Some(_) => {
                    let reason = "the model has several functions of this name";
                    return Err(OnnxError::node(&node, reason));
                }
            }
        }
        Ok(inlined)
    }

    fn call(
        &mut self,
        node: &NodeProto,
        key: Key,
        function: &Function<'a>,
    ) -> Result<Vec<NodeProto>, OnnxError> {
        if self.path.contains(&key) {
            return Err(OnnxError::node(node, "the function calls itself"));
        }
        if self.path.len() == MAX_DEPTH {
            let reason = format!("functions call each other more than {MAX_DEPTH} deep");
            return Err(OnnxError::node(node, reason));
        }
        self.nodes += function.proto.node.len().max(1);
        self.bytes = self.bytes.saturating_add(function.size);
        if self.nodes > MAX_NODES || self.bytes > MAX_MODEL_BYTES {
            let reason = format!(
                "the model's functions stand for more than {MAX_NODES} nodes or {MAX_MODEL_BYTES} \
                 bytes"
            );
            return Err(OnnxError::node(node, reason));
        }
        self.import(node, function.proto)?;
        let body = self.body(node, function.proto)?;
        self.path.push(key);
        let nodes = self.list(body);
        self.path.pop();
        nodes
    }

    /// Operators mean in the graph what they meant in the function: the versions are the same.
    fn import(&mut self, node: &NodeProto, function: &FunctionProto) -> Result<(), OnnxError> {
        for set in &function.opset_import {
            let domain = canonical_domain(set.domain());
            let same = |own: &&OperatorSetIdProto| canonical_domain(own.domain()) == domain;
            match self.imports.iter().find(same) {
                None => self.imports.push(set.clone()),
                Some(own) if own.version() == set.version() => {}
                // Of a domain of functions alone the version says nothing.
                Some(_) if self.table.keys().any(|key| key.0 == domain) => {}
                Some(own) => {
                    let (domain, own) = (if domain.is_empty() { "ai.onnx" } else { domain }, own);
                    let reason = format!(
                        "the function is written in version {} of {domain}, the model in {}",
                        set.version(),
                        own.version()
                    );
                    return Err(OnnxError::node(node, reason));
                }
            }
        }
        Ok(())
    }

    /// The function's nodes, as those of one call.
    fn body(
        &mut self,
        call: &NodeProto,
        function: &FunctionProto,
    ) -> Result<Vec<NodeProto>, OnnxError> {
        let mut meanings: HashMap<String, String> = HashMap::new();
        for (index, input) in function.input.iter().enumerate() {
            meanings.insert(input.clone(), call.input.get(index).cloned().unwrap_or_default());
        }
        let mut passed_through = Vec::new();
        for (index, output) in function.output.iter().enumerate() {
            let Some(wanted) = call.output.get(index).filter(|name| !name.is_empty()) else {
                continue;
            };
            // An input, or an output that has been there before.
            match meanings.get(output) {
                Some(source) => passed_through.push((source.clone(), wanted.clone())),
                None => drop(meanings.insert(output.clone(), wanted.clone())),
            }
        }
        let prefix = node_label(call).to_owned();
        let mut scope = Scope { call, function, meanings, names: &mut self.names, prefix };
        let mut nodes: Vec<NodeProto> =
            function.node.iter().map(|node| scope.node(node)).collect::<Result<_, _>>()?;
        for (source, wanted) in passed_through {
            if source.is_empty() {
                let reason = format!("output {wanted:?} is an input that is left out");
                return Err(OnnxError::node(call, reason));
            }
            nodes.push(NodeProto {
                name: Some(scope.fresh("pass")),
                op_type: Some("Identity".to_owned()),
                input: vec![source],
                output: vec![wanted],
                ..NodeProto::default()
            });
        }
        Ok(nodes)
    }
}

/// What names and attributes mean inside one call.
struct Scope<'a> {
    call: &'a NodeProto,
    function: &'a FunctionProto,
    /// By the function's names: the graph's.
    meanings: HashMap<String, String>,
    names: &'a mut Names,
    prefix: String,
}

impl Scope<'_> {
    fn fresh(&mut self, name: &str) -> String {
        self.names.fresh(&format!("{}/{name}", self.prefix))
    }

    fn rename(&mut self, name: &mut String) {
        if name.is_empty() {
            return;
        }
        let meaning = match self.meanings.get(name) {
            Some(meaning) => meaning.clone(),
            None => {
                let fresh = self.fresh(name);
                self.meanings.insert(name.clone(), fresh.clone());
                fresh
            }
        };
        *name = meaning;
    }

    fn rename_optional(&mut self, name: &mut Option<String>) {
        if let Some(name) = name {
            self.rename(name);
        }
    }

    fn node(&mut self, node: &NodeProto) -> Result<NodeProto, OnnxError> {
        let mut node = node.clone();
        let own = if node.name().is_empty() { node.op_type() } else { node.name() };
        node.name = Some(self.fresh(own));
        node.input.iter_mut().chain(&mut node.output).for_each(|name| self.rename(name));
        // Where the call leaves out what the body reads; some engines count inputs to tell.
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
        let attributes = std::mem::take(&mut node.attribute);
        for mut attribute in attributes {
            if !attribute.ref_attr_name().is_empty() {
                node.attribute.extend(self.referred(&attribute)?);
                continue;
            }
            for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                self.graph(graph)?;
            }
            node.attribute.push(attribute);
        }
        Ok(node)
    }

    /// What stands in the place of an attribute of the body: the call's, else the default, else
    /// nothing where the function leaves that open. A graph in it is the caller's and keeps its
    /// names.
    fn referred(&self, reference: &AttributeProto) -> Result<Option<AttributeProto>, OnnxError> {
        let wanted = reference.ref_attr_name();
        let named = |attribute: &&AttributeProto| attribute.name() == wanted;
        let given = self.call.attribute.iter().find(named);
        let value = given.or_else(|| self.function.attribute_proto.iter().find(named));
        if let Some(value) = value {
            return Ok(Some(AttributeProto { name: reference.name.clone(), ..value.clone() }));
        }
        if self.function.attribute.iter().any(|name| name == wanted) {
            return Ok(None);
        }
        let reason = format!("the function uses an attribute {wanted:?} that it does not declare");
        Err(OnnxError::node(self.call, reason))
    }

    /// Functions do not see their caller's values: every name inside is the function's.
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), OnnxError> {
        let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
        values.for_each(|value| self.rename_optional(&mut value.name));
        graph.initializer.iter_mut().for_each(|tensor| self.rename_optional(&mut tensor.name));
        for values in graph.sparse_initializer.iter_mut().filter_map(|it| it.values.as_mut()) {
            self.rename_optional(&mut values.name);
        }
        for annotation in &mut graph.quantization_annotation {
            self.rename_optional(&mut annotation.tensor_name);
            for entry in &mut annotation.quant_parameter_tensor_names {
                self.rename_optional(&mut entry.value);
            }
        }
        let nodes = std::mem::take(&mut graph.node);
        graph.node = nodes.iter().map(|node| self.node(node)).collect::<Result<_, _>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
