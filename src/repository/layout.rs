//! Folders to models and versions.
//!
//! A repository is a folder of models. A model is a folder of numbered versions that each hold
//! `model.onnx`, a folder that holds `model.onnx` itself, or a bare `.onnx` file; the last two
//! are version 1. What is odd about a part of a model is a [`Problem`] beside what can be served,
//! not an error.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::RepositoryError;
use super::folder::{entries, size_below, version_number};
use super::mistaken::{first_model, holds_versions};

/// The model's file where its configuration names no other.
pub const MODEL_FILE: &str = "model.onnx";

/// Where a model is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlace {
    pub name: String,
    /// A folder, or a bare file.
    pub path: PathBuf,
}

/// A model's versions as they lie on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    pub name: String,
    /// At least one, ascending.
    pub versions: Vec<VersionFiles>,
    pub problems: Vec<Problem>,
}

/// One version's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionFiles {
    pub number: u64,
    /// The model's file; what it refers to lies beside it.
    pub file: PathBuf,
    /// The file and, in a folder of its own, all that lies beside it.
    pub bytes: u64,
    /// Of the model's file alone; with `modified`, tells that it was replaced.
    pub file_bytes: u64,
    /// When the model's file was last written.
    pub modified: Option<SystemTime>,
}

/// Something that is passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub reason: String,
}

/// A repository: its models by name, and what in it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    pub models: Vec<ModelPlace>,
    pub problems: Vec<Problem>,
}

/// Whether `name` may name a model: it becomes a segment of a URL and a metric's label.
///
/// # Errors
/// It holds something else than letters, digits, `.`, `_` and `-`, or only dots.
pub fn check_name(name: &str) -> Result<(), RepositoryError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.bytes().all(allowed) && name.bytes().any(|byte| byte != b'.') {
        return Ok(());
    }
    Err(RepositoryError::InvalidName { name: name.to_owned() })
}

/// The place of the model at `path`; without a name it is called as its folder, or as its file
/// without the ending.
///
/// # Errors
/// There is nothing, or the name is not one.
pub fn place_model(name: Option<&str>, path: &Path) -> Result<ModelPlace, RepositoryError> {
    let metadata = metadata(path)?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let name = own_name(path, &metadata)?;
            if check_name(&name).is_err() {
                return Err(RepositoryError::InvalidOwnName { path: path.to_owned(), name });
            }
            name
        }
    };
    check_name(&name)?;
    Ok(ModelPlace { name, path: path.to_owned() })
}

/// The models of a repository, by name. Versions are not looked at.
///
/// # Errors
/// The folder is missing or cannot be read.
pub fn read_repository(path: &Path) -> Result<Repository, RepositoryError> {
    if !metadata(path)?.is_dir() {
        return Err(RepositoryError::NotARepository { path: path.to_owned() });
    }
    if holds_versions(path, MODEL_FILE) {
        return Err(RepositoryError::IsAModel { path: path.to_owned() });
    }
    let mut repository = Repository::default();
    for (file_name, entry, metadata) in entries(path)? {
        let mut problem = |reason: String| {
            repository.problems.push(Problem { path: entry.clone(), reason });
        };
        match metadata {
            Err(error) => problem(error.to_string()),
            Ok(metadata) if metadata.is_dir() => match check_name(&file_name) {
                Ok(()) => repository.models.push(ModelPlace { name: file_name, path: entry }),
                Err(error) => problem(error.to_string()),
            },
            Ok(_) if is_onnx(&entry) => {
                let stem = Path::new(&file_name).with_extension("");
                let expected = stem.join("1").join(MODEL_FILE);
                problem(format!("not in a model's folder: expected {}", expected.display()));
            }
            Ok(_) => {}
        }
    }
    Ok(repository)
}

