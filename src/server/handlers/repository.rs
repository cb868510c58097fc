//! The model repository: what there is, load, unload.

use bytes::Bytes;
use hyper::Response;

use super::metadata::document;
use crate::lifecycle::{IndexEntry, LoadOverrides, VersionState};
use crate::protocol::v2::{self, decode_index, decode_load, decode_unload};
use crate::server::respond::{self, Failure};
use crate::server::response_body::Answer;
use crate::server::service::Call;

type Answered = Result<Response<Answer>, Failure>;

pub async fn index(call: Call<'_>) -> Answered {
    let shared = &call.connection.thread.shared;
    let body = call.body.read(shared.body_limits()).await?;
    let asked = decode_index(&body.bytes)?;
    let entries = shared.services.manager.index().await?;
    let wanted = |entry: &IndexEntry| !asked.ready || entry.state == VersionState::Ready;
    let entries: Vec<v2::IndexEntry> = entries.into_iter().filter(wanted).map(entry).collect();
    Ok(document(&entries))
}

pub async fn load(call: Call<'_>, model: &str) -> Answered {
    let shared = &call.connection.thread.shared;
    check_allowed(&call)?;
    let mut body = call.body.read(shared.body_limits()).await?;
    let v2::LoadRequest { config, files } = decode_load(&body.bytes)?;
    // The files have copies; the room that is held for the body is theirs from now on.
    body.bytes = Bytes::new();
    shared.services.manager.load(model, LoadOverrides { config, files }).await?;
    Ok(respond::empty())
}

pub async fn unload(call: Call<'_>, model: &str) -> Answered {
    let shared = &call.connection.thread.shared;
    check_allowed(&call)?;
    let body = call.body.read(shared.body_limits()).await?;
    decode_unload(&body.bytes)?;
    shared.services.manager.unload(model).await?;
    Ok(respond::empty())
}

fn check_allowed(call: &Call<'_>) -> Result<(), Failure> {
    let allowed = call.connection.thread.shared.settings.allow_repository_control;
    if allowed { Ok(()) } else { Err(Failure::ControlNotAllowed) }
}

fn entry(entry: IndexEntry) -> v2::IndexEntry {
    v2::IndexEntry {
        name: entry.model,
        version: entry.version.map(|version| version.to_string()),
        state: match entry.state {
            VersionState::Loading => v2::ModelState::Loading,
            VersionState::Ready => v2::ModelState::Ready,
            VersionState::Unloading => v2::ModelState::Unloading,
            VersionState::Unavailable => v2::ModelState::Unavailable,
        },
        reason: entry.reason,
    }
}
