//! The model file as data: read, understood, changed, built and written; nothing is run here.
//!
//! Reading order: `proto` (the format's messages, complete), `read` and `write` (files; `wire` and
//! `footprint`: what is asked of a file before it is decoded), `element` (element types),
//! `weights` and `external` (tensors inside and beside the file), `graph` (ways through nodes),
//! `facts` (signature, operators, parameters), `types` (the element type of every value), `check`
//! (structural faults, by node), `inline`, `branches`, `upgrade` and `normalize` (any exporter's
//! graph in one form; `names`, `constants` and `ranks` are what they need), `unshare` (equal
//! weights apart), `prune` (what is known or unused leaves), `assign` (new weights into the file
//! as it was), `build` (models made in code), `starters` (initialised models to train) and
//! `samples` (the models that tests and benchmarks run).

pub mod assign;
pub mod branches;
pub mod build;
pub mod check;
mod constants;
mod element;
mod error;
pub mod external;
pub mod facts;
mod footprint;
pub mod graph;
pub mod inline;
mod names;
pub mod normalize;
pub mod proto;
pub mod prune;
mod ranks;
mod read;
pub mod samples;
pub mod starters;
pub mod types;
mod unshare;
pub mod upgrade;
pub mod weights;
mod wire;
mod write;

pub use assign::assign;
pub use element::element_type_of;
pub use error::OnnxError;
pub use normalize::normalize;
pub use read::{MAX_MODEL_BYTES, read, read_bytes};
pub use unshare::unshare;
pub use write::{encode, write};

#[cfg(test)]
mod tests;
