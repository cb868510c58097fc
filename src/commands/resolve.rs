//! From what is typed to a model's file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::misplaced;
use crate::config::{model_settings, standard_model_settings};
use crate::repository::{MODEL_FILE, place_model, read_model};

/// A model's file, and what the model is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub file: PathBuf,
    pub name: String,
}

/// The file itself, or that of the highest version in a model's folder.
///
/// # Errors
/// There is no model.
pub fn find_model(path: &Path) -> Result<Found> {
    let place = place_model(None, path).map_err(|error| misplaced("--model", &error))?;
    let settings = model_settings(path, &standard_model_settings())?;
    let files = read_model(&place, settings.model_file.as_deref().unwrap_or(MODEL_FILE))?;
    let newest = files.versions.last().context("a model that was read has a version")?;
    Ok(Found { file: newest.file.clone(), name: place.name })
}
