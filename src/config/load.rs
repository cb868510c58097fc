//! The edge of this part: files are read here and nowhere else in it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use super::file::read_file;
use super::model::{parse_model_toml, resolve_paths};
use super::overrides::Overrides;
use super::problem::{COMMAND_LINE, ConfigProblems, Problem, ProblemKind};
use super::section::Document;
use super::settings::Settings;
use super::triton;
use super::validate::validate;
use crate::lifecycle::ModelSettings;

/// A model's own configuration.
pub const MODEL_TOML: &str = "model.toml";
/// Triton's, read where there is no `model.toml`.
pub const CONFIG_PBTXT: &str = "config.pbtxt";
/// A configuration is a few pages; what is larger is another file by mistake.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// The daemon's settings: defaults, over them the file, over it the command line.
///
/// # Errors
/// Everything that is wrong with file and command line.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigProblems> {
    let Some(path) = &overrides.config else {
        return assemble(None, overrides);
    };
    let text = read_text(path)?.ok_or_else(|| unreadable(path, "no such file"))?;
    assemble(Some((path, &text)), overrides)
}

/// As [`load`], with the file's path and text given. Relative paths in the file are against its
/// folder.
///
/// # Errors
/// As [`load`].
pub fn assemble(
    file: Option<(&Path, &str)>,
    overrides: &Overrides,
) -> Result<Settings, ConfigProblems> {
    let mut settings = Settings::standard();
    let mut problems = Vec::new();
    let mut source = COMMAND_LINE.to_owned();
    if let Some((path, text)) = file {
        source = path.display().to_string();
        let document = Document::new(&source, text);
        let folder = path.parent().unwrap_or(Path::new(""));
        match read_file(&document, folder, settings.clone()) {
            Some(read) => settings = read,
            // What the rest would be validated against is not there.
            None => return document.finish(None),
        }
        problems = document.into_problems();
    }
    overrides.apply(&mut settings);
    // Each network thread runs short models itself: with a session each they need not wait.
    settings.model_defaults.batching.inline_sessions = settings.server.network_threads;
    problems.extend(validate(&source, &settings));
    ConfigProblems::none_or(problems, settings)
}

/// The settings of the model in `folder`: from its `model.toml`, else its `config.pbtxt`, else the
/// daemon's defaults. `folder` may be a bare `.onnx` file, which has no configuration of its own.
/// Relative paths come back against the folder.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn model_settings(
    folder: &Path,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    if folder.is_file() {
        return Ok(bare_file_settings(folder, defaults));
    }
    let (toml, pbtxt) = (folder.join(MODEL_TOML), folder.join(CONFIG_PBTXT));
    let mut settings = match (read_text(&toml)?, read_text(&pbtxt)?) {
        (Some(text), pbtxt) => {
            let mut settings = parse_model_toml(&toml.display().to_string(), &text, defaults)?;
            if pbtxt.is_some() {
                let warning = format!("{CONFIG_PBTXT} is not read: {MODEL_TOML} is there as well");
                settings.warnings.push(warning);
            }
            settings
        }
        (None, Some(text)) => {
            let source = pbtxt.display().to_string();
            let mut settings = triton::parse_pbtxt(&source, &text, defaults)?;
            settings.warnings.extend(triton::name_warning(&text, folder));
            settings
        }
        (None, None) => defaults.clone(),
    };
    resolve_paths(&mut settings, folder);
    missing_files(&toml, &pbtxt, settings)
}

/// The settings that a ModelConfig in JSON asks for: the `config` parameter of a load request.
/// It names files of the model's folder and no others: what a client may load is not what it may
/// read or write.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn model_settings_from_json(
    json: &str,
    folder: &Path,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let mut settings = triton::parse_json("config", json, defaults)?;
    let folder = if folder.is_file() { folder.parent().unwrap_or(Path::new("")) } else { folder };
    resolve_paths(&mut settings, folder);
    confine(settings, folder, defaults)
}

