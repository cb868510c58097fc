//! Where ONNX Runtime is looked for, and what is there.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::engine::EngineSettings;
use crate::engine::onnxruntime::search::{Finding, Looked, Search, survey};

/// A place as `--json` shows it.
#[derive(Serialize)]
struct Row {
    place: String,
    path: Option<String>,
    found: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether the daemon would use this one.
    used: bool,
}

/// Prints each place in the order of the search, and what was found there.
///
/// # Errors
/// stdout cannot be written.
pub fn show(settings: &EngineSettings, json: bool) -> Result<()> {
    print!("{}", text(&survey(settings.onnxruntime_library.as_deref()), json)?);
    Ok(())
}

fn text(search: &Search, json: bool) -> Result<String> {
    let used = search.used();
    let looked = search.looked.iter().enumerate();
    if json {
        let rows: Vec<Row> =
            looked.map(|(index, looked)| row(looked, used == Some(index))).collect();
        let text = serde_json::to_string_pretty(&rows).context("writing JSON")?;
        return Ok(text + "\n");
    }
    let lines = looked.map(|(index, row)| {
        let mark = if used == Some(index) { "*" } else { " " };
        format!("{mark} {row}\n")
    });
    let mut text: String = lines.collect();
    if used.is_none() {
        text += "no usable library: `onnxd runtime install` gets one; until then tract serves\n";
    }
    Ok(text)
}

fn row(looked: &Looked, used: bool) -> Row {
    let (found, version, reason) = match &looked.finding {
        Finding::Unset => ("unset", None, None),
        Finding::Absent => ("absent", None, None),
        Finding::Unusable { reason } => ("unusable", None, Some(reason.clone())),
        Finding::Usable { version } => ("usable", Some(version.clone()), None),
    };
    Row {
        place: looked.place.to_string(),
        path: looked.path.as_ref().map(|path| path.display().to_string()),
        found,
        version,
        reason,
        used,
    }
}
