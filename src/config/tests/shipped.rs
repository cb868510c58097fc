//! The files that ship are the defaults, and whole.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::file::known_keys;
use super::super::model::known_model_keys;
use super::super::*;
use super::{model_file, parse};
use crate::lifecycle::NamedModel;

const ONNXD_TOML: &str = include_str!("../../../config/onnxd.toml");
const EXAMPLE_MODEL_TOML: &str = include_str!("../../../config/model.toml");

/// The text with its examples (`#key = …`) turned into keys.
fn with_examples(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if example.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[') => {
            format!("{example}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Every key in a TOML text, as `section.key`; the user's own names below `open` left out.
fn written_keys(text: &str, open: &[&str]) -> BTreeSet<String> {
    fn walk(prefix: &str, value: &toml::Value, open: &[&str], keys: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) if !open.contains(&prefix) => {
                for (key, value) in table {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    let key = format!("{prefix}{dot}{key}");
                    walk(&key, value, open, keys);
                    keys.insert(key);
                }
            }
            toml::Value::Array(entries) if entries.iter().all(toml::Value::is_table) => {
                entries.iter().for_each(|entry| walk(prefix, entry, open, keys));
            }
            _ => (),
        }
    }
    let mut keys = BTreeSet::new();
    walk("", &toml::Value::Table(toml::from_str(text).expect("TOML")), open, &mut keys);
    keys
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let mut expected = Settings::standard();
    expected.models = vec![NamedModel { name: None, path: PathBuf::from("m") }];
    assert_eq!(parse(ONNXD_TOML), Ok(expected));
    assert_eq!(model_file(EXAMPLE_MODEL_TOML), Ok(standard_model_settings()));
}

#[test]
fn the_shipped_files_have_every_key() {
    let text = with_examples(ONNXD_TOML);
    assert_eq!(written_keys(&text, &[]), known_keys(&text));
    let text = with_examples(EXAMPLE_MODEL_TOML);
    let open = ["axes", "padding", "labels", "sample_shapes", "warm_up.shapes"];
    let known = known_model_keys(&text);
    let is_own = |key: &&String| !open.iter().any(|open| key.starts_with(&format!("{open}.")));
    assert_eq!(written_keys(&text, &open), known.iter().filter(is_own).cloned().collect());
}

#[test]
fn the_examples_in_the_shipped_files_are_sound() {
    // The example of `versions.numbers` does not go with the default policy beside it.
    let text = |text: &str| with_examples(text).replace("numbers = [1, 2]", "");
    parse(&text(ONNXD_TOML)).expect("the examples of onnxd.toml");
    let settings = model_file(&text(EXAMPLE_MODEL_TOML)).expect("the examples of model.toml");
    assert_eq!(settings.batching.axes.len(), 3);
    assert_eq!(settings.session.tensorrt.profile_shapes.len(), 1);
}
