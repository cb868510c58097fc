//! What lies in a folder, before anything is made of it.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::RepositoryError;

/// Files are counted this deep below a version's folder: a loop of links must end.
const MAX_DEPTH: usize = 8;

pub(super) type Entry = (String, PathBuf, std::io::Result<Metadata>);

/// What lies in a folder, sorted by name, hidden things left out; links are followed.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>, RepositoryError> {
    let failed = |error: std::io::Error| RepositoryError::from_io(path, &error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, entry.path(), fs::metadata(entry.path())));
        }
    }
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(entries)
}

/// Bytes of all files in a folder and below it.
pub(super) fn size_below(path: &Path, depth: usize) -> u64 {
    let Ok(entries) = entries(path) else { return 0 };
    entries
        .iter()
        .map(|(_, entry, metadata)| match metadata {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => size_below(entry, depth + 1),
            _ => 0,
        })
        .sum()
}

/// A version's number, if the folder's name is one: two names never mean the same version.
pub(super) fn version_number(folder_name: &str) -> Option<u64> {
    let number = folder_name.parse().ok()?;
    (number > 0 && !folder_name.starts_with('0')).then_some(number)
}
