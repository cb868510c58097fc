//! What the server and its models say of themselves: metadata, readiness, configuration and
//! statistics.

use std::collections::BTreeMap;

use hyper::Response;
use serde::Serialize;
use serde_json::{Value, json};

use crate::batching::Device;
use crate::lifecycle::{ActiveVersion, VersionPolicy};
use crate::protocol::v2;
use crate::server::respond::{self, Failure};
use crate::server::response_body::Answer;
use crate::server::router::Target;
use crate::server::{ServerSettings, Services};
use crate::telemetry::{StatisticsSnapshot, Sum};

type Answered = Result<Response<Answer>, Failure>;

/// What the protocol calls models of this format.
const PLATFORM: &str = "onnx_onnxv1";
/// What Triton's configuration calls who runs them: what is answered can be given back with a
/// load request, here or to Triton.
const CONFIG_PLATFORM: &str = "onnxruntime_onnx";
const CONFIG_BACKEND: &str = "onnxruntime";
const MODEL_FILE: &str = "model.onnx";

/// Extensions of the protocol that are whole here.
const EXTENSIONS: [&str; 7] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
];

pub fn server(settings: &ServerSettings) -> Response<Answer> {
    // The index is always there, but a client that finds the extension will want to load.
    let controlled = settings.allow_repository_control;
    let extensions = EXTENSIONS
        .into_iter()
        .filter(|extension| controlled || *extension != "model_repository")
        .collect();
    document(&v2::ServerMetadata {
        name: "onnxd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions,
    })
}

pub fn model(services: &Services, target: &Target<'_>) -> Answered {
    let version = get(services, target)?;
    let versions = match &target.version {
        Some(_) => vec![version.number.to_string()],
        None => {
            let table = services.active.snapshot();
            let served = table.get(&*target.model).map(|model| model.versions.keys());
            served.into_iter().flatten().map(u64::to_string).collect()
        }
    };
    let signature = version.batcher.signature();
    Ok(document(&v2::ModelMetadata {
        name: version.model.clone(),
        versions,
        platform: PLATFORM.to_owned(),
        inputs: signature.inputs.iter().map(v2::TensorMetadata::from).collect(),
        outputs: signature.outputs.iter().map(v2::TensorMetadata::from).collect(),
        parameters: facts(&version),
    }))
}

pub fn model_ready(services: &Services, target: &Target<'_>) -> Answered {
    let version = get(services, target)?;
    Ok(document(&v2::ModelReady { name: version.model.clone(), ready: true }))
}

pub fn config(services: &Services, target: &Target<'_>) -> Answered {
    let version = get(services, target)?;
    Ok(document(&model_config(&version)))
}

pub fn statistics(services: &Services, target: &Target<'_>) -> Answered {
    let asked = get(services, target)?;
    if target.version.is_some() {
        return Ok(document(&v2::Statistics { model_stats: vec![version_statistics(&asked)] }));
    }
    let table = services.active.snapshot();
    let versions = table.get(&*target.model).map(|model| model.versions.values());
    let model_stats =
        versions.into_iter().flatten().map(|version| version_statistics(version)).collect();
    Ok(document(&v2::Statistics { model_stats }))
}

pub fn all_statistics(services: &Services) -> Response<Answer> {
    let table = services.active.snapshot();
    let models: BTreeMap<_, _> = table.iter().collect();
    let versions = models.values().flat_map(|model| model.versions.values());
    let model_stats = versions.map(|version| version_statistics(version)).collect();
    document(&v2::Statistics { model_stats })
}

fn get(services: &Services, target: &Target<'_>) -> Result<std::sync::Arc<ActiveVersion>, Failure> {
    Ok(services.active.get(&target.model, target.version.as_deref())?)
}

/// A document as a response.
pub fn document(value: &impl Serialize) -> Response<Answer> {
    // Plain structures with text keys: there is nothing that JSON could not hold.
    respond::json(serde_json::to_vec(value).expect("a document is JSON"))
}

