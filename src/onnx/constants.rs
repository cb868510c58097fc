//! Constants in every form that the format has for them, as one: a dense tensor under a name.

use bytes::Bytes;

use super::OnnxError;
use super::graph::canonical_domain;
use super::proto::{AttributeProto, NodeProto, SparseTensorProto, TensorProto};
use super::read::MAX_MODEL_BYTES;
use super::weights::{elements, invalid, stored_bytes, tensor, tensor_proto};
use crate::tensor::{AlignedBuffer, DataType, Shape, Tensor};

/// The tensor that a `Constant` node makes, under the name of its output; `None` where the node is
/// of another operator.
///
/// # Errors
/// The node has no value, or its sparse tensor is impossible.
pub(super) fn constant(node: &NodeProto) -> Result<Option<TensorProto>, OnnxError> {
    if node.op_type() != "Constant" || !canonical_domain(node.domain()).is_empty() {
        return Ok(None);
    }
    let name = node.output.first().map_or("", String::as_str);
    for attribute in &node.attribute {
        if let Some(mut proto) = value(name, attribute)? {
            proto.name = Some(name.to_owned());
            return Ok(Some(proto));
        }
    }
    Err(OnnxError::node(node, "a constant without a value"))
}

fn value(name: &str, attribute: &AttributeProto) -> Result<Option<TensorProto>, OnnxError> {
    let tensor = match attribute.name() {
        "value" => return Ok(attribute.t.as_deref().cloned()),
        "sparse_value" => {
            return attribute
                .sparse_tensor
                .as_deref()
                .map(|sparse| dense(name, sparse))
                .transpose();
        }
        "value_float" => floats(&[], &[attribute.f()]),
        "value_floats" => floats(&[attribute.floats.len()], &attribute.floats),
        "value_int" => integers(&[], &[attribute.i()]),
        "value_ints" => integers(&[attribute.ints.len()], &attribute.ints),
        "value_string" => strings(&[], vec![attribute.s.clone().unwrap_or_default()]),
        "value_strings" => strings(&[attribute.strings.len()], attribute.strings.clone()),
        _ => return Ok(None),
    };
    Ok(Some(tensor_proto(name, &tensor)))
}

pub(super) fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).expect("the shape was made for the values")
}

pub(super) fn integers(shape: &[usize], values: &[i64]) -> Tensor {
    let mut buffer = AlignedBuffer::zeroed(values.len() * 8);
    for (bytes, value) in buffer.as_mut_slice().chunks_exact_mut(8).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    Tensor::numbers(DataType::Int64, Shape::from_slice(shape), buffer.into_bytes())
        .expect("the shape was made for the values")
}

fn strings(shape: &[usize], values: Vec<Bytes>) -> Tensor {
    Tensor::strings(Shape::from_slice(shape), values).expect("the shape was made for the values")
}

/// A sparse tensor with its zeros written out.
///
/// # Errors
/// Places and values do not fit each other or the shape, or it would be larger than a model can be.
pub(super) fn dense(name: &str, sparse: &SparseTensorProto) -> Result<TensorProto, OnnxError> {
    let mut whole = TensorProto {
        name: Some(name.to_owned()),
        dims: sparse.dims.clone(),
        data_type: sparse.values.as_ref().map(TensorProto::data_type),
        ..TensorProto::default()
    };
    let size = stored_bytes(&whole)?;
    if size > MAX_MODEL_BYTES {
        let reason = format!(
            "{size} bytes with its zeros, more than the {MAX_MODEL_BYTES} that a \
                              model can have"
        );
        return Err(invalid(&whole, reason));
    }
    let missing = || invalid(&whole, "a sparse tensor without its values or their places");
    let values = tensor(sparse.values.as_ref().ok_or_else(missing)?)?;
    let places = places(&whole, &tensor(sparse.indices.as_ref().ok_or_else(missing)?)?)?;
    let (Some(width), Some(bytes)) = (values.data_type().size(), values.bytes()) else {
        return Err(invalid(&whole, "a sparse tensor of strings"));
    };
    if places.len() != values.element_count() {
        let (places, values) = (places.len(), values.element_count());
        return Err(invalid(&whole, format!("{values} values, and places for {places}")));
    }
    let length = usize::try_from(size).expect("2 GiB fit in memory's range");
    let mut buffer = AlignedBuffer::zeroed(length);
    for (place, value) in places.into_iter().zip(bytes.chunks_exact(width)) {
        buffer.as_mut_slice()[place * width..][..width].copy_from_slice(value);
    }
    whole.raw_data = Some(buffer.into_bytes());
    Ok(whole)
}

