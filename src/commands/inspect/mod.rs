//! `onnxd inspect`: what a model is, and which engine can run it.

mod facts;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::output::{print, print_json};
use super::{Ending, misplaced};
use crate::batching::{BatchingSettings, Circumstances, Layout, kept_layout};
use crate::cli::InspectArguments;
use crate::config::{model_settings, standard_model_settings};
use crate::engine::{
    DeviceChoice, EngineChoice, EngineSettings, ModelSource, SessionSettings, choose,
};
use crate::lifecycle::ModelSettings;
use crate::repository::{MODEL_FILE, digest_file, place_model, read_model};
use facts::{Facts, gather};

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct Inspection {
    path: PathBuf,
    #[serde(flatten)]
    facts: Facts,
    engines: Vec<EngineAnswer>,
    /// How the daemon lays the model out, where it has measured that and kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<KeptLayout>,
}

#[derive(Debug, Serialize)]
struct KeptLayout {
    instances: usize,
    threads: usize,
    max_batch_size: usize,
    measured_for: MeasuredFor,
}

/// Where the layout holds: a daemon in other circumstances measures anew.
#[derive(Debug, Serialize)]
struct MeasuredFor {
    engine: String,
    engine_version: String,
    device: String,
    cores: usize,
}

/// What one engine says when it is to open the model.
#[derive(Debug, Serialize)]
struct EngineAnswer {
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    runs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Nodes by provider, where the engine tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<ProviderNodes>,
    /// Why it does not run the model, or not on a better device.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct ProviderNodes {
    provider: String,
    nodes: usize,
}

/// Shows the model.
///
/// # Errors
/// There is no model at the path, or stdout cannot be written. That no engine runs the model is
/// no error but the result.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<Ending> {
    let (path, settings) = find(&arguments.model)?;
    let layout = kept(&path, &settings.batching);
    let mut session = settings.session;
    if arguments.device != DeviceChoice::Auto {
        session.device = arguments.device;
    }
    let model = crate::onnx::read(&path).context("reading the model")?;
    let source = ModelSource { path: path.clone() };
    let engines = asked(arguments.engine);
    let library = arguments.onnxruntime.clone();
    let answer = |(name, engine): &(&'static str, EngineChoice)| {
        let settings = EngineSettings { engine: *engine, onnxruntime_library: library.clone() };
        ask(name, &settings, &source, &session)
    };
    let engines: Vec<EngineAnswer> = engines.iter().map(answer).collect();
    let runs = engines.iter().any(|answer| answer.runs);
    let inspection = Inspection { path, facts: gather(&model), engines, layout };
    if arguments.json {
        print_json(&inspection)?;
    } else {
        print(text::text(&inspection).as_bytes())?;
    }
    Ok(if runs { Ending::Done } else { Ending::Failed })
}

/// The layout that the daemon measured at its last load of this file, if it had to.
fn kept(model: &Path, batching: &BatchingSettings) -> Option<KeptLayout> {
    let (layout, circumstances) = kept_layout(batching.layout_cache.as_deref()?)?;
    if circumstances.model != digest_file(model).ok()?.to_string() {
        return None;
    }
    let Layout { instances, threads, max_batch_size, .. } = layout;
    let Circumstances { engine, engine_version, device, cores, .. } = circumstances;
    let measured_for = MeasuredFor { engine, engine_version, device, cores };
    Some(KeptLayout { instances, threads, max_batch_size, measured_for })
}

/// The model's file, of the highest version in a folder, and its settings.
fn find(path: &Path) -> Result<(PathBuf, ModelSettings)> {
    let place = place_model(Some("model"), path).map_err(|error| misplaced("MODEL", &error))?;
    let settings = model_settings(path, &standard_model_settings())?;
    let files = read_model(&place, settings.model_file.as_deref().unwrap_or(MODEL_FILE))?;
    let newest = files.versions.last().context("a model that was read has a version")?;
    Ok((newest.file.clone(), settings))
}

