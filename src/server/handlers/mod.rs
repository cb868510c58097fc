//! A handler per group of routes: from a call to a response or a failure.
//!
//! Reading order: `infer` (an inference, from its body to its response), `form` (how the two
//! protocols write it), `health` (liveness, readiness, metrics), `metadata` (server, model,
//! configuration, statistics), `repository` (index, load, unload), `v1` (TensorFlow Serving).

pub mod asked;
mod form;
pub mod health;
pub mod infer;
pub mod metadata;
pub mod repository;
pub mod v1;
