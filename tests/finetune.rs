//! `onnxd finetune` as it is typed: what it leaves, how it goes on, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{onnxd, onnxruntime_library, python};

const DATA: &str = "models/digits/data/digits.csv";
const MODEL: &str = "models/digits";

/// A folder of its own for one run.
fn output(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("run")
}

fn arguments<'a>(output: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let output = output.to_str().expect("a UTF-8 path");
    let mut arguments = vec!["finetune", "--model", MODEL, "--data", DATA, "--target", "digit"];
    arguments.extend(["--output", output, "--engine", "tract", "--threads", "1"]);
    arguments.extend(more);
    arguments
}

fn run(output: &Path, more: &[&str]) -> Output {
    onnxd(&arguments(output, more))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn losses(output: &Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).expect("it was written");
    let step = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a record a line");
        Some((line["step"].as_u64()?, line["loss"].as_f64()?))
    };
    text.lines().filter_map(step).collect()
}

#[test]
fn a_run_leaves_a_better_model_and_all_that_is_told_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = output(&folder);
    let done = run(&path, &["--epochs", "2", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let summary: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let accuracy = summary["metrics"]["test"]["accuracy"].as_f64().expect("a share");
    assert!(accuracy > 0.95, "{summary}");
    for file in ["model.onnx", "metrics.jsonl", "report.html", "manifest.toml"] {
        assert!(path.join(file).is_file(), "{file}");
    }
    let model = path.join("model.onnx");
    let inspected = onnxd(&["inspect", model.to_str().expect("a UTF-8 path"), "--engine", "tract"]);
    assert!(inspected.status.success(), "{}", said(&inspected));
    let manifest = std::fs::read_to_string(path.join("manifest.toml")).expect("it was written");
    for told in ["data_digest", "optimizer = \"adamw\"", "[metrics.test]"] {
        assert!(manifest.contains(told), "{told}: {manifest}");
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_on_either_engine() {
    let library = onnxruntime_library().to_str().expect("a UTF-8 path");
    for engine in [vec![], vec!["--engine", "onnxruntime", "--onnxruntime", library]] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let model = |name: &str| {
            let path = folder.path().join(name);
            let mut words: Vec<&str> = arguments(&path, &["--steps", "12"]);
            if !engine.is_empty() {
                words.retain(|word| !["--engine", "tract"].contains(word));
                words.extend(&engine);
            }
            let done = onnxd(&words);
            assert!(done.status.success(), "{}", said(&done));
            std::fs::read(path.join("model.onnx")).expect("it was written")
        };
        assert!(model("one") == model("other"), "{engine:?}");
    }
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, parted) = (folder.path().join("whole"), folder.path().join("parted"));
    let length = ["--steps", "600", "--validation", "0.2"];
    let done = run(&whole, &length);
    assert!(done.status.success(), "{}", said(&done));
    let child = Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .args(arguments(&parted, &length))
        .current_dir(python::root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    wait_for(&parted.join("metrics.jsonl"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let stopped = child.wait_with_output().expect("it ends");
    assert_eq!(stopped.status.code(), Some(1), "{}", said(&stopped));
    assert!(said(&stopped).contains("--resume"), "{}", said(&stopped));
    let before = losses(&parted).len();
    assert!(before < 600, "it was stopped too late: {before}");
    let mut more = length.to_vec();
    more.push("--resume");
    let resumed = run(&parted, &more);
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert_eq!(losses(&parted), losses(&whole));
    let model = |path: &Path| std::fs::read(path.join("model.onnx")).expect("it was written");
    assert!(model(&parted) == model(&whole));
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_loss_that_breaks_says_where_and_leaves_the_last_good_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = output(&folder);
    let wild = ["--optimizer", "sgd", "--learning-rate", "1000", "--schedule", "constant"];
    let done = run(&path, &wild);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("broke first: the loss of step"), "{}", said(&done));
    assert!(path.join("checkpoints/last.onnx").is_file());
    assert!(!path.join("model.onnx").exists(), "no model comes of it");
}

fn refusal(more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = output(&folder);
    let done = run(&path, more);
    assert!(!path.exists(), "nothing is left of what was refused");
    (done.status.code(), said(&done))
}

#[test]
fn what_is_wrong_is_told_before_anything_is_made() {
    let check = |more: &[&str], code: i32, expected: &str| {
        let (actual, text) = refusal(more);
        assert_eq!(actual, Some(code), "{more:?}: {text}");
        assert!(text.contains(expected), "{more:?}: {text}");
    };
    check(&["--learning-rate", "0"], 2, "--learning-rate: expected a number above 0");
    check(&["--epochs", "3", "--steps", "3"], 2, "not both");
    check(&["--trainable", "nothing*"], 1, "no parameter matches \"nothing*\"");
    check(&["--head", "nothing"], 1, "the model has no output \"nothing\"");
    check(&["--validation", "0.0001"], 1, "a validation split of 0.0001 of 1797 rows is empty");
}

#[test]
fn data_that_does_not_fit_is_told_by_row_and_column() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let check = |text: &str, target: &str, expected: &str| {
        let path = folder.path().join("data.csv");
        std::fs::write(&path, text).expect("the folder is writable");
        let data = path.to_str().expect("a UTF-8 path");
        let words = ["finetune", "--model", MODEL, "--data", data, "--target", target];
        let done = onnxd(&words);
        assert_eq!(done.status.code(), Some(1), "{}", said(&done));
        assert!(said(&done).contains(expected), "{}", said(&done));
    };
    let columns: Vec<String> = (0..64).map(|column| format!("p{column}")).collect();
    let (header, zeros) = (columns.join(","), vec!["0"; 63].join(","));
    check(&format!("{header},y\n0,{zeros},1\n"), "digit", "there is no column \"digit\"");
    check(&format!("{header},y\nx,{zeros},1\n"), "y", "row 1, column \"p0\"");
    check(&format!("{header},y\n0,{zeros},12\n"), "y", "expected a class from 0 to 9, got \"12\"");
    check(&format!("{header}\n{zeros},1\n"), "p63", "takes 64 values a sample");
}

#[test]
fn several_batches_a_step_are_one_large_batch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let losses_of = |name: &str, batches: [&str; 4]| {
        let path = folder.path().join(name);
        let done =
            run(&path, &[&["--steps", "6", "--learning-rate", "0.01"], &batches[..]].concat());
        assert!(done.status.success(), "{}", said(&done));
        losses(&path)
    };
    let large = losses_of("large", ["--batch-size", "48", "--accumulate", "1"]);
    let parts = losses_of("parts", ["--batch-size", "12", "--accumulate", "4"]);
    assert!(large.len() >= 6, "{large:?}");
    assert_eq!(parts.len(), large.len());
    for ((step, part), (_, large)) in parts.iter().zip(&large) {
        assert!((part - large).abs() < 1e-4 * large.abs(), "step {step}: {part}, not {large}");
    }
}
