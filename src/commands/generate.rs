//! `onnxd completions` and `onnxd man`.

use std::fs;

use anyhow::{Context, Result};

use super::Ending;
use super::output::print;
use crate::cli::{self, CompletionsArguments, ManArguments};

/// Prints a shell's completion script.
///
/// # Errors
/// stdout cannot be written.
pub(super) fn completions(arguments: &CompletionsArguments) -> Result<Ending> {
    print(&cli::completions(arguments.shell))?;
    Ok(Ending::Done)
}

/// Prints the program's manual page, or writes every page into a folder.
///
/// # Errors
/// The folder, or stdout, cannot be written.
pub(super) fn manual(arguments: &ManArguments) -> Result<Ending> {
    let pages = cli::manual_pages();
    let Some(folder) = &arguments.output else {
        let (_, page) = pages.first().context("the program has no page")?;
        print(page)?;
        return Ok(Ending::Done);
    };
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for (name, page) in pages {
        let path = folder.join(name);
        fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(Ending::Done)
}
