//! TensorFlow Serving's interface.

use std::borrow::Cow;

use hyper::Response;

use super::infer::{self, Protocol};
use super::metadata::document;
use crate::lifecycle::{IndexEntry, LookupError, ManageError, VersionState};
use crate::protocol::v1;
use crate::server::Services;
use crate::server::respond::Failure;
use crate::server::response_body::Answer;
use crate::server::router::{Target, V1Target, V1Version};
use crate::server::service::Call;

type Answered = Result<Response<Answer>, Failure>;

pub async fn predict(call: Call<'_>, target: V1Target<'_>) -> Answered {
    let target = resolve(target)?;
    infer::infer(call, &target, Protocol::V1).await
}

pub fn metadata(services: &Services, target: V1Target<'_>) -> Answered {
    let target = resolve(target)?;
    let version = services.active.get(&target.model, target.version.as_deref())?;
    let signature = version.batcher.signature();
    Ok(document(&v1::SignatureMetadata::new(
        &version.model,
        version.number,
        &signature.inputs,
        &signature.outputs,
    )))
}

pub async fn status(services: &Services, target: V1Target<'_>) -> Answered {
    let Target { model, version } = resolve(target)?;
    let index = match services.manager.index().await {
        // What still serves is in the table.
        Err(ManageError::Stopping) => Vec::new(),
        index => index?,
    };
    let mut statuses: Vec<_> = index
        .iter()
        .filter(|entry| entry.model == model)
        .filter_map(|entry| entry.version.map(|number| (number, version_status(number, entry))))
        .collect();
    if statuses.is_empty() {
        // Nobody manages what serves, or no longer.
        let table = services.active.snapshot();
        let versions = table.get(&*model).map(|model| model.versions.keys());
        let serving = |number| {
            (number, v1::ModelVersionStatus::new(number, v1::VersionState::Available, None))
        };
        statuses.extend(versions.into_iter().flatten().copied().map(serving));
    }
    if statuses.is_empty() {
        return Err(LookupError::UnknownModel { model: model.into_owned() }.into());
    }
    if let Some(version) = version {
        statuses.retain(|(number, _)| number.to_string() == version);
        if statuses.is_empty() {
            let (model, version) = (model.into_owned(), version.into_owned());
            return Err(LookupError::UnknownVersion { model, version }.into());
        }
    }
    let model_version_status = statuses.into_iter().map(|(_, status)| status).collect();
    Ok(document(&v1::ModelStatus { model_version_status }))
}

/// The version that a path means. Labels are known to nobody yet, so none is found.
fn resolve(target: V1Target<'_>) -> Result<Target<'_>, Failure> {
    let V1Target { model, version } = target;
    let version: Option<Cow<'_, str>> = match version {
        V1Version::Current => None,
        V1Version::Number(number) => Some(number),
        V1Version::Label(label) => {
            let (model, label) = (model.into_owned(), label.into_owned());
            return Err(Failure::UnknownLabel { model, label });
        }
    };
    Ok(Target { model, version })
}

fn version_status(number: u64, entry: &IndexEntry) -> v1::ModelVersionStatus {
    let state = match entry.state {
        VersionState::Loading => v1::VersionState::Loading,
        VersionState::Ready => v1::VersionState::Available,
        VersionState::Unloading => v1::VersionState::Unloading,
        VersionState::Unavailable => v1::VersionState::End,
    };
    let error = Some(entry.reason.as_str()).filter(|reason| !reason.is_empty());
    v1::ModelVersionStatus::new(number, state, error)
}
