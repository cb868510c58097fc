//! The repository's index: every model and version, what serves, and why the rest does not.

use std::collections::BTreeMap;

use super::SettingsReader;
use super::catalog::{Catalog, Model, Version};
use super::plan::read_files;
use super::state::State;
use crate::repository::ModelPlace;

/// Reason of what lies on disk and was not asked for.
pub(super) const NOT_LOADED: &str = "not loaded";
/// Reason of what was taken out of service.
pub(super) const UNLOADED: &str = "unloaded";

/// State of one version, in the words of the model repository extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    Loading,
    Ready,
    Unloading,
    /// Not served; the reason says why.
    Unavailable,
}

/// One line of the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub model: String,
    /// `None` where the model has no version yet.
    pub version: Option<u64>,
    pub state: VersionState,
    /// Empty where there is nothing to say.
    pub reason: String,
}

/// The index of what the catalogue knows and of what else lies at `places`.
pub(super) fn index(
    catalog: &Catalog,
    places: &[ModelPlace],
    reader: &SettingsReader,
) -> Vec<IndexEntry> {
    let mut lines: BTreeMap<(String, Option<u64>), (VersionState, String)> = BTreeMap::new();
    for (name, model) in catalog.models() {
        for (number, version) in spokesmen(model) {
            lines.insert((name.clone(), Some(number)), line(model, number, version));
        }
    }
    for place in places {
        let known = catalog.get(&place.name);
        match read_files(place, reader, None) {
            Ok((_, files)) => {
                for version in files.versions {
                    let reason = known.map(|model| model.reason.clone());
                    let reason = reason.filter(|reason| !reason.is_empty());
                    lines.entry((place.name.clone(), Some(version.number))).or_insert_with(|| {
                        let reason = reason.unwrap_or_else(|| NOT_LOADED.to_owned());
                        (VersionState::Unavailable, reason)
                    });
                }
            }
            // What serves or did says more than what lies there now.
            Err(error) if known.is_none_or(|model| model.versions.is_empty()) => {
                let line = (VersionState::Unavailable, error.to_string());
                lines.insert((place.name.clone(), None), line);
            }
            Err(_) => {}
        }
    }
    for (name, model) in catalog.models() {
        let has_line = lines.keys().any(|(other, _)| other == name);
        if !has_line {
            let line = (VersionState::Unavailable, model.reason.clone());
            lines.insert((name.clone(), None), line);
        }
    }
    lines
        .into_iter()
        .map(|((model, version), (state, reason))| IndexEntry { model, version, state, reason })
        .collect()
}

/// Of each number, the generation that says most: the one that serves, else the one that is on
/// its way, else the one that goes, else the newest.
fn spokesmen(model: &Model) -> BTreeMap<u64, &Version> {
    let rank = |version: &Version| match version.state {
        State::Ready => 3,
        State::Waiting | State::Loading => 2,
        State::Unloading => 1,
        State::Failed | State::Unloaded => 0,
    };
    let mut chosen: BTreeMap<u64, &Version> = BTreeMap::new();
    for (&(number, _), version) in &model.versions {
        let current = chosen.entry(number).or_insert(version);
        if rank(version) >= rank(current) {
            *current = version;
        }
    }
    chosen
}

fn line(model: &Model, number: u64, version: &Version) -> (VersionState, String) {
    let failure = || version.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    match version.state {
        State::Waiting | State::Loading => (VersionState::Loading, failure()),
        State::Ready => {
            let failures = model.failures();
            let newer = failures.iter().find(|(failed, _)| *failed == number);
            let reason = newer.map(|(_, error)| format!("an earlier load serves: {error}"));
            (VersionState::Ready, reason.unwrap_or_default())
        }
        State::Unloading => (VersionState::Unloading, String::new()),
        State::Failed => (VersionState::Unavailable, failure()),
        State::Unloaded => (VersionState::Unavailable, UNLOADED.to_owned()),
    }
}
