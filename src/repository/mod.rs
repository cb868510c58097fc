//! Models on disk: where a model's versions lie and what is said about them beside the file.
//!
//! Nothing here opens a model or changes one. Reading order: `layout` (folders to models and
//! versions) over `folder` (what lies in one) and `mistaken` (one kind for the other), `manifest`
//! (what a version's `manifest.toml` says), `digest` (SHA-256 of a file), `golden` (the samples
//! that a manifest names), `error`.

mod digest;
mod error;
mod folder;
mod golden;
mod layout;
mod manifest;
mod mistaken;

pub use digest::{Digest, digest_file};
pub use error::RepositoryError;
pub use golden::{GoldenFiles, read_golden};
pub use layout::{
    MODEL_FILE, ModelFiles, ModelPlace, Problem, Repository, VersionFiles, check_name, place_model,
    read_model, read_repository,
};
pub use manifest::{Golden, MANIFEST_FILE, Manifest, read_manifest, verify_digests};
