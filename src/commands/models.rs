//! `onnxd models`: which models and versions lie in a repository, how large they are, and what is
//! wrong with the rest. Opens no model.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::misplaced;
use super::output::print;
use crate::repository::{self, MODEL_FILE, ModelPlace, read_model, read_repository};

/// What lies in a repository.
#[derive(Debug, PartialEq, Serialize)]
struct Listing {
    repository: PathBuf,
    models: Vec<Model>,
    problems: Vec<Problem>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Model {
    name: String,
    path: PathBuf,
    versions: Vec<Version>,
    problems: Vec<Problem>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Version {
    version: u64,
    file: PathBuf,
    /// With everything that lies beside the file.
    bytes: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Problem {
    path: PathBuf,
    reason: String,
}

impl From<repository::Problem> for Problem {
    fn from(problem: repository::Problem) -> Problem {
        Problem { path: problem.path, reason: problem.reason }
    }
}

/// Prints the models of a repository, as text or JSON.
///
/// # Errors
/// The repository cannot be read, or standard output cannot be written.
pub fn models(repository: &Path, json: bool) -> anyhow::Result<()> {
    let listing = list(repository).map_err(|error| misplaced("--repository", &error))?;
    let mut text = if json { serde_json::to_string_pretty(&listing)? } else { as_text(&listing) };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print(text.as_bytes())
}

fn list(path: &Path) -> Result<Listing, repository::RepositoryError> {
    let repository = read_repository(path)?;
    Ok(Listing {
        repository: path.to_owned(),
        models: repository.models.into_iter().map(model).collect(),
        problems: repository.problems.into_iter().map(Problem::from).collect(),
    })
}

fn model(place: ModelPlace) -> Model {
    let files = read_model(&place, MODEL_FILE);
    let ModelPlace { name, path } = place;
    match files {
        Ok(files) => {
            let versions = files.versions.into_iter().map(|version| Version {
                version: version.number,
                file: version.file,
                bytes: version.bytes,
            });
            let problems = files.problems.into_iter().map(Problem::from).collect();
            Model { name, path, versions: versions.collect(), problems }
        }
        Err(error) => {
            let problem = Problem { path: path.clone(), reason: error.to_string() };
            Model { name, path, versions: Vec::new(), problems: vec![problem] }
        }
    }
}

fn as_text(listing: &Listing) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        writeln!(text, "{arguments}").expect("a string takes any text");
    };
    let problem = |problem: &Problem| {
        let path = problem.path.display().to_string();
        // Errors name their path themselves.
        let reason = problem.reason.strip_prefix(&format!("{path}: ")).unwrap_or(&problem.reason);
        format!("problem: {path}: {reason}")
    };
    if listing.models.is_empty() {
        line(format_args!("{}: no models", listing.repository.display()));
    }
    for model in &listing.models {
        line(format_args!("{}", model.name));
        for Version { version, file, bytes } in &model.versions {
            line(format_args!("  {version:>4}  {:>9}  {}", size(*bytes), file.display()));
        }
        model.problems.iter().for_each(|it| line(format_args!("  {}", problem(it))));
    }
    listing.problems.iter().for_each(|it| line(format_args!("{}", problem(it))));
    text
}

/// A size as a person reads it, in powers of 1000.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be written as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, length) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; *length]).unwrap();
        }
        folder
    }

    #[test]
    fn versions_are_listed_with_sizes_and_problems() {
        let folder = tree(&[
            ("digits/1/model.onnx", 1500),
            ("digits/10/model.onnx", 7),
            ("digits/2/weights.bin", 7),
            ("empty/model.toml", 0),
            ("stray.onnx", 1),
        ]);
        let root = folder.path().display();
        let text = as_text(&list(folder.path()).unwrap());
        let expected = format!(
            "digits\n     1     1.5 kB  {root}/digits/1/model.onnx\n    10        7 B  \
             {root}/digits/10/model.onnx\n  problem: {root}/digits/2: version 2 has no \
             model.onnx\nempty\n  problem: {root}/empty: no version to serve: expected model.onnx \
             in a folder such as {root}/empty/1\nproblem: {root}/stray.onnx: not in a model's \
             folder: expected stray/1/model.onnx\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn json_carries_the_same() {
        let folder = tree(&[("m/3/model.onnx", 5)]);
        let json = serde_json::to_value(list(folder.path()).unwrap()).unwrap();
        let model = &json["models"][0];
        assert_eq!(model["name"], "m");
        assert_eq!(model["versions"][0]["version"], 3);
        assert_eq!(model["versions"][0]["bytes"], 5);
        assert_eq!(json["problems"], serde_json::json!([]));
    }

    #[test]
    fn an_empty_repository_says_so_and_a_missing_one_is_an_error() {
        let folder = tree(&[]);
        let text = as_text(&list(folder.path()).unwrap());
        assert!(text.ends_with(": no models\n"), "{text}");
        assert!(models(&folder.path().join("missing"), false).is_err());
    }

    #[test]
    fn sizes_are_rounded_for_people() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_960, "1.0 MB"),
            (23_400_000_000, "23.4 GB"),
            (u64::MAX, "18446.7 PB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}
