//! The model file as data: read, understood, changed, built and written; nothing is run here.
//!
//! Reading order: `proto` (the format's messages, complete), `read` and `write` (files; `wire` and
//! `footprint`: what is asked of a file before it is decoded),
//! `element` (element types), `weights` and `external` (tensors inside and beside the file),
//! `graph` (ways through nodes), `facts` (signature, operators, parameters), `types` (the
//! element type of every value), `check` (structural
//! faults, by node), `build` (models made in code) and `samples` (the models that tests and
//! benchmarks run).

pub mod build;
pub mod check;
mod element;
mod error;
pub mod external;
pub mod facts;
mod footprint;
pub mod graph;
pub mod proto;
mod read;
pub mod samples;
pub mod types;
pub mod weights;
mod wire;
mod write;

pub use element::element_type_of;
pub use error::OnnxError;
pub use read::{MAX_MODEL_BYTES, read, read_bytes};
pub use write::write;

#[cfg(test)]
mod tests;
