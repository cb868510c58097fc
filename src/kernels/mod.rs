//! Native 32-bit arithmetic behind the functions of the domain `onnxd`: what a training step
//! spends its time on. Each kernel is a safe function over slices; none knows an engine, a graph
//! or a tensor.
//!
//! What holds for all of them:
//! - Lengths are checked before anything is computed; a kernel returns an error and never panics,
//!   because in ONNX Runtime a panic would end the process.
//! - The threads are the caller's ([`Parallel`]). How the work is split follows from shapes alone,
//!   and so does the order of every sum: results are the same bits with any number of threads.
//! - The processor's features are found at run time ([`dispatch`]); processors differ in the last
//!   bits, runs on one of them do not.
//!
//! Reading order: `error`, `parallel`, `dispatch`, `vector`, `sums`, then the kernels.

pub mod batch_normalization;
pub mod convolution;
pub mod dropout;
pub mod embedding;
pub mod gelu;
pub mod layer_normalization;
pub mod optimizer;
pub mod softmax;

mod dispatch;
mod error;
mod exponential;
mod moments;
mod parallel;
mod sums;
#[cfg(test)]
mod testing;
mod vector;

pub use error::KernelError;
pub use parallel::{Parallel, ScopedThreads, Sequential, for_each_part};
