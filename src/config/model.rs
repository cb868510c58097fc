//! The keys of `model.toml`, and of `[model_defaults]` in the daemon's file: the same words with
//! the same meaning, once for a model and once for all.

use std::path::{Path, PathBuf};

use super::problem::ConfigProblems;
use super::section::{Document, Section};
use super::values::{
    boolean, count, filled_list, list, milliseconds, number, or_word, parsed, path, size,
    small_count, text, timeout_milliseconds, version, word,
};
use crate::batching::{BatchAxes, BatchingMode, BatchingSettings, LayoutChoice, PaddedAxis};
use crate::engine::{
    CudaSettings, Device, DeviceChoice, EngineChoice, Precision, ProfileShape, SessionSettings,
    TensorRtSettings,
};
use crate::lifecycle::{ModelSettings, VersionPolicy, WarmUp};

/// Versions of a model that serve at once where nothing is said: the newest.
pub const DEFAULT_VERSIONS: usize = 1;
/// Where a measured layout is kept: beside the model it was measured for.
pub const DEFAULT_LAYOUT_CACHE: &str = "layout-cache.toml";

// Bounds on what may be written: far above any use, below what would hurt.
pub(super) const MOST_ROWS: usize = 65_536;
pub(super) const MOST_QUEUED: usize = 1_000_000;
pub(super) const MOST_PRIORITIES: u32 = 1_000;
pub(super) const MOST_INSTANCES: usize = 256;
pub(super) const MOST_THREADS: usize = 1_024;
pub(super) const MOST_AXES: usize = 64;
pub(super) const MOST_WARM_UP_RUNS: usize = 10_000;
pub(super) const MOST_VERSIONS: usize = 1_000;
/// Entries of any list in a model's configuration.
pub(super) const MOST_ENTRIES: usize = 1_000;
const MOST_BYTES: usize = 1 << 50;

/// What every model gets where nobody says otherwise.
pub fn standard_model_settings() -> ModelSettings {
    ModelSettings {
        model_file: None,
        engine: EngineChoice::Auto,
        session: SessionSettings {
            device: DeviceChoice::Auto,
            threads: 1,
            kernels: false,
            cuda: CudaSettings::default(),
            tensorrt: TensorRtSettings::default(),
        },
        batching: BatchingSettings {
            layout_cache: Some(PathBuf::from(DEFAULT_LAYOUT_CACHE)),
            ..BatchingSettings::standard()
        },
        versions: VersionPolicy::Latest(DEFAULT_VERSIONS),
        warm_up: Vec::new(),
        labels: Default::default(),
        warnings: Vec::new(),
    }
}

/// Whose keys a section holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All models: what names a model's own inputs and outputs has no place here.
    Defaults,
    OneModel,
}

/// The settings that the text of a `model.toml` asks for, over the daemon's defaults. Paths are
/// as written.
///
/// # Errors
/// All that is wrong with the text.
pub fn parse_model_toml(
    source: &str,
    text: &str,
    defaults: &ModelSettings,
) -> Result<ModelSettings, ConfigProblems> {
    let document = Document::new(source, text);
    let settings = document.read(|root| {
        let mut settings = defaults.clone();
        read_model(root, Scope::OneModel, &mut settings);
        settings
    });
    document.finish(settings)
}

/// Reads a model's keys from `section` into `settings`.
pub(super) fn read_model(section: &Section<'_>, scope: Scope, settings: &mut ModelSettings) {
    if scope == Scope::OneModel {
        // For all models these are said once, in the daemon's section `engine`.
        section.set("engine", &mut settings.engine, parsed::<EngineChoice>);
        section.set("device", &mut settings.session.device, parsed::<DeviceChoice>);
        if let Some(reason) = engine_fault(settings.engine, settings.session.device) {
            section.refuse("device", reason);
        }
        if let Some(file) = section.get("model_file", text) {
            settings.model_file = Some(file);
        }
        read_names(section, settings);
    }
    read_batching(section, &mut settings.batching);
    section.table("instances", |table| read_instances(table, &mut settings.batching));
    section.table("versions", |table| read_versions(table, &mut settings.versions));
    section.table("cuda", |table| read_cuda(table, &mut settings.session.cuda));
    section.table("tensorrt", |table| read_tensorrt(table, scope, &mut settings.session.tensorrt));
}

/// Why the engine cannot use the device, whatever the machine has.
pub(super) fn engine_fault(engine: EngineChoice, device: DeviceChoice) -> Option<String> {
    let accelerator = matches!(device, DeviceChoice::Named(Device::Cuda(_) | Device::TensorRt(_)));
    (engine == EngineChoice::Tract && accelerator)
        .then(|| format!("engine tract runs on the CPU only: {device} needs engine onnxruntime"))
}