/// The versions of one model. `file_name` is the model's file in each version's folder,
/// [`MODEL_FILE`] unless the configuration says otherwise; a bare file is taken as it is.
///
/// # Errors
/// There is nothing to serve.
pub fn read_model(place: &ModelPlace, file_name: &str) -> Result<ModelFiles, RepositoryError> {
    let is_plain = Path::new(file_name).components().eq([Component::Normal(file_name.as_ref())]);
    if !is_plain {
        return Err(RepositoryError::InvalidFileName { file_name: file_name.to_owned() });
    }
    let path = &place.path;
    let found = metadata(path)?;
    let name = place.name.clone();
    if !found.is_dir() {
        if !is_onnx(path) {
            let file_name = file_name.to_owned();
            return Err(RepositoryError::NotAModel { path: path.clone(), file_name });
        }
        let version = version_files(1, path.clone(), &found, found.len());
        return Ok(ModelFiles { name, versions: vec![version], problems: Vec::new() });
    }
    let (mut versions, mut problems) = numbered_versions(path, file_name)?;
    let direct = path.join(file_name);
    if let Some(direct_metadata) = fs::metadata(&direct).ok().filter(Metadata::is_file) {
        if versions.is_empty() && problems.is_empty() {
            let bytes = size_below(path, 0);
            versions.push(version_files(1, direct, &direct_metadata, bytes));
        } else {
            let reason = "not served: numbered versions lie beside it".to_owned();
            problems.push(Problem { path: direct, reason });
        }
    }
    if versions.is_empty() {
        if let Some(problem) = problems.into_iter().next() {
            let Problem { path, reason } = problem;
            return Err(RepositoryError::Unreadable { path, reason });
        }
        if let Some(example) = first_model(path, file_name) {
            return Err(RepositoryError::IsARepository { path: path.clone(), example });
        }
        let file_name = file_name.to_owned();
        return Err(RepositoryError::NoVersions { path: path.clone(), file_name });
    }
    versions.sort_by_key(|version| version.number);
    Ok(ModelFiles { name, versions, problems })
}

type Numbered = (Vec<VersionFiles>, Vec<Problem>);

/// The versions in numbered folders. Folders of other names are the model's own business.
fn numbered_versions(path: &Path, file_name: &str) -> Result<Numbered, RepositoryError> {
    let mut versions = Vec::new();
    let mut problems = Vec::new();
    for (folder_name, folder, metadata) in entries(path)? {
        let numeric = folder_name.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric || !metadata.is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        let mut problem = |path: PathBuf, reason: String| problems.push(Problem { path, reason });
        let Some(number) = version_number(&folder_name) else {
            let expected = "not a version: expected a number from 1 without leading zeros";
            problem(folder, expected.to_owned());
            continue;
        };
        let file = folder.join(file_name);
        match fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => {
                let bytes = size_below(&folder, 0);
                versions.push(version_files(number, file, &metadata, bytes));
            }
            Ok(_) => problem(file, "not a file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                problem(folder, format!("version {number} has no {file_name}"));
            }
            Err(error) => problem(file, error.to_string()),
        }
    }
    Ok((versions, problems))
}

fn version_files(number: u64, file: PathBuf, metadata: &Metadata, bytes: u64) -> VersionFiles {
    let (file_bytes, modified) = (metadata.len(), metadata.modified().ok());
    VersionFiles { number, file, bytes, file_bytes, modified }
}

fn metadata(path: &Path) -> Result<Metadata, RepositoryError> {
    fs::metadata(path).map_err(|error| RepositoryError::from_io(path, &error))
}

fn is_onnx(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("onnx"))
}

