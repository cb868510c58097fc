//! CUDA and TensorRT: what they are asked for, and why they cannot be used.

use std::path::{Path, PathBuf};

use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch,
};
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::captured::CapturedGraphs;

use crate::engine::{
    CudaSettings, Device, DeviceChoice, EngineError, Placement, Precision, ProfileShape,
    SessionSettings, TensorRtSettings,
};

const CUDA_PROVIDER: &str = "CUDAExecutionProvider";
const TENSORRT_PROVIDER: &str = "TensorrtExecutionProvider";

/// Options of a provider: key and value, as ONNX Runtime takes them.
type Options = Vec<(&'static str, String)>;

/// What this machine and this library have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Why CUDA cannot be used, where it cannot.
    cuda: Result<(), String>,
    tensorrt: Result<(), String>,
    /// NVIDIA's driver is installed: a device may be here that the library cannot use.
    driver: bool,
}

impl Machine {
    pub fn probe(library: &Path) -> Machine {
        let driver = driver_is_there();
        let check = |built: ort::Result<bool>, name: &str, file: &str| {
            if !built.unwrap_or(false) {
                let library = library.display();
                return Err(format!(
                    "{library} was built without {name}; run `onnxd runtime install --cuda`"
                ));
            }
            let provider = library.with_file_name(file);
            if library.is_absolute() && !provider.exists() {
                return Err(format!("{} is missing", provider.display()));
            }
            if !driver {
                return Err("NVIDIA's driver is not there: libcuda.so.1 cannot be loaded".into());
            }
            Ok(())
        };
        Machine {
            cuda: check(ep::CUDA::is_available(), "CUDA", "libonnxruntime_providers_cuda.so"),
            tensorrt: check(
                ep::TensorRT::is_available(),
                "TensorRT",
                "libonnxruntime_providers_tensorrt.so",
            ),
            driver,
        }
    }
}

fn driver_is_there() -> bool {
    // SAFETY: the driver's library has no initialisers that do more than set up its tables.
    unsafe { libloading::Library::new("libcuda.so.1") }.map(std::mem::forget).is_ok()
}

/// One way to open a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub device: Device,
    /// Providers and their options, the preferred one first; the CPU is always there.
    providers: Vec<(&'static str, Options)>,
    /// Whether runs are captured as CUDA graphs.
    cuda_graph: bool,
    /// Whether another plan may be tried where the device cannot be used.
    pub may_fall_back: bool,
    pub fallback_reason: Option<String>,
}

/// The plans to try in order.
///
/// # Errors
/// A device that was asked for by name cannot be used.
pub(super) fn plans(
    settings: &SessionSettings,
    machine: &Machine,
) -> Result<Vec<Plan>, EngineError> {
    let unavailable = |device: Device, reason: &str| EngineError::DeviceUnavailable {
        device: device.to_string(),
        reason: reason.to_owned(),
    };
    let cpu = |fallback_reason| Plan {
        device: Device::Cpu,
        providers: Vec::new(),
        cuda_graph: false,
        may_fall_back: false,
        fallback_reason,
    };
    let accelerated = |device: Device, may_fall_back| Plan {
        device,
        providers: providers_of(device, settings),
        cuda_graph: match device {
            Device::Cpu => false,
            Device::Cuda(_) => settings.cuda.cuda_graph,
            Device::TensorRt(_) => settings.tensorrt.cuda_graph,
        },
        may_fall_back,
        fallback_reason: None,
    };
    match settings.device {
        DeviceChoice::Named(Device::Cpu) => Ok(vec![cpu(None)]),
        DeviceChoice::Named(device @ Device::Cuda(_)) => match &machine.cuda {
            Ok(()) => Ok(vec![accelerated(device, false)]),
            Err(reason) => Err(unavailable(device, reason)),
        },
        DeviceChoice::Named(device @ Device::TensorRt(_)) => {
            match machine.tensorrt.as_ref().and(machine.cuda.as_ref()) {
                Ok(()) => Ok(vec![accelerated(device, false)]),
                Err(reason) => Err(unavailable(device, reason)),
            }
        }
        DeviceChoice::Auto => match &machine.cuda {
            Ok(()) => Ok(vec![accelerated(Device::Cuda(0), true), cpu(None)]),
            // Without a driver there is no better device that could have been taken.
            Err(reason) if machine.driver => Ok(vec![cpu(Some(format!("cuda:0: {reason}")))]),
            Err(_) => Ok(vec![cpu(None)]),
        },
    }
}

fn providers_of(device: Device, settings: &SessionSettings) -> Vec<(&'static str, Options)> {
    match device {
        Device::Cpu => Vec::new(),
        Device::Cuda(index) => vec![(CUDA_PROVIDER, cuda_options(index, &settings.cuda))],
        // What TensorRT rejects runs on CUDA.
        Device::TensorRt(index) => vec![
            (TENSORRT_PROVIDER, tensorrt_options(index, &settings.tensorrt)),
            (CUDA_PROVIDER, cuda_options(index, &settings.cuda)),
        ],
    }
}

