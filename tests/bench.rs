//! `onnxd bench` on the model that ships, and on what is none.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::digits_model;
use crate::support::python::root;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onnxd"))
        .arg("bench")
        .args(arguments)
        .output()
        .expect("the binary was built for this test")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_model_that_ships_is_measured_bare_and_served() {
    let output = bench(&[digits_model(), "--engine", "tract", "--seconds", "0.2", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON alone");
    assert_eq!(report["model"], "digits");
    assert_eq!(report["engine"], "tract");
    assert_eq!(report["batched"], true);
    let rate = |row: &Value| row["rows_per_second"].as_f64().expect("a number");
    let loops = report["engine_loops"].as_array().expect("a list");
    assert!(loops.iter().all(|row| rate(row) > 0.0), "{report}");
    let best: Vec<&Value> = loops.iter().filter(|row| row["best"] == true).collect();
    assert_eq!(best.len(), 1, "{report}");
    assert_eq!(best[0]["ratio"], 1.0);
    let served = report["served"].as_array().expect("a list");
    let connections: Vec<&Value> = served.iter().map(|row| &row["connections"]).collect();
    assert_eq!(connections, [1, 32]);
    for row in served {
        assert!(rate(row) > 0.0 && row["median_us"].as_f64() <= row["p99_us"].as_f64(), "{row}");
        assert_eq!(row["refused"], 0, "{row}");
    }
    // Progress is a line each where there is no terminal.
    assert!(said(&output).contains("served, 32 connections"), "{}", said(&output));
}

#[test]
fn a_person_gets_a_table_and_a_bare_file_will_do() {
    let file = root().join("models/digits/1/model.onnx");
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A name that no model could have in a URL.
    let copy = folder.path().join("my model.onnx");
    std::fs::copy(file, &copy).expect("a writable folder");
    let copy = copy.to_str().expect("a UTF-8 path");
    let output = bench(&[copy, "--engine", "tract", "--seconds", "0.05", "--connections", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("a table is text");
    for expected in ["engine   tract ", "rows/s", "engine, 1 session × ", "served, 2 connections"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn what_cannot_be_measured_is_named() {
    let missing = bench(&["/no/such/model.onnx", "--seconds", "0.05"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("/no/such/model.onnx"), "{}", said(&missing));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("text.onnx");
    std::fs::write(&file, "this is no model").expect("a writable folder");
    let file = file.to_str().expect("a UTF-8 path");
    let broken = bench(&[file, "--engine", "tract", "--seconds", "0.05"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(said(&broken).contains("text.onnx"), "{}", said(&broken));
    assert!(broken.stdout.is_empty());
}
