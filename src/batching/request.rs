//! What is queued, and what comes back.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::engine::EngineError;
use crate::tensor::Tensor;

/// One request to one model version, names already resolved to places in the signature.
#[derive(Debug)]
pub struct Request {
    /// One entry per input of the signature; `None` leaves an optional input to its default.
    pub inputs: Vec<Option<Tensor>>,
    /// Indices into the signature's outputs, in the order wanted.
    pub outputs: SmallVec<[usize; 4]>,
    /// 1 is the most urgent; 0 takes the model's default.
    pub priority: u32,
    /// When the client no longer wants the answer; `None` takes the model's default timeout.
    pub deadline: Option<Instant>,
    /// When the request arrived: the beginning of its time in the queue.
    pub arrived: Instant,
}

/// The answer, its tensors slices of the batch's own memory.
#[derive(Debug)]
pub struct Reply {
    /// In the order the request named them.
    pub outputs: Vec<Tensor>,
    pub timing: Timing,
}

/// How long the stages of one request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From arrival until a batch took the request.
    pub queue: Duration,
    /// Joining the batch's inputs.
    pub assembly: Duration,
    /// The engine's run.
    pub inference: Duration,
    /// Splitting the batch's outputs.
    pub split: Duration,
    /// Rows in the batch that the request ran in.
    pub batch_size: usize,
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the queue of the model is full ({limit} requests wait)")]
    QueueFull { limit: usize },
    #[error("the request's deadline passed before it was answered")]
    Expired,
    #[error("this version of the model takes no more requests")]
    Closed,
    #[error("input {input:?} has {actual} rows on its batch axis, input {first:?} has {expected}")]
    RowsDisagree { input: String, actual: usize, first: String, expected: usize },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the model's instance failed and was rebuilt; the request was lost")]
    InstanceFailed,
}
