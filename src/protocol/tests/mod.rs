//! The promises of the decoders and encoders, as tables.

mod binary;
mod decode;
mod encode;
mod outputs;
mod resolve;
mod room;
mod round_trip;
mod tritonclient;
mod v1;

use bytes::Bytes;

use super::{ANY_ROOM, InferRequest, Limits, ProtocolError, Terms, decode_infer};
use crate::tensor::{DataType, Dimension, TensorSpec};

const LIMITS: Limits = Limits { max_json_depth: 64 };

/// A model with these inputs, and no end of room.
fn terms(inputs: &[TensorSpec]) -> Terms<'_> {
    Terms { inputs, limits: &LIMITS, room: ANY_ROOM }
}

/// Inputs that take strings.
fn strings() -> [TensorSpec; 3] {
    ["x", "b", "c"].map(|name| spec(name, DataType::String, &[-1]))
}

fn decode(json: &str) -> Result<InferRequest, ProtocolError> {
    decode_infer(Bytes::copy_from_slice(json.as_bytes()), None, &terms(&strings()))
}

fn decode_binary(json: &str, tail: &[u8]) -> Result<InferRequest, ProtocolError> {
    let body = [json.as_bytes(), tail].concat();
    decode_infer(body.into(), Some(json.len()), &terms(&strings()))
}

/// The request with this one input.
fn input(members: &str) -> String {
    format!("{{\"inputs\":[{{{members}}}]}}")
}

/// A spec; -1 is an open axis.
fn spec(name: &str, data_type: DataType, shape: &[i64]) -> TensorSpec {
    let dimension =
        |&size: &i64| usize::try_from(size).map_or(Dimension::Unknown, Dimension::Fixed);
    let shape = Some(shape.iter().map(dimension).collect());
    TensorSpec { name: name.to_owned(), data_type, shape, optional: false }
}
