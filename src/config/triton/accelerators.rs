//! `instance_group` and `optimization`: how many instances, on which device, with what options.

use std::path::PathBuf;

use super::super::model::{MOST_AXES, MOST_INSTANCES, profile_shape_fault};
use super::reader::Fields;
use crate::engine::{Device, DeviceChoice, Precision, ProfileShape, TensorRtSettings};
use crate::lifecycle::ModelSettings;

/// Where Triton's ONNX Runtime keeps caches that are on without a path: beside the model.
const DEFAULT_CACHE: &str = "tensorrt-cache";
const MOST_DEVICES: i64 = 1_024;

pub(super) fn map(root: &Fields<'_>, settings: &mut ModelSettings) {
    map_instances(root, settings);
    let Some(optimization) = root.message("optimization") else { return };
    let graph_level = "the graph is always optimised in full";
    optimization.ignore("graph", graph_level);
    optimization.ignore("priority", "models share the machine as its scheduler decides");
    let pinned = "the engine decides about pinned memory";
    optimization.ignore("input_pinned_memory", pinned);
    optimization.ignore("output_pinned_memory", pinned);
    optimization.ignore("gather_kernel_buffer_threshold", "batches are joined on the CPU");
    optimization.ignore_if_true("eager_batching", "a batch is joined when an instance is free");
    if let Some(cuda) = optimization.message("cuda") {
        if let Some(graphs) = cuda.boolean("graphs") {
            settings.session.cuda.cuda_graph = graphs;
        }
        cuda.ignore_if_true("busy_wait_events", "the engine waits as it does");
        cuda.ignore("graph_spec", "a graph is captured for the shape that is run");
        cuda.ignore_if_true("output_copy_stream", "the engine chooses its streams");
    }
    if let Some(accelerators) = optimization.message("execution_accelerators") {
        for accelerator in accelerators.messages("gpu_execution_accelerator") {
            map_accelerator(&accelerator, settings);
        }
        let cpu = "the CPU runs without other providers";
        accelerators.ignore("cpu_execution_accelerator", cpu);
    }
}

fn map_instances(root: &Fields<'_>, settings: &mut ModelSettings) {
    let groups = root.messages("instance_group");
    for (index, group) in groups.iter().enumerate() {
        map_instance_group(group, index == 0, settings);
    }
    if groups.len() > 1 {
        root.warn("instance_group", "only the first group counts: a model runs on one device");
    }
}

fn map_instance_group(group: &Fields<'_>, counts: bool, settings: &mut ModelSettings) {
    group.text("name");
    group.ignore("rate_limiter", "instances take from the queue as they become free");
    group.ignore("secondary_devices", "a model runs on one device");
    group.ignore("profile", "the engine chooses its optimisation profile");
    group.ignore_if_true("passive", "every instance takes requests");
    group.ignore("host_policy", "threads are placed by the system's scheduler");
    let count = group.count("count", MOST_INSTANCES);
    let kind = group.choice("kind", &["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"]);
    let gpus = group.integers("gpus", 0..=MOST_DEVICES);
    if !counts {
        return;
    }
    if let Some(count) = count.filter(|count| *count > 0) {
        settings.batching.instances = Some(count);
    }
    let first = gpus.first().and_then(|index| u32::try_from(*index).ok());
    match (kind, first) {
        (Some("KIND_CPU"), _) => settings.session.device = DeviceChoice::Named(Device::Cpu),
        (Some("KIND_GPU"), index) => {
            settings.session.device = DeviceChoice::Named(Device::Cuda(index.unwrap_or(0)));
        }
        // A list of devices without a kind means these devices.
        (None | Some("KIND_AUTO"), Some(index)) => {
            settings.session.device = DeviceChoice::Named(Device::Cuda(index));
        }
        _ => (),
    }
    if gpus.len() > 1 {
        group.warn("gpus", "a model runs on one device, the first of the list");
    }
}

fn map_accelerator(accelerator: &Fields<'_>, settings: &mut ModelSettings) {
    let name = accelerator.text("name").unwrap_or_default();
    match name.as_str() {
        "tensorrt" => {
            settings.session.device = match settings.session.device {
                DeviceChoice::Named(Device::Cuda(index) | Device::TensorRt(index)) => {
                    DeviceChoice::Named(Device::TensorRt(index))
                }
                DeviceChoice::Auto => DeviceChoice::Named(Device::TensorRt(0)),
                cpu @ DeviceChoice::Named(Device::Cpu) => {
                    accelerator.warn("name", "tensorrt needs a GPU, the model runs on the CPU");
                    cpu
                }
            };
            map_tensorrt(accelerator, &mut settings.session.tensorrt);
        }
        "cuda" => {
            for (key, value) in accelerator.texts_by_key("parameters") {
                map_cuda_option(accelerator, &key, &value, settings);
            }
        }
        other => accelerator.warn("name", &format!("no accelerator is called {other:?}")),
    }
    // Of an accelerator that is not honoured the parameters are not either.
    accelerator.has("parameters");
}

