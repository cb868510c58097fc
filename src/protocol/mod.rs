//! Bytes to requests and responses to bytes: the Open Inference Protocol v2 with its binary
//! tensors, and TensorFlow Serving's v1. No sockets, no models: what a decoder must know of the
//! model comes as [`TensorSpec`](crate::tensor::TensorSpec)s.
//!
//! Reading order: `infer` (the values), `terms` (what a decoder goes by), `decode` (a body to a
//! request), `header` (its JSON), `listed` (the tensors in it), `parameters`, `binary` (the tensors
//! behind the JSON, and the raw form), `json` (tokens and numbers), `resolve` (against the model's
//! signature), `classify`, `encode` (a response to a body), `outputs` (and back), `v1` (TensorFlow
//! Serving), `v2` (the protocol's other documents), `error`.

mod binary;
mod classify;
mod decode;
mod encode;
mod error;
mod header;
mod infer;
mod json;
mod listed;
mod outputs;
mod parameters;
mod resolve;
mod terms;
pub mod v1;
pub mod v2;

pub use classify::classify;
pub use decode::{decode_infer, parse_header_length};
pub use encode::{encode_behind, encode_infer};
pub use error::ProtocolError;
pub use header::RequestHeader;
pub use infer::{
    Body, CONTENT_TYPE_BINARY, CONTENT_TYPE_JSON, HEADER_LENGTH_HEADER, InferInput, InferRequest,
    InferResponse, OutputTensor, ParameterValue, RequestedOutput,
};
pub use outputs::decode_outputs;
pub use resolve::{resolve_inputs, resolve_outputs};
pub use terms::{ANY_ROOM, Room, Terms};

/// What a decoder takes at most. The body's length is limited where it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Brackets that may be open at once in a request's JSON; more than 512 are never taken.
    pub max_json_depth: usize,
}

#[cfg(test)]
mod tests;
