//! What a run leaves: the model with its new weights, a manifest, a report, and a few lines.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::folder::{MODEL, REPORT, RunFolder};
use super::settings::Settings;
use super::setup::Setup;
use crate::data::ColumnSummary;
use crate::onnx::assign;
use crate::onnx::proto::ModelProto;
use crate::repository::{MANIFEST_FILE, Manifest, digest_file};
use crate::tensor::Tensor;
use crate::train::report::{Column, EpochPoint, Report};
use crate::train::{End, Metrics, Trainer};

/// A run that is over.
pub struct Outcome {
    model: ModelProto,
    end: End,
    steps: u64,
    best_epoch: u64,
    /// By the part of the data: of the best weights.
    metrics: BTreeMap<&'static str, Metrics>,
    took: Duration,
}

/// What is printed as JSON.
#[derive(Serialize)]
pub struct Summary<'a> {
    output: String,
    steps: u64,
    best_epoch: u64,
    seconds: f64,
    ended_early: bool,
    metrics: &'a BTreeMap<&'static str, Metrics>,
}

impl Outcome {
    /// Looks at the best weights once more, and puts them into the model.
    ///
    /// # Errors
    /// The data cannot be read any more, or the engine failed.
    pub fn of(
        setup: &Setup,
        _settings: &Settings,
        trainer: &mut Trainer<'_>,
        end: End,
        took: Duration,
    ) -> Result<Outcome> {
        let mut metrics = BTreeMap::new();
        let parts = [("validation", &setup.split.validation), ("test", &setup.split.test)];
        for (part, rows) in parts {
            if !rows.is_empty() {
                metrics.insert(part, trainer.evaluate_best(rows)?);
            }
        }
        let weights: HashMap<String, Tensor> =
            setup.weights().map(str::to_owned).zip(trainer.best()?).collect();
        let mut model = setup.subject.model.clone();
        assign(&mut model, &weights)?;
        let progress = trainer.progress();
        let (steps, best_epoch) = (progress.step, progress.best_epoch);
        Ok(Outcome { model, end, steps, best_epoch, metrics, took })
    }

    /// Writes all files; the manifest last, which says that the others are whole.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, setup: &Setup, settings: &Settings, folder: &RunFolder) -> Result<()> {
        let file = folder.file(MODEL);
        crate::onnx::write(&file, &self.model).context("writing the model")?;
        let page = report(self, setup, settings, folder)?.html();
        let path = folder.file(REPORT);
        std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
        let mut manifest =
            Manifest { data_digest: Some(setup.data_digest.clone()), ..Manifest::default() };
        manifest.digests.insert(MODEL.to_owned(), digest_file(&file)?.to_string());
        manifest.settings = settings_table(setup, settings)?;
        for (part, metrics) in &self.metrics {
            let table = toml::Table::try_from(metrics).context("writing the metrics")?;
            manifest.metrics.insert((*part).to_owned(), table.into());
        }
        let text = toml::to_string(&manifest).context("writing the manifest")?;
        let path = folder.file(MANIFEST_FILE);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }

    pub fn summary(&self, folder: &RunFolder) -> Summary<'_> {
        Summary {
            output: folder.path().display().to_string(),
            steps: self.steps,
            best_epoch: self.best_epoch,
            seconds: self.took.as_secs_f64(),
            ended_early: self.end == End::Early,
            metrics: &self.metrics,
        }
    }

    /// The result as a few lines.
    pub fn text(&self, folder: &RunFolder) -> String {
        let mut text = format!(
            "{} steps in {:.1} s; the best weights are those of epoch {}\n",
            self.steps,
            self.took.as_secs_f64(),
            self.best_epoch
        );
        for (part, metrics) in &self.metrics {
            text.push_str(&format!("{part}: loss {:.4}", metrics.loss));
            let figures = [
                ("accuracy", metrics.accuracy),
                ("mean absolute error", metrics.mean_absolute_error),
                ("R²", metrics.r_squared),
            ];
            for (name, figure) in figures {
                if let Some(figure) = figure {
                    text.push_str(&format!(", {name} {figure:.4}"));
                }
            }
            text.push_str(&format!(" ({} samples)\n", metrics.samples));
        }
        text.push_str(&format!("{}\n", folder.file(MODEL).display()));
        text
    }
}

fn settings_table(setup: &Setup, settings: &Settings) -> Result<toml::Table> {
    let mut table = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| {
        table.insert(key.to_owned(), value);
    };
    put("model", setup.subject.file.display().to_string().into());
    put("model_digest", setup.subject.digest.clone().into());
    put("data", settings.data.display().to_string().into());
    put("target", settings.target.clone().into());
    put("loss", setup.loss.loss.name().into());
    put("label_smoothing", settings.label_smoothing.into());
    put("balance_classes", settings.balance_classes.into());
    put("optimizer", settings.optimizer.algorithm.name().into());
    put("momentum", settings.optimizer.momentum.into());
    put("nesterov", settings.optimizer.nesterov.into());
    put("weight_decay", settings.optimizer.weight_decay.into());
    put("learning_rate", settings.learning_rate.into());
    put("schedule", settings.schedule.name().into());
    put("warmup", i64::try_from(settings.warmup)?.into());
    put("batch_size", i64::try_from(settings.batch_size)?.into());
    put("accumulate", i64::try_from(settings.accumulate)?.into());
    put("seed", toml::Value::String(settings.seed.to_string()));
    put("shuffle", settings.shuffle.into());
    put("validation", settings.split.validation.into());
    put("test", settings.split.test.into());
    put("engine", setup.engine.name().into());
    put("engine_version", setup.engine.version().into());
    put("onnxd", env!("CARGO_PKG_VERSION").into());
    put("threads", i64::try_from(settings.threads)?.into());
    let patterns = settings.trainable.patterns.iter().cloned().map(toml::Value::String);
    put("trainable", toml::Value::Array(patterns.collect()));
    Ok(table)
}

/// What `report.html` tells.
fn report(
    outcome: &Outcome,
    setup: &Setup,
    settings: &Settings,
    folder: &RunFolder,
) -> Result<Report> {
    let mut report = Report {
        title: format!("{}: {}", setup.subject.name, setup.loss.loss),
        results: Vec::new(),
        classes: setup.dataset.classes().unwrap_or_default().to_vec(),
        ..Report::default()
    };
    for (name, value) in settings_table(setup, settings)? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        report.facts.push((name, text));
    }
    for part in ["validation", "test"] {
        if let Some(metrics) = outcome.metrics.get(part) {
            report.results.push((part.to_owned(), metrics.clone()));
        }
    }
    for line in folder.measured()? {
        let number = |name: &str| line.get(name).and_then(serde_json::Value::as_f64);
        let Some(step) = number("step") else { continue };
        if let Some(loss) = number("loss") {
            report.losses.push((step, loss));
        }
        if let Some(rate) = number("learning_rate") {
            report.rates.push((step, rate));
        }
        if let Some(validation) = line.get("validation") {
            let number = |name: &str| validation.get(name).and_then(serde_json::Value::as_f64);
            let score = number("accuracy").or(number("r_squared"));
            let loss = number("loss").unwrap_or(f64::NAN);
            report.epochs.push(EpochPoint { step, loss, score });
        }
    }
    report.columns = setup.dataset.columns().iter().map(column).collect();
    Ok(report)
}

fn column(summary: &ColumnSummary) -> Column {
    Column {
        name: summary.name.clone(),
        kind: summary.kind.to_owned(),
        minimum: summary.minimum,
        maximum: summary.maximum,
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
    }
}