fn map_cuda_option(accelerator: &Fields<'_>, key: &str, value: &str, settings: &mut ModelSettings) {
    let cuda = &mut settings.session.cuda;
    match (key, switch(value), value.parse::<usize>()) {
        ("use_tf32", Some(on), _) => cuda.tf32 = on,
        ("enable_cuda_graph", Some(on), _) => cuda.cuda_graph = on,
        ("gpu_mem_limit", _, Ok(bytes)) => cuda.memory_limit_bytes = Some(bytes),
        ("use_tf32" | "enable_cuda_graph" | "gpu_mem_limit", ..) => {
            wrong_option(accelerator, key, value);
        }
        _ => accelerator.warn(&format!("parameters.{key}"), "no such option here"),
    }
}

fn map_tensorrt(accelerator: &Fields<'_>, tensorrt: &mut TensorRtSettings) {
    let mut shapes = [Shapes::new(), Shapes::new(), Shapes::new()];
    let (mut engine, mut timing) = (Cache::default(), Cache::default());
    for (key, value) in accelerator.texts_by_key("parameters") {
        let path = || PathBuf::from(&value);
        let fine = match key.as_str() {
            "precision_mode" => {
                precision(&value).map(|precision| tensorrt.precision = precision).is_some()
            }
            "max_workspace_size_bytes" => {
                value.parse().map(|bytes| tensorrt.workspace_bytes = Some(bytes)).is_ok()
            }
            "int8_calibration_table_name" => {
                tensorrt.int8_calibration_table = Some(path());
                !value.is_empty()
            }
            "trt_engine_cache_enable" => engine.switch(&value),
            "trt_engine_cache_path" => engine.locate(&value),
            "trt_timing_cache_enable" => timing.switch(&value),
            "trt_timing_cache_path" => timing.locate(&value),
            "trt_cuda_graph_enable" => switch(&value).map(|on| tensorrt.cuda_graph = on).is_some(),
            "trt_profile_min_shapes" => read_shapes(&value, &mut shapes[0]),
            "trt_profile_opt_shapes" => read_shapes(&value, &mut shapes[1]),
            "trt_profile_max_shapes" => read_shapes(&value, &mut shapes[2]),
            _ => {
                accelerator.warn(&format!("parameters.{key}"), "no such option here");
                true
            }
        };
        if !fine {
            wrong_option(accelerator, &key, &value);
        }
    }
    engine.put(&mut tensorrt.engine_cache);
    timing.put(&mut tensorrt.timing_cache);
    match profile_shapes(shapes) {
        Ok(profiles) if profiles.is_empty() => (),
        Ok(profiles) => tensorrt.profile_shapes = profiles,
        Err(reason) => accelerator.refuse("parameters", reason),
    }
}

fn wrong_option(accelerator: &Fields<'_>, key: &str, value: &str) {
    accelerator.refuse("parameters", format!("{key} cannot be {value:?}"));
}

/// A cache's two options: on or off, and where.
#[derive(Default)]
struct Cache {
    enabled: Option<bool>,
    path: Option<PathBuf>,
}

impl Cache {
    fn switch(&mut self, value: &str) -> bool {
        self.enabled = switch(value);
        self.enabled.is_some()
    }

    fn locate(&mut self, value: &str) -> bool {
        self.path = Some(PathBuf::from(value));
        !value.is_empty()
    }

    /// As in Triton, a path alone turns nothing on.
    fn put(self, place: &mut Option<PathBuf>) {
        match self.enabled {
            Some(true) => *place = Some(self.path.unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE))),
            Some(false) => *place = None,
            None => (),
        }
    }
}

fn precision(value: &str) -> Option<Precision> {
    match value {
        "FP32" => Some(Precision::Float32),
        "FP16" => Some(Precision::Float16),
        "INT8" => Some(Precision::Int8),
        _ => None,
    }
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "1" | "true" | "True" => Some(true),
        "0" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Input and sizes.
type Shapes = Vec<(String, Vec<usize>)>;

/// Reads `input:1x3x224x224,other:1x8`; false where that is not the form.
fn read_shapes(value: &str, shapes: &mut Shapes) -> bool {
    for entry in value.split(',') {
        // An input's name may hold a colon itself; its sizes never do.
        let Some((input, sizes)) = entry.rsplit_once(':') else { return false };
        let sizes: Result<Vec<usize>, _> = sizes.split('x').map(str::parse).collect();
        match sizes {
            Ok(sizes) if sizes.len() <= MOST_AXES => shapes.push((input.to_owned(), sizes)),
            _ => return false,
        }
    }
    true
}

/// The three lists joined by input.
fn profile_shapes([minimum, optimum, maximum]: [Shapes; 3]) -> Result<Vec<ProfileShape>, String> {
    let find = |shapes: &Shapes, input: &str, which: &str| {
        let found = shapes.iter().find(|(name, _)| name == input);
        found
            .map(|(_, sizes)| sizes.clone())
            .ok_or_else(|| format!("trt_profile_{which}_shapes has no shape for input {input:?}"))
    };
    let mut inputs: Vec<&String> = Vec::new();
    for (input, _) in minimum.iter().chain(&optimum).chain(&maximum) {
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    let profile = |input: &String| {
        let profile = ProfileShape {
            input: input.clone(),
            minimum: find(&minimum, input, "min")?,
            optimum: find(&optimum, input, "opt")?,
            maximum: find(&maximum, input, "max")?,
        };
        match profile_shape_fault(&profile) {
            Some(reason) => Err(format!("input {input:?}: {reason}")),
            None => Ok(profile),
        }
    };
    inputs.into_iter().map(profile).collect()
}