fn asked(engine: EngineChoice) -> Vec<(&'static str, EngineChoice)> {
    let onnxruntime = (crate::engine::onnxruntime::NAME, EngineChoice::OnnxRuntime);
    let tract = (crate::engine::tract::NAME, EngineChoice::Tract);
    match engine {
        EngineChoice::Auto => vec![onnxruntime, tract],
        EngineChoice::OnnxRuntime => vec![onnxruntime],
        EngineChoice::Tract => vec![tract],
    }
}

fn ask(
    name: &'static str,
    settings: &EngineSettings,
    source: &ModelSource,
    session: &SessionSettings,
) -> EngineAnswer {
    let refused = |version: Option<String>, reason: String| EngineAnswer {
        engine: name,
        version,
        runs: false,
        device: None,
        nodes: Vec::new(),
        reason: Some(reason),
    };
    let engine = match choose(settings) {
        Ok(engine) => engine,
        Err(error) => return refused(None, error.to_string()),
    };
    let version = Some(engine.version().to_owned());
    match engine.open(source, session) {
        Err(error) => refused(version, error.to_string()),
        Ok(opened) => {
            let placement = opened.placement();
            let nodes = placement.nodes.iter().map(|nodes| ProviderNodes {
                provider: nodes.provider.clone(),
                nodes: nodes.nodes,
            });
            EngineAnswer {
                engine: name,
                version,
                runs: true,
                device: Some(placement.device.to_string()),
                nodes: nodes.collect(),
                reason: placement.fallback_reason.clone(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{samples, write};

    fn arguments(model: &Path) -> InspectArguments {
        InspectArguments {
            model: model.to_owned(),
            engine: EngineChoice::Tract,
            device: DeviceChoice::Auto,
            onnxruntime: None,
            json: false,
        }
    }

    #[test]
    fn the_highest_version_of_a_folder_is_shown_under_its_own_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        for version in ["1", "10", "9"] {
            let path = folder.path().join("m").join(version);
            std::fs::create_dir_all(&path).expect("created");
            std::fs::write(path.join("model.onnx"), "").expect("written");
        }
        std::fs::write(folder.path().join("m/model.toml"), "device = 'cpu'").expect("written");
        let (path, settings) = find(&folder.path().join("m")).expect("a model");
        assert!(path.ends_with("m/10/model.onnx"), "{}", path.display());
        assert_eq!(settings.session.device.to_string(), "cpu");
    }

    #[test]
    fn each_engine_answers_for_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mlp.onnx");
        write(&path, &samples::mlp(4, &[3], 2)).expect("written");
        assert_eq!(inspect(&arguments(&path)).expect("shown"), Ending::Done);

        let source = ModelSource { path: path.clone() };
        let session = standard_model_settings().session;
        let settings = EngineSettings { engine: EngineChoice::Tract, onnxruntime_library: None };
        let answer = ask("tract", &settings, &source, &session);
        assert!(answer.runs && answer.device.as_deref() == Some("cpu"), "{answer:?}");

        let missing = EngineSettings {
            engine: EngineChoice::OnnxRuntime,
            onnxruntime_library: Some(folder.path().join("none.so")),
        };
        let answer = ask("onnxruntime", &missing, &source, &session);
        assert!(!answer.runs && answer.version.is_none() && answer.reason.is_some(), "{answer:?}");
    }

    #[test]
    fn what_is_no_model_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text.onnx");
        std::fs::write(&path, "no model at all").expect("written");
        let error = inspect(&arguments(&path)).expect_err("no model");
        assert!(format!("{error:#}").contains("text.onnx"), "{error:#}");
        let error = inspect(&arguments(&folder.path().join("missing"))).expect_err("nothing");
        assert!(error.to_string().ends_with("missing: no such file or folder"), "{error}");
    }
}
