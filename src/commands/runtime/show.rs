//! Where ONNX Runtime is looked for, and what is there.

use anyhow::{Context, Result};
use serde::Serialize;

use super::super::output::print;
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
    print(text(&survey(settings.onnxruntime_library.as_deref()), json)?.as_bytes())
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::onnxruntime::search::Place;

    fn looked(place: Place, path: Option<&str>, finding: Finding) -> Looked {
        Looked { place, path: path.map(PathBuf::from), finding }
    }

    fn search() -> Search {
        let usable = |version: &str| Finding::Usable { version: version.to_owned() };
        Search {
            looked: vec![
                looked(Place::Named, None, Finding::Unset),
                looked(Place::Installed, Some("/data/1.32.0/lib.so"), usable("1.32.0")),
                looked(Place::LoaderPath, Some("lib.so"), usable("1.30.0")),
            ],
        }
    }

    #[test]
    fn the_library_in_use_is_marked() {
        let text = text(&search(), false).expect("it is text");
        let expected = "  --onnxruntime: not set\n\
            * onnxd runtime install (/data/1.32.0/lib.so): ONNX Runtime 1.32.0\n  \
            the system's loader path (lib.so): ONNX Runtime 1.30.0\n";
        assert_eq!(text, expected);
        assert!(self::text(&Search::default(), false).expect("text").contains("no usable library"));
    }

    #[test]
    fn json_has_a_row_per_place() {
        let text = text(&search(), true).expect("it is text");
        let rows: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(rows[0]["found"], "unset");
        assert_eq!(rows[1]["version"], "1.32.0");
        assert_eq!((&rows[1]["used"], &rows[2]["used"]), (&true.into(), &false.into()));
    }
}
