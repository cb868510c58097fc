//! What a session is asked for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which engine to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// ONNX Runtime where its library is found, else tract.
    #[default]
    Auto,
    OnnxRuntime,
    Tract,
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<EngineChoice, String> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "onnxruntime" => Ok(EngineChoice::OnnxRuntime),
            "tract" => Ok(EngineChoice::Tract),
            other => Err(format!("unknown engine {other:?}: expected auto, onnxruntime or tract")),
        }
    }
}

/// A device that a session runs on, or is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    Cpu,
    /// CUDA on the device of this index.
    Cuda(u32),
    /// TensorRT on the CUDA device of this index; what it rejects runs on CUDA, then CPU.
    TensorRt(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => formatter.write_str("cpu"),
            Device::Cuda(index) => write!(formatter, "cuda:{index}"),
            Device::TensorRt(index) => write!(formatter, "tensorrt:{index}"),
        }
    }
}

/// Which device to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// CUDA where it works, else the CPU; what really runs is said in log, metadata and metric.
    #[default]
    Auto,
    /// This one, or a refusal to start that says why.
    Named(Device),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        let expected = || {
            format!(
                "unknown device {text:?}: expected auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N"
            )
        };
        let (kind, index) = match text.split_once(':') {
            None => (text, None),
            Some((kind, index)) => (kind, Some(index.parse::<u32>().map_err(|_| expected())?)),
        };
        match (kind, index) {
            ("auto", None) => Ok(DeviceChoice::Auto),
            ("cpu", None) => Ok(DeviceChoice::Named(Device::Cpu)),
            ("cuda", index) => Ok(DeviceChoice::Named(Device::Cuda(index.unwrap_or(0)))),
            ("tensorrt", index) => Ok(DeviceChoice::Named(Device::TensorRt(index.unwrap_or(0)))),
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => formatter.write_str("auto"),
            DeviceChoice::Named(device) => device.fmt(formatter),
        }
    }
}

/// Settings of the engines themselves, one set per process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EngineSettings {
    pub engine: EngineChoice,
    /// Where ONNX Runtime's library is (`--onnxruntime`, `engine.onnxruntime.library`); `None`
    /// searches the places that `onnxd runtime show` lists.
    pub onnxruntime_library: Option<PathBuf>,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// The `.onnx` file; external data is looked for beside it.
    pub path: PathBuf,
}

/// What a session is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    pub device: DeviceChoice,
    /// Threads that one run may use on the CPU; at least 1.
    pub threads: usize,
    /// Run native kernels in place of the bodies of functions of the domain `onnxd`. Whoever sets
    /// it vouches that the floats in their calls have 32 bits: a call that a kernel does not fit
    /// is refused, and never falls back to its body.
    pub kernels: bool,
    pub cuda: CudaSettings,
    pub tensorrt: TensorRtSettings,
}

impl SessionSettings {
    /// One CPU thread, no kernels, no accelerator: what tests and tools start from.
    pub fn cpu() -> SessionSettings {
        SessionSettings {
            device: DeviceChoice::Named(Device::Cpu),
            threads: 1,
            kernels: false,
            cuda: CudaSettings::default(),
            tensorrt: TensorRtSettings::default(),
        }
    }
}

/// Options of ONNX Runtime's CUDA execution provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CudaSettings {
    /// Limit of the provider's memory arena; `None` is the device's memory.
    pub memory_limit_bytes: Option<usize>,
    /// TensorFloat-32 in matrix products and convolutions: faster, 10 bits of mantissa.
    pub tf32: bool,
    /// Capture a run as a CUDA graph and replay it; needs fixed shapes.
    pub cuda_graph: bool,
}

/// Arithmetic that TensorRT may use where it is faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    Float32,
    Float16,
    Int8,
}

/// Range of shapes that TensorRT builds an input's engine for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileShape {
    pub input: String,
    pub minimum: Vec<usize>,
    pub optimum: Vec<usize>,
    pub maximum: Vec<usize>,
}

/// Options of ONNX Runtime's TensorRT execution provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorRtSettings {
    pub precision: Precision,
    /// Memory that TensorRT may use while it builds.
    pub workspace_bytes: Option<usize>,
    /// Where built engines are kept between starts.
    pub engine_cache: Option<PathBuf>,
    /// Where kernel timings are kept between starts.
    pub timing_cache: Option<PathBuf>,
    pub int8_calibration_table: Option<PathBuf>,
    pub cuda_graph: bool,
    pub profile_shapes: Vec<ProfileShape>,
}
