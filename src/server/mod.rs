//! HTTP: hyper, and only here.
//!
//! Reading order: `settings`, `listener` (sockets, permits), `connection` (which thread serves
//! it), `router` (a match on path segments), a handler per group, `respond` (error to status, the
//! one place), `compression`, `openapi`.

mod settings;

pub use settings::{ListenAddress, ServerSettings};
