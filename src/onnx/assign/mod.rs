//! New weights into a model as it was: only their elements change.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::OnnxError;
use super::build::attribute;
use super::constants::constant;
use super::element::element_type_name;
use super::graph::sparse_initializers;
use super::proto::{ElementType, GraphProto, ModelProto, NodeProto, TensorProto};
use super::weights::tensor_proto;
use crate::tensor::{DataType, Tensor};

/// The names that [`assign`] takes: of initializers, and of what `Constant` nodes of the graph
/// itself make. In the file's order.
pub fn weight_names(model: &ModelProto) -> Vec<&str> {
    let Some(graph) = &model.graph else { return Vec::new() };
    let stored = graph.initializer.iter().chain(sparse_initializers(graph)).map(TensorProto::name);
    let made = graph.node.iter().filter(|node| matches!(constant(node), Ok(Some(_))));
    stored.chain(made.map(|node| node.output[0].as_str())).collect()
}

/// Gives weights new elements. Halves are rounded from 32-bit floats; otherwise types are those of
/// the file. Elements that were in another file, or sparse, are in the model and dense then.
///
/// # Errors
/// The model has no weight of a name, or one of another type or shape; it is unchanged then.
pub fn assign(model: &mut ModelProto, weights: &HashMap<String, Tensor>) -> Result<(), OnnxError> {
    let names: HashSet<&str> = weight_names(model).into_iter().collect();
    let mut unknown: Vec<&String> =
        weights.keys().filter(|name| !names.contains(name.as_str())).collect();
    unknown.sort_unstable();
    if let Some(name) = unknown.first() {
        return Err(OnnxError::WeightUnknown { name: (*name).clone() });
    }
    let Some(graph) = &mut model.graph else { return Ok(()) };
    // First all are looked at, then all are changed.
    let stored = stored_as(graph, weights)?;
    for proto in &mut graph.initializer {
        if let Some(tensor) = stored.get(proto.name()) {
            replace(proto, tensor);
        }
    }
    graph.sparse_initializer.retain(|sparse| {
        let name = sparse.values.as_ref().map_or("", |values| values.name());
        stored.get(name).is_none_or(|tensor| {
            graph.initializer.push(tensor_proto(name, tensor));
            false
        })
    });
    for node in &mut graph.node {
        let name = node.output.first().map_or("", String::as_str);
        if let (Some(tensor), Ok(Some(_))) = (stored.get(name), constant(node)) {
            replace_constant(node, tensor);
        }
    }
    Ok(())
}

/// The weights in the types that the model has for them.
fn stored_as(
    graph: &GraphProto,
    weights: &HashMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>, OnnxError> {
    let mut stored = HashMap::new();
    let mut look = |name: &str, element_type: i32, dims: &[i64]| {
        if let Some(tensor) = weights.get(name) {
            stored.insert(name.to_owned(), fitted(name, tensor, element_type, dims)?);
        }
        Ok(())
    };
    for proto in &graph.initializer {
        look(proto.name(), proto.data_type(), &proto.dims)?;
    }
    for sparse in &graph.sparse_initializer {
        if let Some(values) = &sparse.values {
            look(values.name(), values.data_type(), &sparse.dims)?;
        }
    }
    for node in &graph.node {
        if let Ok(Some(proto)) = constant(node) {
            look(proto.name(), proto.data_type(), &proto.dims)?;
        }
    }
    Ok(stored)
}

fn fitted(
    name: &str,
    tensor: &Tensor,
    element_type: i32,
    dims: &[i64],
) -> Result<Tensor, OnnxError> {
    let refused = |reason: String| Err(OnnxError::TensorInvalid { name: name.to_owned(), reason });
    let same_shape = tensor.shape().len() == dims.len()
        && tensor.shape().iter().zip(dims).all(|(&size, &own)| i64::try_from(size) == Ok(own));
    if !same_shape {
        return refused(format!("the new one has shape {:?}, not {dims:?}", tensor.shape()));
    }
    let own = ElementType::try_from(element_type).ok().and_then(ElementType::data_type);
    match (own, tensor.to_f32()) {
        (Some(own), _) if own == tensor.data_type() => Ok(tensor.clone()),
        (Some(half @ (DataType::Float16 | DataType::BFloat16)), Some(values)) => {
            let bytes: Bytes = match half {
                DataType::Float16 => {
                    values.iter().flat_map(|&it| half::f16::from_f32(it).to_le_bytes()).collect()
                }
                _ => values.iter().flat_map(|&it| half::bf16::from_f32(it).to_le_bytes()).collect(),
            };
            let shape = tensor.shape().iter().copied().collect();
            Ok(Tensor::numbers(half, shape, bytes).expect("two bytes were made for each value"))
        }
        _ => {
            let own = element_type_name(element_type);
            refused(format!("the new one is {}, not {own}", tensor.data_type()))
        }
    }
}

/// The elements are replaced, and where they were; what else is said of the tensor stays.
fn replace(proto: &mut TensorProto, tensor: &Tensor) {
    *proto = TensorProto {
        name: proto.name.take(),
        doc_string: proto.doc_string.take(),
        metadata_props: std::mem::take(&mut proto.metadata_props),
        ..tensor_proto("", tensor)
    };
}

/// In the form that the node has; a sparse value becomes a dense one.
fn replace_constant(node: &mut NodeProto, tensor: &Tensor) {
    let floats = || tensor.to_f32().expect("the type was looked at before");
    let integers = || -> Vec<i64> {
        let bytes = tensor.bytes().expect("the type was looked at before").chunks_exact(8);
        bytes.map(|chunk| i64::from_le_bytes(chunk.try_into().expect("eight bytes"))).collect()
    };
    for value in &mut node.attribute {
        match value.name() {
            "value" => {
                if let Some(proto) = value.t.as_deref_mut() {
                    replace(proto, tensor);
                }
            }
            "value_float" => value.f = floats().first().copied(),
            "value_floats" => value.floats = floats(),
            "value_int" => value.i = integers().first().copied(),
            "value_ints" => value.ints = integers(),
            "sparse_value" => *value = attribute("value", tensor.clone().into()),
            // Strings are not trained.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
