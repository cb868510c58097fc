//! `manifest.toml`: what whoever published a version says about it. Keys that this release does
//! not know are kept, so that an older daemon can carry a newer manifest.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::{RepositoryError, digest_file};

/// Name of the file, beside the model's own.
pub const MANIFEST_FILE: &str = "manifest.toml";

/// No manifest is longer: what is larger is another file by mistake.
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Engines and devices differ in the last of a 32-bit float's seven digits at each of some hundred
/// steps.
const DEFAULT_RELATIVE_TOLERANCE: f64 = 1e-4;
/// Values near zero are differences of larger ones.
const DEFAULT_ABSOLUTE_TOLERANCE: f64 = 1e-6;

fn default_relative_tolerance() -> f64 {
    DEFAULT_RELATIVE_TOLERANCE
}

fn default_absolute_tolerance() -> f64 {
    DEFAULT_ABSOLUTE_TOLERANCE
}

/// A version's manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version that this one was trained from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// SHA-256 of the data that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_digest: Option<String>,
    /// SHA-256 by file, paths relative to the version's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
    /// What the run was asked for.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub settings: toml::Table,
    /// What the run measured, such as `accuracy`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metrics: toml::Table,
    /// Inputs and the outputs that they must give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<Golden>,
    /// What this release does not know.
    #[serde(flatten)]
    pub other: toml::Table,
}

/// A golden sample: two files beside the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// Path relative to the version's folder; so is that of the outputs.
    pub inputs: String,
    pub outputs: String,
    /// How far an output may be from what the file says, as a share of that.
    #[serde(default = "default_relative_tolerance")]
    pub relative_tolerance: f64,
    /// And how far besides, whatever the file says.
    #[serde(default = "default_absolute_tolerance")]
    pub absolute_tolerance: f64,
    #[serde(flatten)]
    pub other: toml::Table,
}

/// The manifest in a version's folder, or `None` where there is none.
///
/// # Errors
/// It cannot be read or is not a manifest.
pub fn read_manifest(version_folder: &Path) -> Result<Option<Manifest>, RepositoryError> {
    let path = version_folder.join(MANIFEST_FILE);
    let size = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RepositoryError::from_io(&path, &error)),
    };
    if size > MAX_MANIFEST_BYTES {
        let reason = format!("{size} bytes are no manifest: expected {MAX_MANIFEST_BYTES} at most");
        return Err(RepositoryError::ManifestInvalid { path, reason });
    }
    let text =
        std::fs::read_to_string(&path).map_err(|error| RepositoryError::from_io(&path, &error))?;
    match toml::from_str(&text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) => {
            let reason = error.to_string().trim_end().to_owned();
            Err(RepositoryError::ManifestInvalid { path, reason })
        }
    }
}

/// Compares every file that the manifest has a digest of with what lies on disk.
///
/// # Errors
/// A file is missing or differs, or the manifest names one outside of the version's folder.
pub fn verify_digests(version_folder: &Path, manifest: &Manifest) -> Result<(), RepositoryError> {
    let invalid = |reason: String| RepositoryError::ManifestInvalid {
        path: version_folder.join(MANIFEST_FILE),
        reason,
    };
    for (file, digest) in &manifest.digests {
        if !is_inside(file) {
            return Err(invalid(format!("digests.{file:?}: expected a path inside the folder")));
        }
        let expected =
            digest.parse().map_err(|error| invalid(format!("digests.{file:?}: {error}")))?;
        let path = version_folder.join(file);
        let actual = digest_file(&path)?;
        if actual != expected {
            return Err(RepositoryError::DigestMismatch {
                path,
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether a path that a manifest names stays in the version's folder.
pub(super) fn is_inside(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    !file.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Digest;

    #[test]
    fn unknown_keys_are_kept() {
        let text = "parent = 3\nflavour = \"new\"\n\n[digests]\n\"model.onnx\" = \"00\"\n\n\
                    [[golden]]\ninputs = \"in\"\noutputs = \"out\"\nabsolute_tolerance = 1\nrow = 0.5\n";
        let manifest: Manifest = toml::from_str(text).unwrap();
        assert_eq!(manifest.parent, Some(3));
        assert_eq!(manifest.other["flavour"].as_str(), Some("new"));
        assert_eq!(manifest.golden[0].absolute_tolerance, 1.0);
        assert_eq!(manifest.golden[0].relative_tolerance, DEFAULT_RELATIVE_TOLERANCE);
        assert_eq!(manifest.golden[0].other["row"].as_float(), Some(0.5));
        let again: Manifest = toml::from_str(&toml::to_string(&manifest).unwrap()).unwrap();
        assert_eq!(again, manifest);
    }

    #[test]
    fn a_folder_without_manifest_has_none_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_manifest(folder.path()), Ok(None));
        let path = folder.path().join(MANIFEST_FILE);
        std::fs::write(&path, "parent = \"three\"").unwrap();
        let error = read_manifest(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains("parent"), "{error}");
    }

    #[test]
    fn digests_are_compared_with_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), b"abc").unwrap();
        let with = |file: &str, digest: String| Manifest {
            digests: BTreeMap::from([(file.to_owned(), digest)]),
            ..Manifest::default()
        };
        let good = with("model.onnx", format!("sha256:{}", Digest::of(b"abc")));
        assert_eq!(verify_digests(folder.path(), &good), Ok(()));

        let changed = with("model.onnx", Digest::of(b"abd").to_string());
        let error = verify_digests(folder.path(), &changed).unwrap_err();
        assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
        let missing = with("weights.bin", Digest::of(b"").to_string());
        let error = verify_digests(folder.path(), &missing).unwrap_err();
        assert!(matches!(error, RepositoryError::Missing { .. }), "{error}");
        for outside in ["../model.onnx", "/etc/passwd", ""] {
            let error = verify_digests(folder.path(), &with(outside, String::new())).unwrap_err();
            assert!(matches!(error, RepositoryError::ManifestInvalid { .. }), "{error}");
        }
    }
}
