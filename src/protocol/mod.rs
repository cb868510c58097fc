//! Bytes to requests and responses to bytes: the Open Inference Protocol v2 with its binary
//! tensors, and TensorFlow Serving's v1. No sockets, no models: what a decoder must know of the
//! model comes as [`TensorSpec`](crate::tensor::TensorSpec)s.
//!
//! Reading order: `infer` (the values), `json` (the request's JSON and its numbers), `binary`
//! (the tensor extension and the raw form), `respond` side in the same two, `v1`, `error`.

mod error;
mod infer;

pub use error::ProtocolError;
pub use infer::{
    Body, InferInput, InferRequest, InferResponse, OutputTensor, ParameterValue, RequestedOutput,
};
