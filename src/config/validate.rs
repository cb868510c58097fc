//! What only shows once all settings stand: things that do not go together, or are not enough.

use std::collections::HashSet;

use super::model::engine_fault;
use super::problem::{Problem, ProblemKind};
use super::settings::Settings;
use super::units::{format_duration, format_size};
use crate::server::{ListenAddress, ServerSettings};

/// The longest path that fits a unix socket's address, its closing zero left out.
const MOST_SOCKET_PATH_BYTES: usize = 107;

/// All that does not go together. `source` is where the settings come from, for the messages.
pub(super) fn validate(source: &str, settings: &Settings) -> Vec<Problem> {
    let refusals = [
        models(settings),
        addresses(&settings.server.listen),
        memory(&settings.server),
        engine_and_device(settings),
        shutdown(settings),
    ];
    let problem = |(key, reason): (&str, String)| Problem {
        source: source.to_owned(),
        line: None,
        key: key.to_owned(),
        kind: ProblemKind::Refused { reason },
    };
    refusals.into_iter().flatten().map(problem).collect()
}

/// Key and reason of each problem.
type Refusals = Vec<(&'static str, String)>;

fn models(settings: &Settings) -> Refusals {
    if settings.models.is_empty() && settings.repositories.is_empty() {
        let reason = "nothing to serve: name a model (--model PATH, or [[models]] in the file) or \
                      a repository (--repository DIR, or repositories = [\"DIR\"])";
        return vec![("models", reason.to_owned())];
    }
    let names = settings.models.iter().filter_map(|model| model.name.clone());
    repeated(names).map(|name| ("models", format!("two models are called {name:?}"))).collect()
}

fn addresses(listen: &[ListenAddress]) -> Refusals {
    let mut refusals = Refusals::new();
    for address in listen {
        let ListenAddress::Unix(path) = address else { continue };
        let length = path.as_os_str().len();
        if length == 0 {
            let reason = "unix: has no path: expected unix:/path".to_owned();
            refusals.push(("server.listen", reason));
        } else if length > MOST_SOCKET_PATH_BYTES {
            let reason = format!(
                "{address} is too long for a unix socket: expected at most \
                 {MOST_SOCKET_PATH_BYTES} bytes of path, got {length}"
            );
            refusals.push(("server.listen", reason));
        }
    }
    // Port 0 is another free port each time.
    let is_fixed =
        |address: &&ListenAddress| !matches!(address, ListenAddress::Tcp(at) if at.port() == 0);
    let fixed = listen.iter().filter(is_fixed).map(ToString::to_string);
    refusals.extend(
        repeated(fixed).map(|address| ("server.listen", format!("{address} is there twice"))),
    );
    refusals
}

/// A body must fit where it is the only one, as it came and decompressed.
fn memory(server: &ServerSettings) -> Refusals {
    let (body, inflight) = (server.max_body_bytes, server.max_inflight_bytes);
    if inflight >= body.saturating_mul(2) {
        return Refusals::new();
    }
    let (body, inflight) = (format_size(body), format_size(inflight));
    let reason = format!(
        "{inflight} is less than twice max_body {body}: one body may take that much, compressed \
         and decompressed"
    );
    vec![("server.max_inflight", reason)]
}

fn engine_and_device(settings: &Settings) -> Refusals {
    let device = settings.model_defaults.session.device;
    let reason = engine_fault(settings.engine.engine, device);
    reason.map(|reason| ("engine.device", reason)).into_iter().collect()
}

fn shutdown(settings: &Settings) -> Refusals {
    let (grace, deadline) = (settings.shutdown.grace, settings.shutdown.deadline);
    if grace < deadline {
        return Refusals::new();
    }
    let (grace, deadline) = (format_duration(grace), format_duration(deadline));
    vec![("shutdown.grace", format!("grace {grace} leaves nothing of the deadline {deadline}"))]
}

/// The entries that were there before.
fn repeated(entries: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut seen = HashSet::new();
    entries.filter(move |entry| !seen.insert(entry.clone()))
}
