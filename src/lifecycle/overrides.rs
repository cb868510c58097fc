//! What a load request brings along: a configuration, and files that stand in for the model's
//! folder for as long as a version serves from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use bytes::Bytes;
use tempfile::TempDir;

use super::LoadError;

/// No request brings more files.
const MAX_FILES: usize = 1024;

/// What a load request brings along instead of what lies on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOverrides {
    /// A ModelConfig as JSON text.
    pub config: Option<String>,
    /// `<version>/<file>` and content.
    pub files: Vec<(String, Bytes)>,
}

impl LoadOverrides {
    pub(super) fn is_empty(&self) -> bool {
        self.config.is_none() && self.files.is_empty()
    }

    /// Writes the files to a folder of their own, which nobody else may read; `None` where there
    /// are none. The folder is deleted when it is dropped.
    ///
    /// # Errors
    /// A path leads out of the folder, comes twice or cannot be written.
    pub(super) fn write(&self) -> Result<Option<TempDir>, LoadError> {
        let Some((first, _)) = self.files.first() else { return Ok(None) };
        let failed =
            |file: &str, reason: String| LoadError::OverrideFile { file: file.to_owned(), reason };
        if self.files.len() > MAX_FILES {
            let reason =
                format!("{} files are too many: expected {MAX_FILES} at most", self.files.len());
            return Err(failed(first, reason));
        }
        let folder = tempfile::Builder::new()
            .prefix("onnxd-load-")
            .tempdir()
            .map_err(|error| failed(first, error.to_string()))?;
        let mut written = BTreeSet::new();
        for (file, content) in &self.files {
            check_path(file).map_err(|reason| failed(file, reason))?;
            if !written.insert(file) {
                return Err(failed(file, "comes twice".to_owned()));
            }
            let path = folder.path().join(file);
            let parent = path.parent().expect("a path of two components has a parent");
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, content))
                .map_err(|error| failed(file, error.to_string()))?;
        }
        Ok(Some(folder))
    }
}

/// A version's number, then a path below it that never leads up.
fn check_path(file: &str) -> Result<(), String> {
    let expected = || Err("expected <version>/<file>, such as 1/model.onnx".to_owned());
    let is_below = |path: &str| {
        let mut components = Path::new(path).components().peekable();
        components.peek().is_some() && components.all(|it| matches!(it, Component::Normal(_)))
    };
    match file.split_once('/') {
        Some((version, below)) if is_below(below) && !below.starts_with('/') => {
            let is_canonical = !version.starts_with('0') && !version.starts_with('+');
            if is_canonical && version.parse::<u64>().is_ok() { Ok(()) } else { expected() }
        }
        _ => expected(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(files: &[&str]) -> LoadOverrides {
        let files = files.iter().map(|file| ((*file).to_owned(), Bytes::from_static(b"abc")));
        LoadOverrides { config: None, files: files.collect() }
    }

    #[test]
    fn files_are_written_and_go_with_their_folder() {
        let folder = overrides(&["1/model.onnx", "1/data/weights.bin"]).write().unwrap().unwrap();
        let path = folder.path().join("1/data/weights.bin");
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        drop(folder);
        assert!(!path.exists());
        assert!(overrides(&[]).write().unwrap().is_none());
    }

    #[test]
    fn no_file_leads_out_of_the_folder() {
        let wrong = [
            "",
            "model.onnx",
            "1",
            "1/",
            "1//etc/passwd",
            "/1/model.onnx",
            "../1/model.onnx",
            "1/../../model.onnx",
            "1/..",
            "1/.",
            "0/model.onnx",
            "01/model.onnx",
            "+1/model.onnx",
            "one/model.onnx",
            "99999999999999999999/model.onnx",
        ];
        for file in wrong {
            let error = overrides(&[file]).write().unwrap_err();
            assert!(matches!(error, LoadError::OverrideFile { .. }), "{file:?}: {error}");
        }
    }

    #[test]
    fn a_file_comes_once() {
        let error = overrides(&["1/model.onnx", "1/model.onnx"]).write().unwrap_err();
        assert_eq!(error.to_string(), "file \"1/model.onnx\" of the load request: comes twice");
    }
}
