//! `onnxd models`: what a repository holds.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Ending;
use super::output::{print, print_json};
use crate::cli::ModelsArguments;
use crate::config::{model_settings, standard_model_settings};
use crate::repository::{MODEL_FILE, ModelPlace, read_model, read_repository};

#[derive(Serialize)]
struct Listing {
    models: Vec<Model>,
    /// What lies in the repository and is none of its models.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Model {
    name: String,
    versions: Vec<Version>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Version {
    number: u64,
    bytes: u64,
}

/// Lists the models and versions of a repository.
///
/// # Errors
/// The repository cannot be read, or stdout not be written.
pub(super) fn models(arguments: &ModelsArguments) -> Result<Ending> {
    let repository = read_repository(&arguments.repository).context("reading the repository")?;
    let listing = Listing {
        models: repository.models.iter().map(list_model).collect(),
        problems: repository.problems.iter().map(sentence).collect(),
    };
    if arguments.json {
        print_json(&listing)?
    } else {
        print(text(&listing).as_bytes())?
    }
    Ok(Ending::Done)
}

fn list_model(place: &ModelPlace) -> Model {
    let name = place.name.clone();
    // What its configuration says of the file's name counts; what else is wrong with it is for
    // `check` to say.
    let settings = model_settings(&place.path, &standard_model_settings()).ok();
    let file = settings.and_then(|settings| settings.model_file);
    match read_model(place, file.as_deref().unwrap_or(MODEL_FILE)) {
        Err(error) => Model { name, versions: Vec::new(), problems: vec![error.to_string()] },
        Ok(files) => {
            let version = |it: &crate::repository::VersionFiles| Version {
                number: it.number,
                bytes: it.bytes,
            };
            Model {
                name,
                versions: files.versions.iter().map(version).collect(),
                problems: files.problems.iter().map(sentence).collect(),
            }
        }
    }
}

fn sentence(problem: &crate::repository::Problem) -> String {
    format!("{}: {}", problem.path.display(), problem.reason)
}

fn text(listing: &Listing) -> String {
    let width = listing.models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut problems: Vec<&String> = listing.problems.iter().collect();
    for model in &listing.models {
        let versions: Vec<String> = model
            .versions
            .iter()
            .map(|version| format!("{} ({})", version.number, human_size(version.bytes)))
            .collect();
        let versions =
            if versions.is_empty() { "no version".to_owned() } else { versions.join(", ") };
        let _ = writeln!(text, "{:width$}  {versions}", model.name);
        problems.extend(&model.problems);
    }
    for problem in problems {
        let _ = writeln!(text, "! {problem}");
    }
    text
}

/// A size for people: three digits and a unit.
pub(super) fn human_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    let decimals = usize::from(unit != "B" && size < 100.0);
    format!("{size:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (150 * 1024, "150 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(human_size(bytes), expected);
        }
    }

    #[test]
    fn a_repository_is_listed_with_what_is_wrong_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below")).expect("created");
            std::fs::write(path, content).expect("written");
        };
        write("digits/1/model.onnx", "abc");
        write("digits/3/model.onnx", "abcd");
        write("net/2/net.onnx", "ab");
        write("net/model.toml", "model_file = 'net.onnx'");
        write("empty/notes.txt", "");
        write("stray.onnx", "");
        let repository = read_repository(folder.path()).expect("a repository");
        let models = repository.models.iter().map(list_model).collect();
        let problems = repository.problems.iter().map(sentence).collect();
        let text = text(&Listing { models, problems });
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        let expected = "digits  1 (3 B), 3 (4 B)\nempty   no version\nnet     2 (2 B)\n\
                        ! stray.onnx: not in a model's folder: expected stray/1/model.onnx\n\
                        ! empty: no version to serve: expected model.onnx in a folder such as \
                        empty/1\n";
        assert_eq!(text, expected);
    }
}
