//! From Triton's ModelConfig to a model's settings.

use std::path::PathBuf;

use super::super::model::{
    DEFAULT_VERSIONS, MOST_AXES, MOST_ROWS, MOST_THREADS, MOST_VERSIONS, MOST_WARM_UP_RUNS,
};
use super::super::problem::ConfigProblems;
use super::reader::{Fields, Notes};
use super::tree::Message;
use super::{accelerators, batching};
use crate::lifecycle::{ModelSettings, VersionPolicy, WarmUp};

const DATA_TYPES: [&str; 15] = [
    "TYPE_INVALID",
    "TYPE_BOOL",
    "TYPE_UINT8",
    "TYPE_UINT16",
    "TYPE_UINT32",
    "TYPE_UINT64",
    "TYPE_INT8",
    "TYPE_INT16",
    "TYPE_INT32",
    "TYPE_INT64",
    "TYPE_FP16",
    "TYPE_FP32",
    "TYPE_FP64",
    "TYPE_STRING",
    "TYPE_BF16",
];

/// The settings that a configuration asks for, over the daemon's defaults.
pub(super) fn map(
    source: &str,
    message: &Message,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let notes = Notes::new(source);
    let mut settings = defaults.clone();
    {
        let root = Fields::new(&notes, message, String::new());
        map_kind(&root);
        if let Some(file) = root.text("default_model_filename").filter(|file| !file.is_empty()) {
            settings.model_file = Some(file);
        }
        map_tensors(&root, &mut settings);
        batching::map(&root, &mut settings.batching);
        accelerators::map(&root, &mut settings);
        if let Some(policy) = root.message("version_policy") {
            map_versions(&policy, &mut settings.versions);
        }
        let samples = root.messages("model_warmup");
        if !samples.is_empty() {
            settings.warm_up = samples.iter().map(map_warm_up).collect();
        }
        map_parameters(&root, &mut settings);
        ignore_the_rest(&root);
    }
    let (problems, warnings) = notes.into_parts();
    settings.warnings.extend(warnings);
    ConfigProblems::none_or(problems, settings)
}

/// Refuses what is no single ONNX model. The name is a matter of the folder.
fn map_kind(root: &Fields<'_>) {
    root.text("name");
    // Triton's word, and the protocol's or our own.
    let kinds =
        [("platform", "onnxruntime_onnx", "onnx_onnxv1"), ("backend", "onnxruntime", "onnxd")];
    for (field, expected, other) in kinds {
        match root.text(field) {
            Some(kind) if !kind.is_empty() && kind != expected && kind != other => {
                root.refuse(field, format!("{kind:?} cannot be served: expected {expected:?}"));
            }
            _ => (),
        }
    }
    if root.has("ensemble_scheduling") {
        let reason = "ensembles cannot be served: expected a single ONNX model";
        root.refuse("ensemble_scheduling", reason);
    }
}

/// Inputs and outputs. Names, types and shapes are the model file's own: what the configuration
/// repeats of them is only checked for form. The sizes serve as those of the samples at load.
fn map_tensors(root: &Fields<'_>, settings: &mut ModelSettings) {
    let reshaped = "requests and responses have the model's own shapes";
    for input in root.messages("input") {
        let (name, dims) = map_tensor(&input);
        // Sizes that the model leaves open and the configuration does not: worth trying.
        let sizes: Option<Vec<usize>> =
            dims.into_iter().map(|size| usize::try_from(size).ok()).collect();
        if let (Some(name), Some(sizes), false) = (name, sizes, input.has("reshape"))
            && !sizes.is_empty()
        {
            settings.batching.sample_shapes.insert(name, sizes);
        }
        input.ignore("reshape", reshaped);
        let formats = ["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"];
        if input.choice("format", &formats).is_some_and(|format| format != "FORMAT_NONE") {
            input.warn("format", "the order of axes is the model's own");
        }
        input.ignore_if_true("allow_ragged_batch", "requests of unlike shapes are batched apart");
        let optional = "an input may be left out where the model has a default for it";
        input.ignore_if_true("optional", optional);
    }
    for output in root.messages("output") {
        let (name, _) = map_tensor(&output);
        output.ignore("reshape", reshaped);
        if let (Some(name), Some(file)) = (name, output.text("label_filename"))
            && !file.is_empty()
        {
            settings.labels.insert(name, PathBuf::from(file));
        }
    }
}

