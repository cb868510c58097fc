//! The table of what serves now. Requests read it without a lock; the manager replaces it whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::ModelSettings;
use crate::batching::Batcher;
use crate::telemetry::ModelEvents;

/// A version that serves.
pub struct ActiveVersion {
    pub model: String,
    pub number: u64,
    pub batcher: Batcher,
    pub settings: Arc<ModelSettings>,
    pub events: Arc<ModelEvents>,
    /// Class labels by output name.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// Why there is nothing to answer with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("unknown model {model:?}")]
    UnknownModel { model: String },
    #[error("model {model:?} has no version {version:?}")]
    UnknownVersion { model: String, version: String },
    #[error("model {model:?} is not ready: {reason}")]
    NotReady { model: String, reason: String },
}

/// All versions of one model that serve, and what is to be said where none does.
#[derive(Clone, Default)]
pub struct ActiveModel {
    /// The version that answers where a request names none: the highest.
    pub current: Option<Arc<ActiveVersion>>,
    pub versions: BTreeMap<u64, Arc<ActiveVersion>>,
    /// Why nothing serves, where nothing does.
    pub reason: String,
    /// Versions that are on their way or failed, and why they do not serve.
    pub unready: BTreeMap<u64, String>,
    /// It should serve, and nothing of it does: it is on its way, or it failed.
    pub missing: bool,
}

/// The table.
#[derive(Default)]
pub struct ActiveModels {
    table: ArcSwap<HashMap<String, ActiveModel>>,
}

impl ActiveModels {
    /// The version that answers a request to `model`, and to `version` where it names one.
    ///
    /// # Errors
    /// No such model or version, or it does not serve now.
    pub fn get(
        &self,
        model: &str,
        version: Option<&str>,
    ) -> Result<Arc<ActiveVersion>, LookupError> {
        let table = self.table.load();
        let entry = table
            .get(model)
            .ok_or_else(|| LookupError::UnknownModel { model: model.to_owned() })?;
        let unknown_version = |version: &str| LookupError::UnknownVersion {
            model: model.to_owned(),
            version: version.to_owned(),
        };
        match version {
            None => entry.current.clone().ok_or_else(|| LookupError::NotReady {
                model: model.to_owned(),
                reason: entry.reason.clone(),
            }),
            Some(text) => {
                let number = text.parse::<u64>().map_err(|_| unknown_version(text))?;
                if let Some(version) = entry.versions.get(&number) {
                    return Ok(version.clone());
                }
                Err(match entry.unready.get(&number) {
                    Some(reason) => {
                        LookupError::NotReady { model: model.to_owned(), reason: reason.clone() }
                    }
                    None => unknown_version(text),
                })
            }
        }
    }

    /// A model that should serve and does not, and why: the first by name.
    pub fn missing(&self) -> Option<LookupError> {
        let table = self.table.load();
        let missing = table.iter().filter(|(_, entry)| entry.missing);
        let (model, entry) = missing.min_by_key(|(name, _)| *name)?;
        Some(LookupError::NotReady { model: model.clone(), reason: entry.reason.clone() })
    }

    /// A table of versions that nobody manages: what tools and tests serve from.
    pub fn of(versions: Vec<ActiveVersion>) -> ActiveModels {
        let mut table: HashMap<String, ActiveModel> = HashMap::new();
        for version in versions.into_iter().map(Arc::new) {
            let entry = table.entry(version.model.clone()).or_default();
            entry.versions.insert(version.number, version);
            entry.current = entry.versions.values().next_back().cloned();
        }
        ActiveModels { table: ArcSwap::from_pointee(table) }
    }

    /// Replaces the entries of some models at once; `None` takes one out. Only the manager calls
    /// it: two at the same time would lose one's changes.
    pub(super) fn replace(&self, changes: Vec<(String, Option<ActiveModel>)>) {
        let mut table = HashMap::clone(&self.table.load());
        for (name, entry) in changes {
            match entry {
                Some(entry) => table.insert(name, entry),
                None => table.remove(&name),
            };
        }
        self.table.store(Arc::new(table));
    }

    /// A snapshot of the whole table, for listings.
    pub fn snapshot(&self) -> Arc<HashMap<String, ActiveModel>> {
        self.table.load_full()
    }
}
