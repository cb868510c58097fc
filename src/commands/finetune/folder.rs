//! A run's folder: what is in it, and that nothing of another run is.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

pub const MODEL: &str = "model.onnx";
pub const REPORT: &str = "report.html";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoints";
const LAST: &str = "last.onnx";

/// Where runs go that are not told where.
const RUNS: &str = "runs";
/// A counter beyond this is no counter.
const MOST_RUNS: u32 = 1_000_000;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder; the next number of the model's where no path is given.
    ///
    /// # Errors
    /// There is something at the path already, or it cannot be made.
    pub fn create(path: Option<&Path>, model: &str) -> Result<RunFolder> {
        let folder = match path {
            Some(path) => {
                if path.exists() && !is_empty_folder(path) {
                    bail!(
                        "{}: there is something already; expected a new folder, or --resume",
                        path.display()
                    );
                }
                RunFolder { path: path.to_owned() }
            }
            None => RunFolder { path: next(model)? },
        };
        let context = || format!("making {}", folder.path.display());
        std::fs::create_dir_all(&folder.path).with_context(context)?;
        // Whoever makes this has the folder: another run may have begun in it meanwhile.
        std::fs::create_dir(folder.path.join(CHECKPOINTS)).with_context(context)?;
        Ok(folder)
    }

    /// The folder of a run that is to go on.
    ///
    /// # Errors
    /// There is no checkpoint in it.
    pub fn resume(path: &Path) -> Result<RunFolder> {
        let folder = RunFolder { path: path.to_owned() };
        let checkpoint = folder.checkpoint();
        if !checkpoint.is_file() {
            bail!("{}: there is no checkpoint to go on from", checkpoint.display());
        }
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The last checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINTS).join(LAST)
    }

    /// What is measured, a line each, up to a step; what a run wrote after its last checkpoint is
    /// cut off, for it is done again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn metrics(&self, steps: u64) -> Result<Metrics> {
        let path = self.file(METRICS);
        let context = || format!("writing {}", path.display());
        let kept = lines_up_to(&path, steps).with_context(context)?;
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        let mut metrics = Metrics { file: BufWriter::new(file.with_context(context)?), path };
        metrics.file.write_all(kept.as_bytes()).context("writing the metrics")?;
        Ok(metrics)
    }

    /// The lines written so far.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn measured(&self) -> Result<Vec<serde_json::Value>> {
        let path = self.file(METRICS);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// `metrics.jsonl`, being written.
pub struct Metrics {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Metrics {
    /// # Errors
    /// The disk is full, or the like.
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let mut line = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)
    }

    /// # Errors
    /// As [`write`](Self::write).
    pub fn flush(&mut self) -> Result<(), String> {
        self.file.flush().map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn next(model: &str) -> Result<PathBuf> {
    let runs = Path::new(RUNS);
    for number in 1..=MOST_RUNS {
        let path = runs.join(format!("{model}-{number}"));
        match std::fs::create_dir_all(runs).and_then(|()| std::fs::create_dir(&path)) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).context(format!("making {}", path.display())),
        }
    }
    bail!("{RUNS}: has {MOST_RUNS} runs of {model}")
}

/// The lines of steps up to this one, and of epochs that ended with them.
fn lines_up_to(path: &Path, steps: u64) -> std::io::Result<String> {
    if steps == 0 {
        return Ok(String::new());
    }
    let text = std::fs::read_to_string(path)?;
    let mut kept = String::new();
    for line in text.lines() {
        let step = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|record| record.get("step").and_then(serde_json::Value::as_u64));
        if step.is_some_and(|step| step > steps) {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_never_lands_in_the_folder_of_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run");
        let run = RunFolder::create(Some(&path), "m").expect("a new folder");
        assert!(run.path().join(CHECKPOINTS).is_dir());
        let error = RunFolder::create(Some(&path), "m").expect_err("not empty any more");
        assert!(error.to_string().contains("expected a new folder, or --resume"), "{error}");
        assert!(RunFolder::resume(&path).is_err(), "there is no checkpoint");
    }

    #[test]
    fn a_resumed_run_writes_on_behind_its_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(Some(folder.path()), "m").expect("an empty folder");
        let mut metrics = run.metrics(0).expect("writable");
        for step in 1..=3 {
            metrics.write(&serde_json::json!({ "step": step })).expect("writable");
        }
        metrics.flush().expect("writable");
        let mut metrics = run.metrics(2).expect("writable");
        metrics.write(&serde_json::json!({ "step": 3, "again": true })).expect("writable");
        metrics.flush().expect("writable");
        let lines = run.measured().expect("readable");
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["again"], true);
    }
}
