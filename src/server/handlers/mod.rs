//! A handler per group of routes: from a call to a response or a failure.
//!
//! Reading order: `health` (liveness, readiness, metrics), `infer`, `metadata` (server, model,
//! configuration, statistics), `repository` (index, load, unload), `v1` (TensorFlow Serving).

pub mod health;
pub mod infer;
pub mod metadata;
pub mod repository;
pub mod v1;
