//! tract: pure Rust, always there.
//!
//! What tract would get wrong is refused when a model is opened. One difference is left: `Max`,
//! `Min`, `Relu` and `Clip` answer a number where one of their operands is NaN, a product with a
//! constant zero is zero whatever the other factor is, and the maximum of nothing but minus
//! infinities is the lowest finite number.
//!
//! Reading order: `model` (from file to parsed graph), `functions`, `constants` and `support` (what
//! is rewritten or refused on the way), `operators` (native ones), `session` (a loaded model),
//! `plan` (what tract runs), `branches`, `value` (tensors to tract's and back), `errors`.

mod branches;
mod carrying;
mod constants;
mod errors;
mod functions;
mod model;
mod operators;
mod plan;
mod session;
#[cfg(test)]
mod standard_cases;
mod support;
mod value;

use self::model::Model;
use self::session::TractSession;
pub(super) use self::support::find_node;
use super::{
    Device, DeviceChoice, Engine, EngineError, ModelSource, NodePlacement, Placement, Session,
    SessionSettings,
};

/// This engine's name in settings, logs and metrics.
pub const NAME: &str = "tract";

/// The version of tract in `Cargo.lock`, which it does not tell at run time.
const VERSION: &str = "0.23.9";

/// The engine that is compiled in. It runs on the CPU, one thread a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn open(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        if let DeviceChoice::Named(device @ (Device::Cuda(_) | Device::TensorRt(_))) =
            settings.device
        {
            return Err(EngineError::DeviceUnavailable {
                device: device.to_string(),
                reason: "tract runs on the CPU only; ONNX Runtime is needed: \
                         run `onnxd runtime install --cuda`"
                    .to_owned(),
            });
        }
        let native_threads = settings.kernels.then_some(settings.threads.max(1));
        let model = Model::read(&source.path, native_threads)?;
        let placement = Placement {
            engine: NAME,
            engine_version: VERSION.to_owned(),
            device: Device::Cpu,
            nodes: vec![NodePlacement { provider: NAME.to_owned(), nodes: model.node_count }],
            fallback_reason: None,
        };
        Ok(Box::new(TractSession::new(&source.path, model, placement)?))
    }
}
