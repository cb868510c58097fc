//! `If` whose condition is known once the shapes are: the branch takes the node's place.
//!
//! Exporters write `If` around what depends on a shape (whether an axis is 1). Its branches may
//! differ in rank, which no plan can hold, though only one of them can ever run.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::prelude::{InferenceModel, InferenceModelExt, OutletId, TractResult};
use tract_onnx::tract_hir::infer::Factoid;

use tract_onnx::ops::logic::If;
use tract_onnx::tract_hir::infer::InferenceNode;

/// Conditions that are known, by node.
type Known = HashMap<usize, bool>;

/// Takes out every `If` whose condition follows from the input shapes, inner ones too.
pub(super) fn fold(mut graph: InferenceModel) -> TractResult<InferenceModel> {
    while graph.nodes().iter().any(|node| node.op_is::<If>()) {
        // The graph itself keeps the facts that it was made with: those of a branch that is not
        // taken spoil those of the other one.
        let mut analysed = graph.clone();
        // Facts are wanted as far as they go: what contradicts itself may be in a dead branch, and
        // what is really wrong comes up again when the plan is made.
        let _ = analysed.analyse(true);
        let known: Known = analysed
            .nodes()
            .iter()
            .filter_map(|node| Some((node.id, condition(&analysed, node)?)))
            .collect();
        if known.is_empty() {
            break;
        }
        graph = without_branches(&graph, &known)?;
    }
    Ok(graph)
}

/// The value of an `If` node's condition, where it is known.
fn condition(graph: &InferenceModel, node: &InferenceNode) -> Option<bool> {
    node.op_as::<If>()?;
    let fact = graph.outlet_fact(*node.inputs.first()?).ok()?;
    let value = fact.value.concretize()?;
    value.cast_to_scalar::<bool>().ok()
}

fn without_branches(graph: &InferenceModel, known: &Known) -> TractResult<InferenceModel> {
    let mut target = InferenceModel { symbols: graph.symbols.clone(), ..InferenceModel::default() };
    let mut mapping = HashMap::new();
    // All inputs, in order, also those that no output needs any more.
    for &input in graph.input_outlets()? {
        let fact = graph.outlet_fact(input)?.clone();
        let source = target.add_source(graph.node(input.node).name.clone(), fact)?;
        mapping.insert(input, source);
    }
    copy(graph, known, &mut target, &mut mapping, "")?;
    let outputs: Vec<OutletId> =
        graph.output_outlets()?.iter().map(|outlet| mapping[outlet]).collect();
    target.select_output_outlets(&outputs)?;
    Ok(target)
}

/// Copies the nodes of `source` that its outputs need; `mapping` has its inputs already.
fn copy(
    source: &InferenceModel,
    known: &Known,
    target: &mut InferenceModel,
    mapping: &mut HashMap<OutletId, OutletId>,
    prefix: &str,
) -> TractResult<()> {
    for id in source.eval_order()? {
        let node = source.node(id);
        if mapping.contains_key(&OutletId::new(id, 0)) {
            continue;
        }
        let inputs: Vec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        let name = format!("{prefix}{}", node.name);
        if let (Some(&then), Some(branches)) = (known.get(&id), node.op_as::<If>()) {
            let outputs = branch(branches, then, &inputs, target, &name)?;
            for (slot, outlet) in outputs.into_iter().enumerate() {
                mapping.insert(OutletId::new(id, slot), outlet);
            }
            continue;
        }
        let facts = node.outputs.iter().map(|outlet| outlet.fact.clone()).collect();
        let copied = target.add_node(name, node.op.clone(), facts)?;
        for (slot, &input) in inputs.iter().enumerate() {
            target.add_edge(input, tract_onnx::prelude::InletId::new(copied, slot))?;
        }
        for slot in 0..node.outputs.len() {
            mapping.insert(OutletId::new(id, slot), OutletId::new(copied, slot));
        }
    }
    Ok(())
}

/// Puts one branch of an `If` into `target` and answers its outputs there.
fn branch(
    branches: &If,
    then: bool,
    inputs: &[OutletId],
    target: &mut InferenceModel,
    name: &str,
) -> TractResult<Vec<OutletId>> {
    // tract wires the condition first, then what either branch captures, sorted by name.
    let captured: BTreeSet<&str> =
        source_names(&branches.then_body)?.chain(source_names(&branches.else_body)?).collect();
    let outer: HashMap<&str, OutletId> =
        captured.into_iter().zip(inputs[1..].iter().copied()).collect();
    let body = if then { &branches.then_body } else { &branches.else_body };
    let mut mapping = HashMap::new();
    for &input in body.input_outlets()? {
        mapping.insert(input, outer[body.node(input.node).name.as_str()]);
    }
    copy(body, &Known::new(), target, &mut mapping, &format!("{name}/"))?;
    Ok(body.output_outlets()?.iter().map(|outlet| mapping[outlet]).collect())
}

fn source_names(body: &InferenceModel) -> TractResult<impl Iterator<Item = &str>> {
    Ok(body.input_outlets()?.iter().map(|outlet| body.node(outlet.node).name.as_str()))
}