/// What inputs and outputs have in common; gives name and sizes, -1 where one is open.
fn map_tensor(tensor: &Fields<'_>) -> (Option<String>, Vec<i64>) {
    tensor.choice("data_type", &DATA_TYPES);
    let dims = tensor.integers("dims", -1..=i64::from(u32::MAX));
    tensor.ignore_if_true("is_shape_tensor", "the model file says what its tensors are");
    tensor.ignore_if_true("is_non_linear_format_io", "tensors are row-major");
    (tensor.text("name").filter(|name| !name.is_empty()), dims)
}

fn map_versions(policy: &Fields<'_>, versions: &mut VersionPolicy) {
    if let Some(latest) = policy.message("latest") {
        let number = latest.count("num_versions", MOST_VERSIONS);
        // Unset is zero in protobuf, and means one.
        let number = number.filter(|number| *number > 0).unwrap_or(DEFAULT_VERSIONS);
        *versions = VersionPolicy::Latest(number);
    }
    if policy.message("all").is_some() {
        *versions = VersionPolicy::All;
    }
    if let Some(specific) = policy.message("specific") {
        let numbers = specific.integers("versions", 1..=i64::MAX);
        if numbers.is_empty() {
            policy.refuse("specific", "names no version: expected versions: [ 1, ... ]");
        }
        let numbers = numbers.into_iter().filter_map(|number| u64::try_from(number).ok());
        *versions = VersionPolicy::Specific(numbers.collect());
    }
}

fn map_warm_up(sample: &Fields<'_>) -> WarmUp {
    sample.text("name");
    let at_least_one = |number: Option<usize>| number.unwrap_or(1).max(1);
    let mut warm_up = WarmUp {
        batch_size: at_least_one(sample.count("batch_size", MOST_ROWS)),
        count: at_least_one(sample.count("count", MOST_WARM_UP_RUNS)),
        shapes: Default::default(),
    };
    for (input, tensor) in sample.messages_by_key("inputs") {
        tensor.choice("data_type", &DATA_TYPES);
        tensor.boolean("zero_data");
        tensor.ignore_if_true("random_data", "warm-up runs on zeros");
        tensor.ignore("input_data_file", "warm-up runs on zeros");
        let sizes = tensor.integers("dims", 0..=i64::from(u32::MAX));
        let sizes: Vec<usize> =
            sizes.into_iter().filter_map(|size| usize::try_from(size).ok()).collect();
        if sizes.len() > MOST_AXES {
            tensor.refuse("dims", format!("expected at most {MOST_AXES} sizes"));
        }
        warm_up.shapes.insert(input, sizes);
    }
    warm_up
}

/// Options of Triton's ONNX Runtime backend.
fn map_parameters(root: &Fields<'_>, settings: &mut ModelSettings) {
    for (key, value) in root.texts_by_key("parameters") {
        let name = format!("parameters.{key}");
        match key.as_str() {
            "intra_op_thread_count" => match value.trim().parse::<usize>() {
                // Zero lets the engine choose; here the measurement at load does.
                Ok(0) => settings.batching.threads = None,
                Ok(threads) if threads <= MOST_THREADS => settings.batching.threads = Some(threads),
                _ => root.refuse(
                    "parameters",
                    format!(
                        "{key}: expected a whole number from 0 to {MOST_THREADS}, got {value:?}"
                    ),
                ),
            },
            "gpu_mem_limit" => match value.trim().parse::<usize>() {
                Ok(bytes) => settings.session.cuda.memory_limit_bytes = Some(bytes),
                Err(_) => root.refuse(
                    "parameters",
                    format!("{key}: expected a number of bytes, got {value:?}"),
                ),
            },
            _ => root.warn(&name, "no such option here"),
        }
    }
}

/// Fields that are known and have no place here.
fn ignore_the_rest(root: &Fields<'_>) {
    let table = [
        ("runtime", "the engine is chosen by --engine"),
        ("batch_input", "batches hold the requests' own tensors only"),
        ("batch_output", "outputs are split by rows"),
        ("sequence_batching", "requests of one sequence are not kept together"),
        ("cc_model_filenames", "one file serves on every device"),
        ("metric_tags", "metrics carry model and version only"),
        ("model_operations", "no operator libraries are loaded"),
        ("model_repository_agents", "no agents are run"),
        ("model_metrics", "histograms have fixed buckets"),
    ];
    for (field, why) in table {
        root.ignore(field, why);
    }
    if let Some(policy) = root.message("model_transaction_policy") {
        policy.ignore_if_true("decoupled", "a request gets one response");
    }
    if let Some(cache) = root.message("response_cache") {
        cache.ignore_if_true("enable", "responses are not cached");
    }
}
