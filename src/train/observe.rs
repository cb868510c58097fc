//! Types and shapes of every value, and what is constant: seen, not inferred. The model is run
//! with every value as an output; so whatever an engine runs is understood.

use std::collections::{HashMap, HashSet};

use super::{TrainError, open};
use crate::autodiff::{Fact, Facts};
use crate::engine::{Engine, SessionSettings};
use crate::onnx::build::value_info;
use crate::onnx::graph::{canonical_domain, free_names};
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto};
use crate::onnx::types::value_types;
use crate::onnx::weights::tensor;
use crate::tensor::{DataType, Dimension, Tensor};

/// What runs have shown.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub facts: Facts,
    /// Values that depend on shapes alone and were the same in every run, by name.
    pub constants: HashMap<String, Tensor>,
}

/// Constants larger than this are left to be computed: they would only make the file large.
const MAX_CONSTANT_BYTES: usize = 1 << 24;

/// Runs the model once per set of inputs (in the order of its inputs that have no default). A
/// dimension that is the same in all of them is taken to be that number, one that differs to be
/// open; open ones that are equal everywhere are one.
///
/// # Errors
/// The engine cannot open or run the model.
pub fn observe(
    engine: &dyn Engine,
    model: &ModelProto,
    runs: &[Vec<Tensor>],
) -> Result<Observed, TrainError> {
    let graph = model.graph.as_ref().ok_or(TrainError::NoGraph)?;
    let types = value_types(graph);
    let mut shown = model.clone();
    let all = shown.graph.as_mut().expect("seen above");
    let declared: HashSet<&str> = graph.output.iter().map(|output| output.name()).collect();
    let mut names: Vec<String> =
        graph.output.iter().map(|output| output.name().to_owned()).collect();
    for name in graph.node.iter().flat_map(|node| &node.output) {
        if !name.is_empty() && !declared.contains(name.as_str()) {
            let Some(&data_type) = types.get(name.as_str()) else { continue };
            all.output.push(value_info(name, data_type, None));
            names.push(name.clone());
        }
    }
    pin(all, runs);
    let mut session = open(engine, &shown, &SessionSettings::cpu())?;
    let signature = session.signature().clone();
    let wanted: Vec<usize> = (0..signature.outputs.len()).collect();
    let mut views: Vec<View> = Vec::new();
    for inputs in runs {
        let mut given: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
        given.resize(signature.inputs.len(), None);
        let results = session.run(&given, &wanted)?;
        let outputs = signature.outputs.iter().map(|spec| spec.name.clone()).zip(results);
        let inputs =
            signature.inputs.iter().map(|spec| spec.name.clone()).zip(inputs.iter().cloned());
        views.push(inputs.chain(outputs).collect());
    }
    let constants = constants(graph, &views);
    let mut facts = facts(&views)?;
    for proto in &graph.initializer {
        let weight = tensor(proto)?;
        let shape = weight.shape().iter().map(|&size| Dimension::Fixed(size)).collect();
        let fact = Fact { data_type: weight.data_type(), shape };
        facts.insert(proto.name().to_owned(), fact);
    }
    Ok(Observed { facts, constants })
}

/// Declares inputs to be of the sizes that all runs have: what an engine knows before it runs, it
/// need not find out; tract cannot for all operators.
fn pin(graph: &mut GraphProto, runs: &[Vec<Tensor>]) {
    // What the file says of other values may call the same sizes open.
    graph.value_info.clear();
    let stored: HashSet<&str> = graph.initializer.iter().map(|proto| proto.name()).collect();
    let given = graph.input.iter_mut().filter(|input| !stored.contains(input.name()));
    for (index, input) in given.enumerate() {
        let mut tensors = runs.iter().filter_map(|run| run.get(index));
        let Some(first) = tensors.next() else { continue };
        if tensors.all(|tensor| tensor.shape() == first.shape()) {
            let shape = first.shape().iter().map(|&size| Dimension::Fixed(size));
            let shape: Vec<Dimension> = shape.collect();
            *input = value_info(input.name(), first.data_type(), Some(&shape));
        }
    }
}

/// All values of one run.
type View = HashMap<String, Tensor>;

fn facts(views: &[View]) -> Result<Facts, TrainError> {
    let mut facts = Facts::new();
    let Some(first) = views.first() else { return Ok(facts) };
    // Open dimensions by their sizes in all runs.
    let mut open: HashMap<Vec<usize>, String> = HashMap::new();
    let mut names: Vec<&String> = first.keys().collect();
    names.sort_unstable();
    for name in names {
        let tensors: Vec<&Tensor> = views.iter().filter_map(|view| view.get(name)).collect();
        let rank = tensors[0].shape().len();
        if let Some(other) = tensors.iter().find(|tensor| tensor.shape().len() != rank) {
            let (first, second) = (rank, other.shape().len());
            return Err(TrainError::RankChanges { name: name.clone(), first, second });
        }
        let mut dimension = |axis: usize| {
            let sizes: Vec<usize> = tensors.iter().map(|tensor| tensor.shape()[axis]).collect();
            if sizes.iter().all(|&size| size == sizes[0]) {
                return Dimension::Fixed(sizes[0]);
            }
            let next = format!("open_{}", open.len());
            Dimension::Named(open.entry(sizes).or_insert(next).clone())
        };
        let shape = (0..rank).map(&mut dimension).collect();
        let data_type = tensors[0].data_type();
        facts.insert(name.clone(), Fact { data_type, shape });
    }
    Ok(facts)
}

/// Operators whose answers differ from run to run.
const RANDOM: [&str; 6] = [
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
];

/// Values that are computed from shapes and constants alone.
fn constants(graph: &GraphProto, views: &[View]) -> HashMap<String, Tensor> {
    let Some(first) = views.first() else { return HashMap::new() };
    let weights = graph.initializer.iter().filter(|proto| {
        // What is trained is no constant; integers are not trained.
        tensor(proto).is_ok_and(|tensor| !is_float(tensor.data_type()))
    });
    let mut known: HashSet<&str> = weights.map(|proto| proto.name()).collect();
    let mut found = HashMap::new();
    for node in &graph.node {
        if !depends_on_shapes(node, &known) {
            continue;
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            known.insert(name);
            let Some(value) = first.get(name) else { continue };
            let same = views.iter().all(|view| view.get(name) == Some(value));
            if same && value.byte_size() <= MAX_CONSTANT_BYTES {
                found.insert(name.clone(), value.clone());
            }
        }
    }
    found
}

fn is_float(data_type: DataType) -> bool {
    use DataType::{BFloat16, Float16, Float32, Float64};
    matches!(data_type, Float16 | BFloat16 | Float32 | Float64)
}

fn depends_on_shapes(node: &NodeProto, known: &HashSet<&str>) -> bool {
    let own = canonical_domain(node.domain()).is_empty();
    match node.op_type() {
        "Shape" | "Size" if own => true,
        operator if RANDOM.contains(&operator) || !own => false,
        _ => {
            let names = node.input.iter().map(String::as_str).chain(free_names(node));
            names.filter(|name| !name.is_empty()).all(|name| known.contains(name))
        }
    }
}
