//! Model-local functions are replaced by their bodies: tract knows only operators.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

use super::errors::{Complaint, Node};

/// Nodes that a model may have once its functions are inlined. Functions that call each other can
/// stand for exponentially many.
const MAX_NODES: usize = 1_000_000;

/// A function's name: domain and operator.
type Key = (String, String);

/// Replaces every call of a local function, in subgraphs and in functions too.
///
/// # Errors
/// A function calls itself, is ambiguous, is written for another operator set than the model, or
/// uses what this program does not know of functions.
pub(super) fn inline(model: &mut ModelProto) -> Result<(), Complaint> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    let mut table: HashMap<Key, Vec<&FunctionProto>> = HashMap::new();
    for function in &functions {
        let domain = function.domain.clone().unwrap_or_default();
        let name = function.name.clone().unwrap_or_default();
        table.entry((domain, name)).or_default().push(function);
    }
    let opset = opset_of(&model.opset_import);
    let mut inliner = Inliner { table, opset, calls: 0, nodes: 0, path: Vec::new() };
    match &mut model.graph {
        Some(graph) => inliner.graph(graph),
        None => Ok(()),
    }
}

/// Version of the standard operators.
pub(super) fn opset_of(imports: &[tract_onnx::pb::OperatorSetIdProto]) -> Option<i64> {
    let standard = imports.iter().find(|import| matches!(&*import.domain, "" | "ai.onnx"));
    standard.map(|import| import.version)
}

struct Inliner<'a> {
    table: HashMap<Key, Vec<&'a FunctionProto>>,
    opset: Option<i64>,
    /// Calls so far: each gets names of its own.
    calls: usize,
    nodes: usize,
    /// The functions whose bodies are being inlined, outermost first.
    path: Vec<Key>,
}

impl<'a> Inliner<'a> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), Complaint> {
        let nodes = std::mem::take(&mut graph.node);
        graph.node = self.list(nodes)?;
        Ok(())
    }

    fn list(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, Complaint> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let key = (node.domain.clone(), node.op_type.clone());
            if let Some(candidates) = self.table.get(&key) {
                let [function] = candidates[..] else {
                    return Err(refused(&node, "the model has several functions of this name"));
                };
                inlined.extend(self.call(&node, key, function)?);
                continue;
            }
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                let reason = format!("its functions stand for more than {MAX_NODES} nodes");
                return Err(refused(&node, &reason));
            }
            for attribute in &mut node.attribute {
                let graphs = attribute.g.iter_mut().chain(&mut attribute.graphs);
                for graph in graphs {
                    self.graph(graph)?;
                }
            }
            inlined.push(node);
        }
        Ok(inlined)
    }

    fn call(
        &mut self,
        node: &NodeProto,
        key: Key,
        function: &'a FunctionProto,
    ) -> Result<Vec<NodeProto>, Complaint> {
        if self.path.contains(&key) {
            return Err(refused(node, "the function calls itself"));
        }
        let opset = opset_of(&function.opset_import);
        if opset.is_some() && opset != self.opset {
            return Err(refused(node, "the function has another operator set than the model"));
        }
        self.calls += 1;
        let body = Body::of(node, function, self.calls)?;
        self.path.push(key);
        let nodes = self.list(body.nodes);
        self.path.pop();
        nodes
    }
}

/// A function's body as the nodes of one call.
struct Body {
    nodes: Vec<NodeProto>,
}

impl Body {
    fn of(call: &NodeProto, function: &FunctionProto, number: usize) -> Result<Body, Complaint> {
        let prefix = format!("{}/call{number}/", call.name);
        let mut names: HashMap<&str, String> = HashMap::new();
        for (index, input) in function.input.iter().enumerate() {
            names.insert(input, call.input.get(index).cloned().unwrap_or_default());
        }
        let mut nodes = Vec::with_capacity(function.node.len());
        let mut passed_through = Vec::new();
        for (index, output) in function.output.iter().enumerate() {
            let Some(wanted) = call.output.get(index).filter(|name| !name.is_empty()) else {
                continue;
            };
            if function.input.contains(output) {
                passed_through.push((names[output.as_str()].clone(), wanted.clone()));
            } else {
                names.insert(output, wanted.clone());
            }
        }
        let scope = Scope { call, function, names: &names, prefix: &prefix };
        for node in &function.node {
            nodes.push(scope.node(node)?);
        }
        for (index, (input, output)) in passed_through.into_iter().enumerate() {
            nodes.push(NodeProto {
                name: format!("{prefix}pass{index}"),
                op_type: "Identity".to_owned(),
                input: vec![input],
                output: vec![output],
                ..NodeProto::default()
            });
        }
        Ok(Body { nodes })
    }
}

/// What names and attributes mean inside one call.
struct Scope<'a> {
    call: &'a NodeProto,
    function: &'a FunctionProto,
    names: &'a HashMap<&'a str, String>,
    prefix: &'a str,
}

impl Scope<'_> {
    fn rename(&self, name: &mut String) {
        if name.is_empty() {
            return;
        }
        *name = match self.names.get(name.as_str()) {
            Some(outer) => outer.clone(),
            None => format!("{}{name}", self.prefix),
        };
    }

    fn node(&self, node: &NodeProto) -> Result<NodeProto, Complaint> {
        let mut node = node.clone();
        node.name = format!("{}{}", self.prefix, node.name);
        node.input.iter_mut().chain(&mut node.output).for_each(|name| self.rename(name));
        let attributes = std::mem::take(&mut node.attribute);
        for mut attribute in attributes {
            if !attribute.ref_attr_name.is_empty() {
                node.attribute.extend(self.reference(&attribute)?);
                continue;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                self.graph(graph)?;
            }
            node.attribute.push(attribute);
        }
        Ok(node)
    }

    /// The call's attribute that `reference` stands for, or nothing where the call leaves it out.
    fn reference(&self, reference: &AttributeProto) -> Result<Option<AttributeProto>, Complaint> {
        let wanted = &reference.ref_attr_name;
        let given = self.call.attribute.iter().find(|attribute| attribute.name == *wanted);
        match given {
            Some(given) => {
                Ok(Some(AttributeProto { name: reference.name.clone(), ..given.clone() }))
            }
            None if self.function.attribute.contains(wanted) => Ok(None),
            // Defaults of functions are in a field that tract's messages lack.
            None => Err(refused(self.call, &format!("attribute {wanted:?} has a default"))),
        }
    }

    /// Functions cannot see their caller's values, so that every name inside is the function's.
    fn graph(&self, graph: &mut GraphProto) -> Result<(), Complaint> {
        let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
        values.for_each(|value| self.rename(&mut value.name));
        graph.initializer.iter_mut().for_each(|tensor| self.rename(&mut tensor.name));
        let nodes = std::mem::take(&mut graph.node);
        for node in &nodes {
            graph.node.push(self.node(node)?);
        }
        Ok(())
    }
}

fn refused(node: &NodeProto, reason: &str) -> Complaint {
    Complaint {
        node: Some(Node { name: node.name.clone(), operator: node.op_type.clone() }),
        reason: reason.to_owned(),
    }
}
