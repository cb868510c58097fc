//! Constants in the form that tract reads right: raw bytes.
//!
//! tract reads unsigned integers of 32 and 64 bits from fields that ONNX does not use for them,
//! and would make signed ones of them.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};

/// Rewrites every constant of a graph and its subgraphs.
///
/// # Errors
/// The name of a constant that tract cannot have, and why.
pub(super) fn normalise(graph: &mut GraphProto) -> Result<(), (String, String)> {
    for tensor in &mut graph.initializer {
        normalise_tensor(tensor)?;
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            if let Some(tensor) = &mut attribute.t {
                if tensor.name.is_empty() {
                    // Only for messages; the value has the node's output's name.
                    tensor.name = node.output.first().cloned().unwrap_or_default();
                }
                normalise_tensor(tensor)?;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                normalise(graph)?;
            }
        }
    }
    Ok(())
}

/// Rewrites one constant.
///
/// # Errors
/// As `normalise`.
pub(super) fn normalise_tensor(tensor: &mut TensorProto) -> Result<(), (String, String)> {
    let refused = |reason: &str| Err((tensor.name.clone(), reason.to_owned()));
    let data_type = match DataType::try_from(tensor.data_type) {
        Ok(data_type) => data_type,
        Err(_) => return refused(&format!("it has the unknown type {}", tensor.data_type)),
    };
    if tensor.segment.is_some() {
        return refused("it is stored in segments");
    }
    let external = tensor.data_location == Some(1);
    if external || !tensor.raw_data.is_empty() || data_type == DataType::String {
        return Ok(());
    }
    let raw = match raw_bytes(tensor, data_type) {
        Some(raw) => raw,
        None => return refused(&format!("it has the type {data_type:?}, which tract lacks")),
    };
    if raw.is_empty() && matches!(data_type, DataType::Uint32 | DataType::Uint64) {
        return refused("it is empty, and tract would give it another type");
    }
    *tensor = TensorProto {
        dims: std::mem::take(&mut tensor.dims),
        data_type: tensor.data_type,
        name: std::mem::take(&mut tensor.name),
        raw_data: raw,
        ..TensorProto::default()
    };
    Ok(())
}

/// The elements of a tensor in the typed fields, little-endian.
fn raw_bytes(tensor: &TensorProto, data_type: DataType) -> Option<Vec<u8>> {
    let integers = &tensor.int32_data;
    Some(match data_type {
        DataType::Float => bytes_of(&tensor.float_data, |value| value.to_le_bytes()),
        DataType::Double => bytes_of(&tensor.double_data, |value| value.to_le_bytes()),
        DataType::Int64 => bytes_of(&tensor.int64_data, |value| value.to_le_bytes()),
        DataType::Uint64 => bytes_of(&tensor.uint64_data, |value| value.to_le_bytes()),
        DataType::Uint32 => bytes_of(&tensor.uint64_data, |value| (value as u32).to_le_bytes()),
        DataType::Int32 => bytes_of(integers, |value| value.to_le_bytes()),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => {
            bytes_of(integers, |value| (value as u16).to_le_bytes())
        }
        DataType::Int8 | DataType::Uint8 => bytes_of(integers, |value| [value as u8]),
        DataType::Bool => bytes_of(integers, |value| [u8::from(value != 0)]),
        _ => return None,
    })
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}
