//! What is trained: which initializers of a model are parameters.

use std::collections::HashSet;

use super::TrainError;
use crate::onnx::graph::canonical_domain;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::weights::tensor;
use crate::tensor::DataType;

/// Names of initializers to train; `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trainable {
    /// Any of these; empty for all.
    pub patterns: Vec<String>,
}

/// The parameters of a normalised model, in its order.
///
/// A float initializer with more than one element is one, unless its place says that it is a
/// constant: running statistics of a batch normalisation, bounds, scales of a resize. Whatever a
/// pattern names in full is taken for one.
///
/// # Errors
/// A pattern matches nothing, or nothing is left.
pub fn parameters(model: &ModelProto, trainable: &Trainable) -> Result<Vec<String>, TrainError> {
    let graph = model.graph.as_ref().ok_or(TrainError::NoGraph)?;
    let constants = constant_places(graph);
    let named = |name: &str| trainable.patterns.iter().any(|pattern| pattern == name);
    let candidates: Vec<&str> = graph
        .initializer
        .iter()
        .filter(|proto| is_float(proto))
        .filter(|proto| named(proto.name()) || is_parameter(proto, &constants))
        .map(TensorProto::name)
        .collect();
    if let Some(pattern) = trainable
        .patterns
        .iter()
        .find(|pattern| !candidates.iter().any(|name| matches(pattern, name)))
    {
        let known = candidates.iter().map(|&name| name.to_owned()).collect();
        return Err(TrainError::NothingMatches { pattern: pattern.clone(), known });
    }
    let chosen = |name: &&str| {
        let patterns = &trainable.patterns;
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
    };
    let chosen: Vec<String> = candidates.into_iter().filter(chosen).map(str::to_owned).collect();
    if chosen.is_empty() {
        return Err(TrainError::NoParameters);
    }
    Ok(chosen)
}

fn is_float(proto: &TensorProto) -> bool {
    tensor(proto)
        .is_ok_and(|tensor| matches!(tensor.data_type(), DataType::Float32 | DataType::Float64))
}

fn is_parameter(proto: &TensorProto, constants: &HashSet<&str>) -> bool {
    let elements: i64 = proto.dims.iter().product();
    !proto.dims.is_empty() && elements > 1 && !constants.contains(proto.name())
}

/// Initializers that are biases for all that they have more than one axis: those of a recurrence
/// have one for the direction.
pub(super) fn recurrent_biases(graph: &GraphProto) -> HashSet<&str> {
    let is_recurrence =
        |node: &&NodeProto| is_own(node) && matches!(node.op_type(), "LSTM" | "GRU" | "RNN");
    let biases = graph.node.iter().filter(is_recurrence).filter_map(|node| node.input.get(3));
    biases.map(String::as_str).collect()
}

/// Initializers that a node uses for something else than computing with them.
fn constant_places(graph: &GraphProto) -> HashSet<&str> {
    let mut constants = HashSet::new();
    for node in &graph.node {
        let places: &[usize] = match node.op_type() {
            _ if !is_own(node) => &[],
            "BatchNormalization" => &[3, 4],
            "Resize" | "Upsample" | "Clip" | "Pad" | "Dropout" => &[1, 2, 3],
            "OneHot" => &[2],
            "Pow" => &[1],
            // States that sequences begin with.
            "LSTM" | "GRU" | "RNN" => &[5, 6],
            _ => &[],
        };
        let names = places.iter().filter_map(|&place| node.input.get(place));
        constants.extend(names.map(String::as_str));
    }
    constants
}

fn is_own(node: &NodeProto) -> bool {
    canonical_domain(node.domain()).is_empty()
}

/// Whether a pattern with `*` for any characters matches a name whole.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::mlp;

    #[test]
    fn patterns_match_whole_names() {
        let check = |pattern, name, expected| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("fc.weight", "fc.weight", true);
        check("fc", "fc.weight", false);
        check("fc*", "fc.weight", true);
        check("*weight", "fc.weight", true);
        check("*.1.*", "layer.1.weight", true);
        check("*.1.*", "layer.11.weight", false);
        check("a*a", "a", false);
        check("a*b*c", "a-b-b-c", true);
        check("*", "", true);
    }

    #[test]
    fn all_weights_of_a_perceptron_are_trained_and_patterns_choose() {
        let model = mlp(4, &[3], 2);
        let all = parameters(&model, &Trainable::default()).expect("there are some");
        assert_eq!(all.len(), 4);
        let patterns = vec![all[0].clone()];
        let one = parameters(&model, &Trainable { patterns }).expect("it is there");
        assert_eq!(one, all[..1]);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_that_lists_what_there_is() {
        let trainable = Trainable { patterns: vec!["head.*".to_owned()] };
        let error = parameters(&mlp(4, &[3], 2), &trainable).expect_err("no such name");
        assert!(error.to_string().starts_with("no parameter matches \"head.*\""), "{error}");
    }
}
