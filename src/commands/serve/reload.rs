//! SIGHUP: the configuration is read again. A bad one changes nothing and says why.

use crate::config::{self, Overrides, Settings};
use crate::lifecycle::ManagerHandle;
use crate::telemetry::events;
use crate::telemetry::logging::LoggingHandle;

use super::models;

/// What a reload compares with.
pub(super) struct Reload {
    /// The command line, which stays.
    overrides: Overrides,
    /// What is in force.
    settings: Settings,
    log: LoggingHandle,
}

impl Reload {
    pub fn new(overrides: Overrides, settings: Settings, log: LoggingHandle) -> Reload {
        Reload { overrides, settings, log }
    }

    /// Reads the configuration and takes up what can be changed while running: models, their
    /// settings, the log's level. Returns a line for the service manager.
    pub async fn run(&mut self, manager: &ManagerHandle) -> String {
        events::reloading();
        match self.take_up(manager).await {
            Ok(changes) => {
                events::reloaded(&changes);
                format!("configuration reloaded: {changes}")
            }
            Err(error) => {
                events::reload_refused(&error);
                "the configuration was refused, nothing changed".to_owned()
            }
        }
    }

    async fn take_up(&mut self, manager: &ManagerHandle) -> Result<String, String> {
        let settings = config::load(&self.overrides).map_err(|problems| problems.to_string())?;
        // Set first, because it can be refused and is undone without a trace.
        let level = &settings.logging.level;
        self.log.set_level(level).map_err(|error| error.to_string())?;
        let outcomes = match manager.reconfigure(models::served(&settings)).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // It was in force a moment ago, so it can be set.
                let _ = self.log.set_level(&self.settings.logging.level);
                return Err(error.to_string());
            }
        };
        for key in needs_restart(&self.settings, &settings) {
            events::warning(&format_args!("{key} has changed and needs a restart to be taken up"));
        }
        self.settings = settings;
        let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
        Ok(format!("{} models looked at, {failed} with failures", outcomes.len()))
    }
}

/// Sections that are read once, when the daemon starts.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (was, is) = (&old.loading, &new.loading);
    let sections = [
        ("[server]", old.server != new.server),
        ("[engine]", old.engine != new.engine),
        ("loading.threads", was.threads != is.threads),
        ("loading.retries", was.retry.retries != is.retry.retries),
        ("loading.retry_delay", was.retry.delay != is.retry.delay),
        ("loading.retry_delay_max", was.retry.delay_max != is.retry.delay_max),
        ("[shutdown]", old.shutdown != new.shutdown),
        ("[traces]", old.traces != new.traces),
        ("logging.format", old.logging.format != new.logging.format),
    ];
    sections.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}
