//! An inference request and its response as values.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::tensor::Tensor;

/// Name of the HTTP header that tells where the JSON ends and the binary tensors begin.
pub const HEADER_LENGTH_HEADER: &str = "inference-header-content-length";
/// Content type of JSON alone.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// Content type of JSON with binary tensors behind it.
pub const CONTENT_TYPE_BINARY: &str = "application/octet-stream";

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

impl InferRequest {
    /// Whether the answer's output at `position` goes out in binary: in the order of `outputs`,
    /// or of the model where the request names none.
    pub fn binary_output(&self, position: usize) -> bool {
        let own = self.outputs.get(position).and_then(|output| output.binary);
        own.unwrap_or(self.binary_data_output)
    }

    /// How many classes of the output at `position` are asked for; 0 asks for the tensor itself.
    pub fn classification(&self, position: usize) -> usize {
        self.outputs.get(position).map_or(0, |output| output.classification)
    }
}

/// One input of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct InferInput {
    /// Shared with the header it was read from: a repeated header is not copied.
    pub name: Arc<str>,
    pub tensor: Tensor,
}

/// One output that a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedOutput {
    pub name: Arc<str>,
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

impl Body {
    /// Value of `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        if self.header_length.is_some() { CONTENT_TYPE_BINARY } else { CONTENT_TYPE_JSON }
    }

    /// Bytes of all parts.
    pub fn byte_size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}