/// What really runs the model, and how: beyond the protocol, for people.
fn facts(version: &ActiveVersion) -> BTreeMap<String, Value> {
    let placement = version.batcher.placement();
    let layout = version.batcher.layout();
    let nodes: serde_json::Map<String, Value> = placement
        .nodes
        .iter()
        .map(|placed| (placed.provider.clone(), json!(placed.nodes)))
        .collect();
    let mut facts = BTreeMap::from([
        ("engine", json!(placement.engine)),
        ("engine_version", json!(placement.engine_version)),
        ("device", json!(placement.device.to_string())),
        ("batching", batching(version)),
        ("max_batch_size", json!(version.batcher.max_batch_size())),
        (
            "layout",
            json!({
                "inline": layout.inline,
                "instances": layout.instances,
                "threads": layout.threads,
                "max_batch_size": layout.max_batch_size,
                "origin": layout.origin,
            }),
        ),
    ]);
    if !nodes.is_empty() {
        facts.insert("nodes", Value::Object(nodes));
    }
    if let Some(reason) = &placement.fallback_reason {
        facts.insert("fallback_reason", json!(reason));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whether requests share batches, why, and where the batch lies.
fn batching(version: &ActiveVersion) -> Value {
    let proof = version.batcher.proof();
    let signature = version.batcher.signature();
    let axes: serde_json::Map<String, Value> = signature
        .inputs
        .iter()
        .zip(&proof.axes.inputs)
        .chain(signature.outputs.iter().zip(&proof.axes.outputs))
        .filter_map(|(spec, axis)| axis.map(|axis| (spec.name.clone(), json!(axis))))
        .collect();
    let mut facts =
        json!({ "batched": proof.batched(), "reason": proof.verdict.to_string(), "axes": axes });
    if let Some(padding) = version.batcher.padding() {
        facts["padding"] = json!({ "padded": padding.padded(), "reason": padding.to_string() });
    }
    facts
}

fn model_config(version: &ActiveVersion) -> v2::ModelConfig {
    let batcher = &version.batcher;
    let settings = &version.settings.batching;
    let signature = batcher.signature();
    // The configuration can only say that the batch is the first axis of every tensor; where it
    // lies elsewhere, clients are to send whole shapes.
    let axes = &batcher.proof().axes;
    let batched = batcher.max_batch_size() > 0
        && axes.inputs.iter().chain(&axes.outputs).all(|axis| *axis == Some(0));
    let max_batch_size = if batched { batcher.max_batch_size() } else { 0 };
    let output = |spec| {
        let mut output = v2::ConfigOutput::new(spec, batched);
        if let Some(file) = version.settings.labels.get(&spec.name) {
            output.label_filename = file.display().to_string();
        }
        output
    };
    let model_file = version.settings.model_file.as_ref();
    let (kind, gpus) = match batcher.placement().device {
        Device::Cpu => ("KIND_CPU", Vec::new()),
        Device::Cuda(index) | Device::TensorRt(index) => ("KIND_GPU", vec![index as usize]),
    };
    v2::ModelConfig {
        name: version.model.clone(),
        platform: CONFIG_PLATFORM.to_owned(),
        backend: CONFIG_BACKEND.to_owned(),
        version_policy: match &version.settings.versions {
            VersionPolicy::Latest(count) => v2::VersionPolicy::Latest { num_versions: *count },
            VersionPolicy::All => v2::VersionPolicy::All {},
            VersionPolicy::Specific(versions) => {
                v2::VersionPolicy::Specific { versions: versions.clone() }
            }
        },
        max_batch_size,
        input: signature.inputs.iter().map(|spec| v2::ConfigInput::new(spec, batched)).collect(),
        output: signature.outputs.iter().map(output).collect(),
        instance_group: vec![v2::InstanceGroup {
            name: version.model.clone(),
            kind,
            count: batcher.layout().instances,
            gpus,
        }],
        default_model_filename: model_file.map_or(MODEL_FILE, String::as_str).to_owned(),
        dynamic_batching: batched.then(|| v2::DynamicBatching {
            preferred_batch_size: settings.preferred_batch_sizes.clone(),
            max_queue_delay_microseconds: settings.max_queue_delay.as_micros() as u64,
            preserve_ordering: false,
            priority_levels: settings.priority_levels,
            default_priority_level: settings.default_priority,
        }),
        parameters: BTreeMap::new(),
        model_transaction_policy: v2::ModelTransactionPolicy { decoupled: false },
        response_cache: v2::ResponseCache { enable: false },
    }
}

fn version_statistics(version: &ActiveVersion) -> v2::ModelStatistics {
    let StatisticsSnapshot {
        last_inference_ms,
        inference_count,
        execution_count,
        success,
        fail,
        queue,
        compute_input,
        compute_infer,
        compute_output,
        batches,
        memory_bytes,
        ..
    } = version.events.statistics();
    v2::ModelStatistics {
        name: version.model.clone(),
        version: version.number.to_string(),
        last_inference: last_inference_ms,
        inference_count,
        execution_count,
        inference_stats: v2::InferenceStatistics {
            success: sum(success),
            fail: sum(fail),
            queue: sum(queue),
            compute_input: sum(compute_input),
            compute_infer: sum(compute_infer),
            compute_output: sum(compute_output),
            ..v2::InferenceStatistics::default()
        },
        batch_stats: batches
            .iter()
            .map(|(&size, batch)| v2::BatchStatistics {
                batch_size: size as u64,
                compute_input: sum(batch.compute_input),
                compute_infer: sum(batch.compute_infer),
                compute_output: sum(batch.compute_output),
            })
            .collect(),
        // What the daemon measures is its own memory, which is the host's.
        memory_usage: memory_bytes
            .map(|byte_size| v2::MemoryUsage { kind: "CPU", id: 0, byte_size })
            .into_iter()
            .collect(),
        ..v2::ModelStatistics::default()
    }
}

fn sum(sum: Sum) -> v2::Duration {
    v2::Duration { count: sum.count, ns: sum.ns }
}
