//! Triton's model configuration, `config.pbtxt` and its JSON form, read for what onnxd can honour.
//!
//! Reading order: `tree` (fields and values, as both forms have them), `tokens` and `parser`
//! (protobuf's text format), `json`, `reader` (taking fields out of the tree, keeping problems and
//! warnings), `mapping` (to [`ModelSettings`](crate::lifecycle::ModelSettings)) with `batching`
//! and `accelerators`.
//!
//! A known field of a wrong type is a problem: Triton would refuse it too. A field that onnxd
//! knows and does not honour, or does not know at all, is a warning that names it.

mod accelerators;
mod batching;
mod json;
mod mapping;
mod parser;
mod reader;
mod tokens;
mod tree;

use std::path::Path;

use super::problem::{ConfigProblems, Problem, ProblemKind};
use crate::lifecycle::ModelSettings;
use tree::{SyntaxError, Value};

/// The settings that the text of a `config.pbtxt` asks for, over the daemon's defaults.
///
/// # Errors
/// All that is wrong with the text.
pub fn parse_pbtxt(
    source: &str,
    text: &str,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let message = parser::parse(text).map_err(|error| syntax_problem(source, error))?;
    mapping::map(source, &message, defaults)
}

/// The settings that a ModelConfig in JSON asks for, over the daemon's defaults.
///
/// # Errors
/// All that is wrong with the text.
pub fn parse_json(
    source: &str,
    text: &str,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let message = json::parse(text).map_err(|error| syntax_problem(source, error))?;
    mapping::map(source, &message, defaults)
}

/// A model is called as its folder; says so where the configuration names it otherwise.
pub(super) fn name_warning(text: &str, folder: &Path) -> Option<String> {
    let message = parser::parse(text).ok()?;
    let field = message.fields.iter().find(|field| field.name == "name")?;
    let (Value::Text(name), folder) = (&field.value, folder.file_name()?.to_string_lossy()) else {
        return None;
    };
    let differs = !name.is_empty() && *name != folder;
    differs.then(|| format!("name {name:?} is not honoured: a model is called as its folder"))
}

fn syntax_problem(source: &str, error: SyntaxError) -> Problem {
    let kind = ProblemKind::Syntax { reason: error.reason };
    Problem { source: source.to_owned(), line: error.line, key: String::new(), kind }
}

#[cfg(test)]
mod tests;