/// Refuses paths that lead out of the model's folder, save those of the daemon's own defaults.
fn confine(
    settings: ModelSettings,
    folder: &Path,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let mut defaults = defaults.clone();
    resolve_paths(&mut defaults, folder);
    let own = [named_files(&defaults), named_caches(&defaults)].concat();
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let is_below =
        |path: &Path| path.strip_prefix(folder).is_ok_and(|rest| rest.components().all(is_plain));
    let named = [named_files(&settings), named_caches(&settings)].concat();
    let outside = named.into_iter().filter(|named| !is_below(&named.1) && !own.contains(named));
    let problem = |(key, path): (String, PathBuf)| {
        let path = path.display();
        let reason = format!("expected a path below the model's folder, got {path}");
        let kind = ProblemKind::Refused { reason };
        Problem { source: "config".to_owned(), line: None, key, kind }
    };
    let problems = outside.map(problem).collect();
    ConfigProblems::none_or(problems, settings)
}

/// A bare file shares its folder with others: its caches are called after it.
fn bare_file_settings(file: &Path, defaults: &ModelSettings) -> ModelSettings {
    let mut settings = defaults.clone();
    if let Some(cache) = &mut settings.batching.layout_cache
        && let (Some(own), Some(name)) = (file.file_name(), cache.file_name())
    {
        let (own, name) = (own.to_string_lossy(), name.to_string_lossy());
        *cache = cache.with_file_name(format!("{own}.{name}"));
    }
    resolve_paths(&mut settings, file.parent().unwrap_or(Path::new("")));
    settings
}

/// Refuses settings that name files which are not there.
fn missing_files(
    toml: &Path,
    pbtxt: &Path,
    settings: ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let source = if toml.is_file() { toml } else { pbtxt }.display().to_string();
    let missing = named_files(&settings).into_iter().filter(|(_, path)| !path.is_file());
    let problem = |(key, path): (String, PathBuf)| {
        let reason = format!("no such file: {}", path.display());
        let kind = ProblemKind::Refused { reason };
        Problem { source: source.clone(), line: None, key, kind }
    };
    let problems = missing.map(problem).collect();
    ConfigProblems::none_or(problems, settings)
}

/// What a model reads beside its file, each by the key that names it.
fn named_files(settings: &ModelSettings) -> Vec<(String, PathBuf)> {
    let labels = settings.labels.iter();
    let labels = labels.map(|(output, path)| (format!("labels.{output}"), path.clone()));
    let table = settings.session.tensorrt.int8_calibration_table.iter();
    let table = table.map(|path| ("tensorrt.int8_calibration_table".to_owned(), path.clone()));
    labels.chain(table).collect()
}

/// What it writes and reads again.
fn named_caches(settings: &ModelSettings) -> Vec<(String, PathBuf)> {
    let tensorrt = &settings.session.tensorrt;
    let caches = [
        ("instances.cache", &settings.batching.layout_cache),
        ("tensorrt.engine_cache", &tensorrt.engine_cache),
        ("tensorrt.timing_cache", &tensorrt.timing_cache),
    ];
    let named = |(key, path): (&str, &Option<PathBuf>)| Some((key.to_owned(), path.clone()?));
    caches.into_iter().filter_map(named).collect()
}

/// The text of a file, or `None` where there is none.
fn read_text(path: &Path) -> Result<Option<String>, ConfigProblems> {
    let mut file = match File::open(path) {
        Ok(file) => file.take(MAX_CONFIG_BYTES + 1),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(unreadable(path, format!("larger than {MAX_CONFIG_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable(path, "not UTF-8 text"))?;
    Ok(Some(text))
}

fn unreadable(path: &Path, reason: impl ToString) -> ConfigProblems {
    let kind = ProblemKind::Unreadable { reason: reason.to_string() };
    let source = path.display().to_string();
    Problem { source, line: None, key: String::new(), kind }.into()
}