fn read_batching(section: &Section<'_>, batching: &mut BatchingSettings) {
    let modes = [
        ("proven", BatchingMode::Proven),
        ("force", BatchingMode::Force),
        ("off", BatchingMode::Off),
    ];
    section.set("batching", &mut batching.mode, word(&modes));
    let rows = || count(1..=MOST_ROWS);
    section.set("max_batch_size", &mut batching.max_batch_size, or_word("auto", rows()));
    let sizes = list(MOST_ENTRIES, rows());
    section.set("preferred_batch_sizes", &mut batching.preferred_batch_sizes, sizes);
    section.set("max_queue_delay_ms", &mut batching.max_queue_delay, milliseconds);
    section.set("max_queue_size", &mut batching.max_queue_size, count(1..=MOST_QUEUED));
    section.set("default_timeout_ms", &mut batching.default_timeout, timeout_milliseconds);
    section.set("allow_timeout_override", &mut batching.allow_timeout_override, boolean);
    let levels = || small_count(0..=MOST_PRIORITIES);
    section.set("priority_levels", &mut batching.priority_levels, levels());
    section.set("default_priority", &mut batching.default_priority, levels());

    let (priority, levels) = (batching.default_priority, batching.priority_levels);
    if priority > levels {
        let reason = format!("default priority {priority} is beyond the {levels} priority_levels");
        section.refuse("default_priority", reason);
    }
    if priority == 0 {
        // A request that says nothing is the least urgent.
        batching.default_priority = levels;
    }
    let preferred = batching.preferred_batch_sizes.iter().max();
    if let (Some(&preferred), Some(most)) = (preferred, batching.max_batch_size)
        && preferred > most
    {
        let reason = format!("preferred batch size {preferred} is above max_batch_size {most}");
        section.refuse("preferred_batch_sizes", reason);
    }
}

fn read_instances(table: &Section<'_>, batching: &mut BatchingSettings) {
    table.set("count", &mut batching.instances, or_word("auto", count(1..=MOST_INSTANCES)));
    table.set("threads", &mut batching.threads, or_word("auto", count(1..=MOST_THREADS)));
    let layouts = [
        ("auto", LayoutChoice::Auto),
        ("inline", LayoutChoice::Inline),
        ("threads", LayoutChoice::Threads),
    ];
    table.set("layout", &mut batching.layout, word(&layouts));
    table.set("cache", &mut batching.layout_cache, or_word("off", path));
}

fn read_versions(table: &Section<'_>, versions: &mut VersionPolicy) {
    let newest = table.get("count", count(1..=MOST_VERSIONS));
    let numbers = table.get("numbers", filled_list(MOST_VERSIONS, version));
    let Some(policy) = table.get("policy", word(&[("latest", 0), ("all", 1), ("specific", 2)]))
    else {
        for key in ["count", "numbers"].into_iter().filter(|key| table.has(key)) {
            table.refuse(key, "is only read beside versions.policy");
        }
        return;
    };
    match (policy, newest, numbers) {
        (0, newest, None) => *versions = VersionPolicy::Latest(newest.unwrap_or(DEFAULT_VERSIONS)),
        (1, None, None) => *versions = VersionPolicy::All,
        (2, None, Some(numbers)) => *versions = VersionPolicy::Specific(numbers),
        (2, None, None) if table.has("numbers") => (),
        (2, None, None) => table.refuse("policy", "policy \"specific\" needs numbers = [...]"),
        (2, Some(_), _) | (1, Some(_), _) => {
            table.refuse("count", "count belongs to policy \"latest\"");
        }
        (_, _, Some(_)) => table.refuse("numbers", "numbers belong to policy \"specific\""),
        _ => (),
    }
}

fn read_cuda(table: &Section<'_>, cuda: &mut CudaSettings) {
    table.set("memory_limit", &mut cuda.memory_limit_bytes, or_word("none", size(1..=MOST_BYTES)));
    table.set("tf32", &mut cuda.tf32, boolean);
    table.set("cuda_graph", &mut cuda.cuda_graph, boolean);
}

