//! Promises about the files that ship, and about files, command line and folders together.

mod daemon;
mod model;
mod shipped;

use std::path::{Path, PathBuf};

use super::*;
use crate::lifecycle::{ModelSettings, NamedModel};

/// The settings of a daemon's file, beside a model that the command line names.
pub(super) fn parse(text: &str) -> Result<Settings, Vec<String>> {
    let models = vec![NamedModel { name: None, path: PathBuf::from("m") }];
    let overrides = Overrides { models, ..Overrides::default() };
    assemble(Some((Path::new("/etc/onnxd/onnxd.toml"), text)), &overrides)
        .map_err(|problems| sentences(&problems))
}

pub(super) fn sentences(problems: &ConfigProblems) -> Vec<String> {
    let short = |problem: &Problem| problem.to_string().replace("/etc/onnxd/", "");
    problems.list().iter().map(short).collect()
}

/// The settings of a model's file.
pub(super) fn model_file(text: &str) -> Result<ModelSettings, Vec<String>> {
    parse_model_toml("model.toml", text, &standard_model_settings())
        .map_err(|problems| sentences(&problems))
}

/// Words and signs that a file has, in any order.
const PIECES: &str = concat!(
    "(batching|max_batch_size|axes|padding|versions|server|models|x|\\[|\\]|=|\\.|'|\\{|\\}|,|",
    "[0-9-]{1,20}|\n|\"auto\"){0,60}"
);

proptest::proptest! {
    #[test]
    fn no_toml_panics(text in PIECES) {
        drop(parse(&text));
        drop(model_file(&text));
    }
}