/// Where the values of a sparse tensor are, counted in elements: from a list of such numbers, or
/// from one of an index for every axis.
fn places(whole: &TensorProto, indices: &Tensor) -> Result<Vec<usize>, OnnxError> {
    let rank = whole.dims.len();
    let (DataType::Int64, Some(bytes)) = (indices.data_type(), indices.bytes()) else {
        let reason = format!("its places are {}, not INT64", indices.data_type());
        return Err(invalid(whole, reason));
    };
    let numbers: Vec<i64> = bytes
        .chunks_exact(8)
        .map(|chunk| i64::from_le_bytes(chunk.try_into().expect("eight bytes")))
        .collect();
    let (width, sizes): (usize, Vec<i64>) = match *indices.shape() {
        [_] => (1, vec![i64::try_from(elements(whole)?).unwrap_or(i64::MAX)]),
        [_, width] if width == rank && rank > 0 => (rank, whole.dims.clone()),
        _ => {
            let shape = indices.shape();
            return Err(invalid(whole, format!("its places are of shape {shape:?}")));
        }
    };
    let place = |index: &[i64]| {
        let mut place = 0;
        for (&index, &size) in index.iter().zip(&sizes) {
            if !(0..size).contains(&index) {
                let reason = format!("a value at {index}, along an axis of {size}");
                return Err(invalid(whole, reason));
            }
            place = place * size + index;
        }
        Ok(usize::try_from(place).expect("within a tensor in memory"))
    };
    numbers.chunks_exact(width).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::Node;

    fn sparse(indices: &Tensor, dims: &[i64]) -> SparseTensorProto {
        let values = Tensor::from_f32(&[2], &[5.0, 7.0]).expect("two values");
        SparseTensorProto {
            values: Some(tensor_proto("w", &values)),
            indices: Some(tensor_proto("", indices)),
            dims: dims.to_vec(),
        }
    }

    #[test]
    fn sparse_values_are_put_in_their_places() {
        let flat = integers(&[2], &[1, 5]);
        let by_axis = integers(&[2, 2], &[0, 1, 1, 2]);
        for indices in [flat, by_axis] {
            let whole = dense("w", &sparse(&indices, &[2, 3])).expect("they fit");
            let whole = tensor(&whole).expect("numbers");
            assert_eq!(whole.shape(), [2, 3]);
            assert_eq!(whole.to_f32(), Some(vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0]));
        }
    }

    #[test]
    fn impossible_sparse_tensors_are_refused_by_name() {
        let check = |indices: &Tensor, dims: &[i64], expected: &str| {
            let error = dense("w", &sparse(indices, dims)).expect_err(expected).to_string();
            assert_eq!(error, format!("tensor \"w\": {expected}"));
        };
        check(&integers(&[2], &[1, 6]), &[2, 3], "a value at 6, along an axis of 6");
        check(&integers(&[2], &[-1, 0]), &[2, 3], "a value at -1, along an axis of 6");
        check(&integers(&[1], &[1]), &[2, 3], "2 values, and places for 1");
        check(&integers(&[1, 3], &[1, 1, 1]), &[2, 3], "its places are of shape [1, 3]");
        check(&floats(&[2], &[0.0, 1.0]), &[2, 3], "its places are FP32, not INT64");
        let dims = [1 << 20, 1 << 20];
        let reason = "4398046511104 bytes with its zeros, more than the 2147483647 that a model \
                      can have";
        check(&integers(&[2], &[0, 1]), &dims, reason);
    }

    #[test]
    fn every_form_of_a_constant_is_a_tensor() {
        let of = |node: Node| {
            let proto = constant(&node.output("c").into_proto()).expect("sound").expect("constant");
            assert_eq!(proto.name(), "c");
            tensor(&proto).expect("its elements fit")
        };
        let node = || Node::new("Constant", &[]);
        assert_eq!(of(node().attribute("value_float", 0.5f32)), floats(&[], &[0.5]));
        assert_eq!(of(node().attribute("value_ints", [3, -4])), integers(&[2], &[3, -4]));
        assert_eq!(of(node().attribute("value", floats(&[1], &[2.0]))), floats(&[1], &[2.0]));
        let text = of(node().attribute("value_strings", vec!["a".to_owned()]));
        assert_eq!(text, strings(&[1], vec![Bytes::from_static(b"a")]));
        let relu = Node::new("Relu", &["x"]).into_proto();
        assert_eq!(constant(&relu), Ok(None));
        let error = constant(&node().name("k").into_proto()).expect_err("empty").to_string();
        assert_eq!(error, "node \"k\" (Constant): a constant without a value");
    }
}
