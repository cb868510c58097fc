//! `onnxd check`: all that `serve` would refuse, without binding an address or opening a model.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::Ending;
use super::output::{print, print_json};
use crate::cli::CheckArguments;
use crate::config::{self, COMMAND_LINE, Overrides, Problem, ProblemKind, Settings};
use crate::engine::choose;
use crate::lifecycle::desired_versions;
use crate::repository::{
    MODEL_FILE, ModelPlace, RepositoryError, VersionFiles, place_model, read_golden, read_manifest,
    read_model, read_repository,
};

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Nothing that `serve` would refuse.
    ok: bool,
    /// Where it would listen.
    listen: Vec<String>,
    /// Engine and version; none where it could not be had.
    engine: Option<String>,
    models: Vec<Model>,
    warnings: Vec<Warning>,
    problems: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    path: PathBuf,
    /// Versions that lie there.
    versions: Vec<u64>,
    /// Those of them that would be served.
    served: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Warning {
    /// Model or path.
    about: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct Finding {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    key: String,
    kind: &'static str,
    message: String,
    /// All of the above as one sentence.
    text: String,
}

/// Checks what `serve` would start from.
///
/// # Errors
/// stdout cannot be written. What is wrong with the configuration is no error but the result.
pub(super) fn check(arguments: CheckArguments) -> Result<Ending> {
    let report = report(&arguments.options.into());
    if arguments.json {
        print_json(&report)?
    } else {
        print(text(&report).as_bytes())?
    }
    Ok(if report.ok { Ending::Done } else { Ending::Misconfigured })
}

fn report(overrides: &Overrides) -> Report {
    let mut report = Report::default();
    match config::load(overrides) {
        Err(problems) => report.problems.extend(problems.list().iter().map(finding)),
        Ok(settings) => {
            let source = overrides.config.as_ref().map(|path| path.display().to_string());
            let source = source.unwrap_or_else(|| COMMAND_LINE.to_owned());
            report.listen = settings.server.listen.iter().map(ToString::to_string).collect();
            check_engine(&source, &settings, &mut report);
            for place in check_places(&source, &settings, &mut report) {
                check_model(&place, &settings, &mut report);
            }
        }
    }
    report.ok = report.problems.is_empty();
    report
}

/// Whether the engine that was asked for is there.
fn check_engine(source: &str, settings: &Settings, report: &mut Report) {
    match choose(&settings.engine) {
        Ok(engine) => report.engine = Some(format!("{} {}", engine.name(), engine.version())),
        Err(error) => report.refuse(source, "engine.name", error.to_string()),
    }
}

/// Every model that is named or lies in a repository, each name once.
fn check_places(source: &str, settings: &Settings, report: &mut Report) -> Vec<ModelPlace> {
    let mut places: Vec<ModelPlace> = Vec::new();
    for model in &settings.models {
        match place_model(model.name.as_deref(), &model.path) {
            Ok(place) => places.push(place),
            Err(error) => report.refuse(source, "models", error.to_string()),
        }
    }
    for folder in &settings.repositories {
        match read_repository(folder) {
            Ok(repository) => {
                report.warn_about_paths(repository.problems);
                if repository.models.is_empty() {
                    let about = folder.display().to_string();
                    report.warnings.push(Warning { about, message: "no models".to_owned() });
                }
                places.extend(repository.models);
            }
            Err(error) => report.refuse(source, "repositories", error.to_string()),
        }
    }
    let mut by_name: BTreeMap<String, ModelPlace> = BTreeMap::new();
    for place in places {
        if let Some(first) = by_name.get(&place.name) {
            let (name, first, second) = (&place.name, first.path.display(), place.path.display());
            let reason = format!("two models are called {name:?}: {first} and {second}");
            report.refuse(source, "models", reason);
        } else {
            by_name.insert(place.name.clone(), place);
        }
    }
    by_name.into_values().collect()
}

/// A model's own configuration, and whether it has a version to serve.
fn check_model(place: &ModelPlace, settings: &Settings, report: &mut Report) {
    let settings = match config::model_settings(&place.path, &settings.model_defaults) {
        Ok(settings) => settings,
        Err(problems) => {
            report.problems.extend(problems.list().iter().map(finding));
            return;
        }
    };
    for message in &settings.warnings {
        report.warnings.push(Warning { about: place.name.clone(), message: message.clone() });
    }
    // The errors name their paths themselves.
    let source = format!("model {}", place.name);
    match read_model(place, settings.model_file.as_deref().unwrap_or(MODEL_FILE)) {
        Err(error) => report.refuse(&source, "", error.to_string()),
        Ok(files) => {
            report.warn_about_paths(files.problems);
            let versions: Vec<u64> = files.versions.iter().map(|version| version.number).collect();
            let served = desired_versions(&settings.versions, &versions);
            if served.is_empty() {
                let reason = format!("no version to serve: expected one of {versions:?}");
                report.refuse(&source, "versions", reason);
            }
            let is_served = |version: &&VersionFiles| served.contains(&version.number);
            for version in files.versions.iter().filter(is_served) {
                if let Err(error) = check_version(version) {
                    report.refuse(&source, "", error.to_string());
                }
            }
            let (name, path) = (place.name.clone(), place.path.clone());
            report.models.push(Model { name, path, versions, served });
        }
    }
}

/// Whether a version's files can be read, and what it says of itself. Digests are not computed:
/// that would read the whole model.
fn check_version(version: &VersionFiles) -> Result<(), RepositoryError> {
    File::open(&version.file).map_err(|error| RepositoryError::Unreadable {
        path: version.file.clone(),
        reason: error.to_string(),
    })?;
    let Some(folder) = version.file.parent() else { return Ok(()) };
    match read_manifest(folder)? {
        Some(manifest) => read_golden(folder, &manifest).map(drop),
        None => Ok(()),
    }
}

impl Report {
    fn refuse(&mut self, source: &str, key: &str, reason: String) {
        let (source, key) = (source.to_owned(), key.to_owned());
        let kind = ProblemKind::Refused { reason };
        self.problems.push(finding(&Problem { source, line: None, key, kind }));
    }

    fn warn_about_paths(&mut self, problems: Vec<crate::repository::Problem>) {
        let warning = |problem: crate::repository::Problem| Warning {
            about: problem.path.display().to_string(),
            message: problem.reason,
        };
        self.warnings.extend(problems.into_iter().map(warning));
    }
}

fn finding(problem: &Problem) -> Finding {
    Finding {
        source: problem.source.clone(),
        line: problem.line,
        key: problem.key.clone(),
        kind: problem.kind.word(),
        message: problem.kind.to_string(),
        text: problem.to_string(),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if !report.listen.is_empty() {
        let _ = writeln!(text, "listen   {}", report.listen.join(", "));
    }
    if let Some(engine) = &report.engine {
        let _ = writeln!(text, "engine   {engine}");
    }
    for model in &report.models {
        let numbers = |numbers: &[u64]| {
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            numbers.join(", ")
        };
        let (served, path) = (numbers(&model.served), model.path.display());
        let _ = write!(text, "model    {} ({path}): version {served}", model.name);
        let kept =
            if model.served == model.versions { String::new() } else { numbers(&model.versions) };
        let _ = writeln!(text, "{}{kept}", if kept.is_empty() { "" } else { " of " });
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {}: {}", warning.about, warning.message);
    }
    for problem in &report.problems {
        let _ = writeln!(text, "problem  {}", problem.text);
    }
    let verdict = match report.problems.len() {
        0 => "sound: `serve` can start from this".to_owned(),
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    let _ = writeln!(text, "{verdict}");
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::engine::EngineChoice;
    use crate::lifecycle::NamedModel;

    fn write(folder: &Path, path: &str, content: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// What `check` prints, with the folder's own path left out.
    fn printed(folder: &Path, overrides: Overrides) -> (bool, String) {
        let overrides = Overrides { engine: Some(EngineChoice::Tract), ..overrides };
        let report = report(&overrides);
        let text = text(&report).replace(&format!("{}/", folder.display()), "");
        let lines = text.lines().filter(|line| !line.starts_with("engine   tract "));
        (report.ok, lines.map(|line| format!("{line}\n")).collect())
    }

    fn named(path: PathBuf) -> Vec<NamedModel> {
        vec![NamedModel { name: None, path }]
    }

    #[test]
    fn a_sound_configuration_is_shown_as_it_would_serve() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(folder, "models/a/1/model.onnx", "");
        write(folder, "models/a/2/model.onnx", "");
        write(folder, "models/a/config.pbtxt", "response_cache { enable: true }");
        write(folder, "b.onnx", "");
        let repositories = vec![folder.join("models")];
        let models = named(folder.join("b.onnx"));
        let (ok, text) =
            printed(folder, Overrides { models, repositories, ..Overrides::default() });
        let expected = "listen   127.0.0.1:8000\n\
            model    a (models/a): version 2 of 1, 2\n\
            model    b (b.onnx): version 1\n\
            warning  a: response_cache.enable is not honoured: responses are not cached\n\
            sound: `serve` can start from this\n";
        assert_eq!(text, expected);
        assert!(ok);
    }

    #[test]
    fn problems_of_all_files_are_told_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(folder, "models/a/1/model.onnx", "");
        write(folder, "models/a/model.toml", "max_batchsize = 1\nengine = 'torch'");
        write(folder, "models/b/config.pbtxt", "input { name: }");
        write(folder, "models/c/1/model.onnx", "");
        write(folder, "models/c/model.toml", "versions = { policy = 'specific', numbers = [2] }");
        write(folder, "models/d/notes.txt", "");
        write(folder, "models/e/1/model.onnx", "");
        let golden = "[[golden]]\ninputs = 'none'\noutputs = 'none'";
        write(folder, "models/e/1/manifest.toml", golden);
        write(folder, "other/c/1/model.onnx", "");
        let repositories = vec![folder.join("models"), folder.join("missing")];
        let models = named(folder.join("other/c"));
        let (ok, text) =
            printed(folder, Overrides { models, repositories, ..Overrides::default() });
        let expected = "listen   127.0.0.1:8000\n\
            model    c (other/c): version 1\n\
            model    e (models/e): version 1\n\
            problem  command line: repositories: missing: no such file or folder\n\
            problem  command line: models: two models are called \"c\": other/c and models/c\n\
            problem  models/a/model.toml:1: max_batchsize: unknown key, did you mean \
            max_batch_size?\n\
            problem  models/a/model.toml:2: engine: unknown engine \"torch\": expected auto, \
            onnxruntime or tract\n\
            problem  models/b/config.pbtxt:1: not well-formed: expected a value, got '}'\n\
            problem  model d: models/d: no version to serve: expected model.onnx in a folder \
            such as models/d/1\n\
            problem  model e: models/e/1/none: no such file or folder\n\
            7 problems\n";
        assert_eq!(text, expected);
        assert!(!ok);
    }

    #[test]
    fn a_version_that_is_asked_for_must_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(folder, "c/1/model.onnx", "");
        write(folder, "c/model.toml", "versions = { policy = 'specific', numbers = [2] }");
        let models = named(folder.join("c"));
        let (_, text) = printed(folder, Overrides { models, ..Overrides::default() });
        let problem = "problem  model c: versions: no version to serve: expected one of [1]\n";
        assert!(text.contains(problem), "{text}");
    }

    #[test]
    fn json_names_each_part_of_a_problem() {
        let overrides = Overrides {
            models: named(PathBuf::from("/nowhere/m")),
            engine: Some(EngineChoice::Tract),
            ..Overrides::default()
        };
        let json = serde_json::to_value(report(&overrides)).expect("JSON");
        assert_eq!(json["ok"], false);
        let expected = serde_json::json!([{
            "source": "command line",
            "key": "models",
            "kind": "refused",
            "message": "/nowhere/m: no such file or folder",
            "text": "command line: models: /nowhere/m: no such file or folder",
        }]);
        assert_eq!(json["problems"], expected);
    }
}
