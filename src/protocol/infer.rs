//! An inference request and its response as values.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::tensor::Tensor;

/// Value of a request's, input's or output's `parameters` entry.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
}

/// A decoded request. Binary tensors are slices of the body: nothing is copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Echoed in the response.
    pub id: Option<String>,
    /// Those with a meaning of their own (`timeout`, `priority`, `binary_data_output`) are fields
    /// below as well.
    pub parameters: Vec<(String, ParameterValue)>,
    /// Microseconds that the client will wait; from `parameters.timeout`.
    pub timeout_us: Option<u64>,
    /// 1 is the most urgent, 0 the model's default; from `parameters.priority`.
    pub priority: u32,
    pub inputs: Vec<InferInput>,
    /// Empty: all outputs.
    pub outputs: SmallVec<[RequestedOutput; 2]>,
    /// All outputs in binary, unless one says otherwise itself.
    pub binary_data_output: bool,
}

/// One input of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct InferInput {
    pub name: String,
    pub tensor: Tensor,
}

/// One output that a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedOutput {
    pub name: String,
    /// `None`: as the request's `binary_data_output` says.
    pub binary: Option<bool>,
    /// The classification extension: the N highest values as strings; 0 is off.
    pub classification: usize,
}

/// One output of a response.
#[derive(Clone, Debug)]
pub struct OutputTensor<'a> {
    pub name: &'a str,
    pub tensor: Tensor,
    pub binary: bool,
}

/// A response to encode.
#[derive(Clone, Debug)]
pub struct InferResponse<'a> {
    pub model_name: &'a str,
    pub model_version: u64,
    pub id: Option<&'a str>,
    pub outputs: SmallVec<[OutputTensor<'a>; 2]>,
}

/// An encoded response body. The parts go to the socket one after the other; large tensors are
/// parts of their own, still in the batch's memory.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub parts: SmallVec<[Bytes; 2]>,
    /// Value of `Inference-Header-Content-Length`; `None` where the body is plain JSON.
    pub header_length: Option<usize>,
}