fn flag(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

fn cuda_options(device: u32, settings: &CudaSettings) -> Options {
    let mut options = vec![
        ("device_id", device.to_string()),
        ("use_tf32", flag(settings.tf32)),
        ("enable_cuda_graph", flag(settings.cuda_graph)),
    ];
    if let Some(limit) = settings.memory_limit_bytes {
        options.push(("gpu_mem_limit", limit.to_string()));
    }
    options
}

fn tensorrt_options(device: u32, settings: &TensorRtSettings) -> Options {
    let folder = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut options = vec![
        ("device_id", device.to_string()),
        ("trt_fp16_enable", flag(settings.precision == Precision::Float16)),
        ("trt_int8_enable", flag(settings.precision == Precision::Int8)),
        ("trt_cuda_graph_enable", flag(settings.cuda_graph)),
    ];
    if let Some(bytes) = settings.workspace_bytes {
        options.push(("trt_max_workspace_size", bytes.to_string()));
    }
    if let Some(path) = &settings.int8_calibration_table {
        options.push(("trt_int8_calibration_table_name", folder(path)));
    }
    if let Some(path) = &settings.engine_cache {
        options.push(("trt_engine_cache_enable", flag(true)));
        options.push(("trt_engine_cache_path", folder(path)));
    }
    if let Some(path) = &settings.timing_cache {
        options.push(("trt_timing_cache_enable", flag(true)));
        options.push(("trt_timing_cache_path", folder(path)));
    }
    if !settings.profile_shapes.is_empty() {
        let range = |pick: fn(&ProfileShape) -> &[usize]| {
            let shapes = settings.profile_shapes.iter().map(|shape| {
                let sizes: Vec<String> = pick(shape).iter().map(usize::to_string).collect();
                format!("{}:{}", shape.input, sizes.join("x"))
            });
            shapes.collect::<Vec<_>>().join(",")
        };
        options.push(("trt_profile_min_shapes", range(|shape| &shape.minimum)));
        options.push(("trt_profile_opt_shapes", range(|shape| &shape.optimum)));
        options.push(("trt_profile_max_shapes", range(|shape| &shape.maximum)));
    }
    options
}

fn configured<P>(options: &Options) -> ExecutionProviderDispatch
where
    P: ArbitrarilyConfigurableExecutionProvider + Default + Into<ExecutionProviderDispatch>,
{
    let set = |provider: P, (key, value): &(&'static str, String)| {
        provider.with_arbitrary_config(key, value)
    };
    options.iter().fold(P::default(), set).into()
}

impl Plan {
    /// Registers the providers; one that fails is an error, never left out in silence.
    pub fn register(&self, mut builder: SessionBuilder) -> Result<SessionBuilder, EngineError> {
        for (name, options) in &self.providers {
            let dispatch = if *name == CUDA_PROVIDER {
                configured::<ep::CUDA>(options)
            } else {
                configured::<ep::TensorRT>(options)
            };
            builder = builder
                .with_execution_providers([dispatch.error_on_failure()])
                .map_err(|error| self.unavailable(format!("{name} refused: {error}")))?;
        }
        Ok(builder)
    }

    fn unavailable(&self, reason: String) -> EngineError {
        EngineError::DeviceUnavailable { device: self.device.to_string(), reason }
    }

    /// A failure to open is the device's where a provider is behind it.
    pub fn explain(&self, error: EngineError) -> EngineError {
        let EngineError::ModelInvalid { reason, .. } = &error else { return error };
        let blamed = ["CUDA", "cuda", "CUDNN", "CUBLAS", "TensorRT", "Tensorrt", "libcu", "libnv"];
        if self.device != Device::Cpu && blamed.iter().any(|word| reason.contains(word)) {
            return self.unavailable(reason.clone());
        }
        error
    }

    /// What captured runs need, where they are asked for.
    pub fn captured_graphs(
        &self,
        session: &Session,
    ) -> Result<Option<CapturedGraphs>, EngineError> {
        let (Device::Cuda(index) | Device::TensorRt(index)) = self.device else { return Ok(None) };
        if !self.cuda_graph {
            return Ok(None);
        }
        CapturedGraphs::on_cuda(session.inner(), index)
            .map(Some)
            .map_err(|error| self.unavailable(format!("CUDA graphs: {error}")))
    }

    /// Refuses a device that took no node at all: what was asked for would not be what runs.
    pub fn check_placement(&self, placement: &Placement) -> Result<(), EngineError> {
        let Some((wanted, _)) = self.providers.first() else { return Ok(()) };
        let counted = !placement.nodes.is_empty();
        let taken = placement.nodes.iter().any(|node| node.provider == *wanted && node.nodes > 0);
        if counted && !taken {
            return Err(self.unavailable(format!("{wanted} rejected every node of the model")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cuda: Result<(), &str>, driver: bool) -> Machine {
        let reason = cuda.map_err(str::to_owned);
        Machine { cuda: reason.clone(), tensorrt: reason, driver }
    }

    fn text(options: &Options) -> String {
        let pairs: Vec<String> =
            options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(" ")
    }

    #[test]
    fn cuda_settings_become_options() {
        let plain = cuda_options(0, &CudaSettings::default());
        assert_eq!(text(&plain), "device_id=0 use_tf32=0 enable_cuda_graph=0");
        let settings =
            CudaSettings { memory_limit_bytes: Some(1 << 30), tf32: true, cuda_graph: true };
        let expected = "device_id=2 use_tf32=1 enable_cuda_graph=1 gpu_mem_limit=1073741824";
        assert_eq!(text(&cuda_options(2, &settings)), expected);
    }

    #[test]
    fn tensorrt_settings_become_options() {
        let plain = tensorrt_options(1, &TensorRtSettings::default());
        let expected = "device_id=1 trt_fp16_enable=0 trt_int8_enable=0 trt_cuda_graph_enable=0";
        assert_eq!(text(&plain), expected);
        let shape = |input: &str, sizes: [usize; 3]| ProfileShape {
            input: input.to_owned(),
            minimum: vec![sizes[0], 3],
            optimum: vec![sizes[1], 3],
            maximum: vec![sizes[2], 3],
        };
        let settings = TensorRtSettings {
            precision: Precision::Int8,
            workspace_bytes: Some(4096),
            engine_cache: Some(PathBuf::from("/cache/engines")),
            timing_cache: Some(PathBuf::from("/cache/timing")),
            int8_calibration_table: Some(PathBuf::from("table.flatbuffers")),
            cuda_graph: true,
            profile_shapes: vec![shape("x", [1, 8, 32]), shape("y", [1, 1, 2])],
        };
        let expected = "device_id=0 trt_fp16_enable=0 trt_int8_enable=1 trt_cuda_graph_enable=1 \
            trt_max_workspace_size=4096 trt_int8_calibration_table_name=table.flatbuffers \
            trt_engine_cache_enable=1 trt_engine_cache_path=/cache/engines \
            trt_timing_cache_enable=1 trt_timing_cache_path=/cache/timing \
            trt_profile_min_shapes=x:1x3,y:1x3 trt_profile_opt_shapes=x:8x3,y:1x3 \
            trt_profile_max_shapes=x:32x3,y:2x3";
        assert_eq!(text(&tensorrt_options(0, &settings)), expected);
    }

    #[test]
    fn a_named_device_that_cannot_be_used_is_refused_with_the_reason() {
        for device in [Device::Cuda(1), Device::TensorRt(0)] {
            let settings =
                SessionSettings { device: DeviceChoice::Named(device), ..SessionSettings::cpu() };
            let error = plans(&settings, &machine(Err("no driver"), false));
            assert_eq!(
                error,
                Err(EngineError::DeviceUnavailable {
                    device: device.to_string(),
                    reason: "no driver".to_owned()
                })
            );
        }
    }

    #[test]
    fn tensorrt_hands_what_it_rejects_to_cuda() {
        let device = DeviceChoice::Named(Device::TensorRt(3));
        let settings = SessionSettings { device, ..SessionSettings::cpu() };
        let plans = plans(&settings, &machine(Ok(()), true)).expect("the machine has all");
        assert_eq!(plans.len(), 1);
        let names: Vec<&str> = plans[0].providers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [TENSORRT_PROVIDER, CUDA_PROVIDER]);
        assert!(!plans[0].may_fall_back);
    }

    #[test]
    fn auto_takes_cuda_where_it_works_and_says_why_where_a_driver_is_wasted() {
        let settings = SessionSettings { device: DeviceChoice::Auto, ..SessionSettings::cpu() };
        let table = [
            (
                machine(Ok(()), true),
                vec![(Device::Cuda(0), true, None), (Device::Cpu, false, None)],
            ),
            (machine(Err("built without"), false), vec![(Device::Cpu, false, None)]),
            (
                machine(Err("built without"), true),
                vec![(Device::Cpu, false, Some("cuda:0: built without".to_owned()))],
            ),
        ];
        for (machine, expected) in table {
            let plans = plans(&settings, &machine).expect("the CPU is always there");
            let actual: Vec<_> = plans
                .into_iter()
                .map(|plan| (plan.device, plan.may_fall_back, plan.fallback_reason))
                .collect();
            assert_eq!(actual, expected);
        }
    }

    #[test]
    fn a_device_that_took_no_node_is_refused() {
        let device = DeviceChoice::Named(Device::Cuda(0));
        let settings = SessionSettings { device, ..SessionSettings::cpu() };
        let plan = plans(&settings, &machine(Ok(()), true)).expect("it has CUDA").remove(0);
        let placement = |nodes: &[(&str, usize)]| Placement {
            engine: super::super::NAME,
            engine_version: "1.32.0".to_owned(),
            device: Device::Cuda(0),
            nodes: nodes
                .iter()
                .map(|&(provider, nodes)| crate::engine::NodePlacement {
                    provider: provider.to_owned(),
                    nodes,
                })
                .collect(),
            fallback_reason: None,
        };
        assert!(plan.check_placement(&placement(&[(CUDA_PROVIDER, 1), ("x", 5)])).is_ok());
        assert!(plan.check_placement(&placement(&[])).is_ok());
        assert!(plan.check_placement(&placement(&[("CPUExecutionProvider", 5)])).is_err());
    }
}