fn read_tensorrt(table: &Section<'_>, scope: Scope, tensorrt: &mut TensorRtSettings) {
    let precisions = [
        ("float32", Precision::Float32),
        ("float16", Precision::Float16),
        ("int8", Precision::Int8),
    ];
    table.set("precision", &mut tensorrt.precision, word(&precisions));
    let workspace = or_word("auto", size(1..=MOST_BYTES));
    table.set("workspace", &mut tensorrt.workspace_bytes, workspace);
    table.set("engine_cache", &mut tensorrt.engine_cache, or_word("off", path));
    table.set("timing_cache", &mut tensorrt.timing_cache, or_word("off", path));
    table.set("cuda_graph", &mut tensorrt.cuda_graph, boolean);
    if scope == Scope::Defaults {
        return;
    }
    let calibration = or_word("off", path);
    table.set("int8_calibration_table", &mut tensorrt.int8_calibration_table, calibration);
    if let Some(shapes) = table.tables("profile_shapes", MOST_ENTRIES, read_profile_shape) {
        tensorrt.profile_shapes = shapes;
    }
}

fn read_profile_shape(table: &Section<'_>) -> Option<ProfileShape> {
    let shape = |key| table.require(key, "a shape such as [1, 3, 224, 224]", sizes);
    let input = table.require("input", "the name of an input", text);
    let (minimum, optimum, maximum) = (shape("minimum"), shape("optimum"), shape("maximum"));
    let profile =
        ProfileShape { input: input?, minimum: minimum?, optimum: optimum?, maximum: maximum? };
    if let Some(reason) = profile_shape_fault(&profile) {
        table.refuse("optimum", reason);
    }
    Some(profile)
}

/// Why the three shapes do not belong together.
pub(super) fn profile_shape_fault(profile: &ProfileShape) -> Option<String> {
    let (least, best, most) = (&profile.minimum, &profile.optimum, &profile.maximum);
    let same_rank = least.len() == best.len() && best.len() == most.len();
    let mut axes = least.iter().zip(best).zip(most);
    if same_rank && axes.all(|((least, best), most)| least <= best && best <= most) {
        return None;
    }
    Some(format!(
        "expected minimum <= optimum <= maximum on every axis, got {least:?}, {best:?}, {most:?}"
    ))
}

/// Sizes along each axis.
fn sizes(value: &toml::de::DeValue<'_>) -> super::values::Read<Vec<usize>> {
    list(MOST_AXES, count(0..=u32::MAX as usize))(value)
}

/// What names a model's own inputs and outputs.
fn read_names(section: &Section<'_>, settings: &mut ModelSettings) {
    let batching = &mut settings.batching;
    section.table("axes", |table| {
        for (tensor, axis) in table.each(or_word("none", count(0..=MOST_AXES - 1))) {
            batching.axes.retain(|known| known.tensor != tensor);
            batching.axes.push(BatchAxes { tensor, axis });
        }
    });
    section.table("padding", |table| {
        table.each_table(|input, axes| {
            for (axis, value) in axes.each(number) {
                match axis.parse::<usize>() {
                    Ok(axis) if axis < MOST_AXES => {
                        batching.padding.push(PaddedAxis { input: input.to_owned(), axis, value });
                    }
                    _ => axes.refuse(&axis, "expected the number of an axis, from 0"),
                }
            }
        });
    });
    if let Some(warm_up) = section.tables("warm_up", MOST_ENTRIES, read_warm_up) {
        settings.warm_up = warm_up;
    }
    section.table("sample_shapes", |table| batching.sample_shapes.extend(table.each(sizes)));
    section.table("labels", |table| settings.labels.extend(table.each(path)));
}

fn read_warm_up(table: &Section<'_>) -> Option<WarmUp> {
    let mut warm_up = WarmUp { batch_size: 1, count: 1, shapes: Default::default() };
    table.set("batch_size", &mut warm_up.batch_size, count(1..=MOST_ROWS));
    table.set("count", &mut warm_up.count, count(1..=MOST_WARM_UP_RUNS));
    table.table("shapes", |shapes| warm_up.shapes.extend(shapes.each(sizes)));
    Some(warm_up)
}

/// Resolves every relative path against the model's folder, those that come from the daemon's
/// defaults included: a cache belongs to one model.
pub(super) fn resolve_paths(settings: &mut ModelSettings, folder: &Path) {
    let tensorrt = &mut settings.session.tensorrt;
    let optional = [
        &mut settings.batching.layout_cache,
        &mut tensorrt.engine_cache,
        &mut tensorrt.timing_cache,
        &mut tensorrt.int8_calibration_table,
    ];
    let paths = optional.into_iter().flatten().chain(settings.labels.values_mut());
    for path in paths {
        // Joining an absolute path gives that path.
        *path = folder.join(&*path);
    }
}

/// Every key that `model.toml` may have, as `section.key`.
#[cfg(test)]
pub(super) fn known_model_keys(text: &str) -> std::collections::BTreeSet<String> {
    let document = Document::new("model.toml", text);
    document.read(|root| read_model(root, Scope::OneModel, &mut standard_model_settings()));
    document.asked()
}
