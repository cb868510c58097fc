//! A model's folder where a repository was meant, and the other way round: both are folders of
//! folders, and what is served of the wrong one has the wrong name, or nothing is.

use std::path::{Path, PathBuf};

use super::folder::{entries, version_number};

/// Whether a folder holds versions, and so is a model.
pub(super) fn holds_versions(path: &Path, file_name: &str) -> bool {
    let is_version = |name: &str, folder: &Path| {
        version_number(name).is_some() && folder.join(file_name).is_file()
    };
    entries(path)
        .is_ok_and(|entries| entries.iter().any(|(name, folder, _)| is_version(name, folder)))
}

/// A model in a folder that has none of its own versions, and so is a repository.
pub(super) fn first_model(path: &Path, file_name: &str) -> Option<PathBuf> {
    let folders = entries(path).ok()?.into_iter().map(|(_, folder, _)| folder);
    folders.into_iter().find(|folder| holds_versions(folder, file_name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::repository::{MODEL_FILE, place_model, read_model, read_repository};

    #[test]
    fn a_model_and_a_repository_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("models");
        let model = repository.join("digits");
        fs::create_dir_all(model.join("1")).unwrap();
        fs::create_dir_all(model.join("data")).unwrap();
        fs::write(model.join("1").join(MODEL_FILE), "").unwrap();

        let error = read_repository(&model).unwrap_err().to_string();
        assert!(error.contains("a model with numbered versions, not a repository"), "{error}");
        let place = place_model(None, &repository).unwrap();
        let error = read_model(&place, MODEL_FILE).unwrap_err().to_string();
        let expected = format!(
            "a repository, not a model: name one of its models, such as {}",
            model.display()
        );
        assert!(error.contains(&expected), "{error}");
        assert!(read_repository(&repository).is_ok());
        assert!(read_model(&place_model(None, &model).unwrap(), MODEL_FILE).is_ok());
    }

    #[test]
    fn a_model_may_be_called_by_a_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("7/1")).unwrap();
        fs::write(folder.path().join("7/1").join(MODEL_FILE), "").unwrap();
        assert_eq!(read_repository(folder.path()).unwrap().models[0].name, "7");
    }
}
