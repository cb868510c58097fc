//! What can be wrong with a model's place on disk.

use std::path::PathBuf;

/// Why a model or repository cannot be read from disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    #[error("{}: no such file or folder", path.display())]
    Missing { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: not a model: expected an .onnx file, or a folder of versions that each hold \
             {file_name}", path.display())]
    NotAModel { path: PathBuf, file_name: String },
    #[error("{}: not a repository: expected a folder of models", path.display())]
    NotARepository { path: PathBuf },
    #[error("{}: no version to serve: expected {file_name} in a folder such as {}",
            path.display(), path.join("1").display())]
    NoVersions { path: PathBuf, file_name: String },
    #[error("{name:?} cannot name a model: expected letters, digits, '.', '_' and '-'")]
    InvalidName { name: String },
    #[error("{}: {name:?} cannot name a model: expected letters, digits, '.', '_' and '-'; another \
             name may be given: NAME={}", path.display(), path.display())]
    InvalidOwnName { path: PathBuf, name: String },
    #[error("{}: a model with numbered versions, not a repository of models: name it as a model \
             (--model), or the folder that it lies in as a repository", path.display())]
    IsAModel { path: PathBuf },
    #[error("{}: a repository, not a model: name one of its models, such as {}, or serve all with \
             --repository", path.display(), example.display())]
    IsARepository { path: PathBuf, example: PathBuf },
    #[error("{file_name:?} cannot name a model's file: expected a name without folders")]
    InvalidFileName { file_name: String },
    #[error("{}: {reason}", path.display())]
    ManifestInvalid { path: PathBuf, reason: String },
    #[error("{}: the content does not match its manifest: expected sha256:{expected}, \
             got sha256:{actual}", path.display())]
    DigestMismatch { path: PathBuf, expected: String, actual: String },
}

impl RepositoryError {
    /// The error that the operating system's answer about `path` means.
    pub(super) fn from_io(path: &std::path::Path, error: &std::io::Error) -> RepositoryError {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => RepositoryError::Missing { path },
            _ => RepositoryError::Unreadable { path, reason: error.to_string() },
        }
    }
}