/// The name of a path that brings none. `.` and `..` are looked up, so that `--model .` works.
fn own_name(path: &Path, metadata: &Metadata) -> Result<String, RepositoryError> {
    let resolved = match path.file_name() {
        Some(_) => path.to_owned(),
        None => fs::canonicalize(path).map_err(|error| RepositoryError::from_io(path, &error))?,
    };
    let name = if metadata.is_dir() { resolved.file_name() } else { resolved.file_stem() };
    Ok(name.unwrap_or_default().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh folder with these files, each of three bytes.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"abc").unwrap();
        }
        folder
    }

    /// Numbers and problems of the model at `path` in a tree of `files`.
    fn check(files: &[&str], path: &str, expected: &[u64], problems: &[&str]) {
        let folder = tree(files);
        let place = place_model(Some("m"), &folder.path().join(path)).unwrap();
        let model = read_model(&place, MODEL_FILE).unwrap();
        let numbers: Vec<u64> = model.versions.iter().map(|version| version.number).collect();
        assert_eq!(numbers, expected, "{files:?}");
        let reasons: Vec<&str> =
            model.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert_eq!(reasons, problems, "{files:?}");
    }

    #[test]
    fn every_form_of_a_model_is_found() {
        check(&["m/1/model.onnx"], "m", &[1], &[]);
        check(&["m/10/model.onnx", "m/9/model.onnx"], "m", &[9, 10], &[]);
        check(&["m/model.onnx", "m/model.toml"], "m", &[1], &[]);
        check(&["net.onnx", "other.onnx"], "net.onnx", &[1], &[]);
        // Other folders and files beside the versions are the model's own business.
        check(&["m/1/model.onnx", "m/data/digits.csv", "m/labels.txt"], "m", &[1], &[]);
    }

    #[test]
    fn what_cannot_be_served_is_a_problem_beside_what_can() {
        let no_file = "version 2 has no model.onnx";
        check(&["m/1/model.onnx", "m/2/model.pb"], "m", &[1], &[no_file]);
        let no_number = "not a version: expected a number from 1 without leading zeros";
        let files = ["m/0/model.onnx", "m/01/model.onnx", "m/1/model.onnx"];
        check(&files, "m", &[1], &[no_number, no_number]);
        check(&["m/99999999999999999999/model.onnx", "m/1/model.onnx"], "m", &[1], &[no_number]);
        let beside = "not served: numbered versions lie beside it";
        check(&["m/1/model.onnx", "m/model.onnx"], "m", &[1], &[beside]);
    }

    #[test]
    fn nothing_to_serve_is_an_error_that_names_the_path() {
        let folder = tree(&["empty/model.toml", "broken/1/weights", "text.txt"]);
        let read = |path: &str| {
            place_model(Some("m"), &folder.path().join(path))
                .and_then(|place| read_model(&place, MODEL_FILE))
                .unwrap_err()
        };
        assert!(matches!(read("missing"), RepositoryError::Missing { .. }));
        assert!(matches!(read("empty"), RepositoryError::NoVersions { .. }));
        assert!(matches!(read("text.txt"), RepositoryError::NotAModel { .. }));
        let broken = read("broken").to_string();
        assert!(broken.ends_with("broken/1: version 1 has no model.onnx"), "{broken}");
    }

    #[test]
    fn the_models_file_may_have_another_name_but_not_another_folder() {
        let folder = tree(&["m/1/net.onnx", "m/2/model.onnx"]);
        let place = place_model(None, &folder.path().join("m")).unwrap();
        let model = read_model(&place, "net.onnx").unwrap();
        assert_eq!(model.versions.len(), 1);
        assert_eq!(model.versions[0].number, 1);
        for wrong in ["", ".", "..", "../2/model.onnx", "/etc/passwd", "a/b.onnx"] {
            let error = read_model(&place, wrong).unwrap_err();
            assert!(matches!(error, RepositoryError::InvalidFileName { .. }), "{wrong:?}");
        }
    }

    #[test]
    fn a_model_is_named_after_its_folder_or_file() {
        let folder = tree(&["digits/1/model.onnx", "net.v2.onnx", "schöner/model.onnx"]);
        let name = |path: &str| place_model(None, &folder.path().join(path)).map(|it| it.name);
        assert_eq!(name("digits"), Ok("digits".to_owned()));
        assert_eq!(name("digits/1/.."), Ok("digits".to_owned()));
        assert_eq!(name("net.v2.onnx"), Ok("net.v2".to_owned()));
        assert!(matches!(name("schöner"), Err(RepositoryError::InvalidOwnName { .. })));
    }

    #[test]
    fn names_are_segments_of_a_url() {
        for good in ["m", "resnet-18", "a.b_C-9", ".hidden"] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\n"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_repository_lists_its_models_and_what_is_none() {
        let files = ["b/1/model.onnx", "a/model.onnx", "a b/model.onnx", "c.onnx", "README.md"];
        let folder = tree(&[&files[..], &[".git/config"]].concat());
        let repository = read_repository(folder.path()).unwrap();
        let names: Vec<&str> = repository.models.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let reasons: Vec<&str> =
            repository.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert_eq!(reasons.len(), 2);
        assert!(reasons[0].starts_with("\"a b\" cannot name a model"), "{reasons:?}");
        assert_eq!(reasons[1], "not in a model's folder: expected c/1/model.onnx");
        let file = folder.path().join("c.onnx");
        assert_eq!(read_repository(&file), Err(RepositoryError::NotARepository { path: file }));
    }

    #[test]
    fn a_versions_size_counts_external_data() {
        let folder = tree(&["m/1/model.onnx", "m/1/weights.bin", "m/1/golden/0"]);
        let place = place_model(None, &folder.path().join("m")).unwrap();
        assert_eq!(read_model(&place, MODEL_FILE).unwrap().versions[0].bytes, 9);
    }
}
