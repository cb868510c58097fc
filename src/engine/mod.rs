//! The narrow waist: an engine turns a model file into a session, and a session maps tensors to
//! tensors. Nothing above this part knows which engine runs.
//!
//! Reading order: [`Engine`] and [`Session`] here, then `settings` (what a session is asked for),
//! `signature` (what it says of itself), `carrying` (sessions with a state), `error`, `choose`,
//! `warm_up` and `golden` (runs before a session is used), `operators` (native operators, which
//! engines share), and the engines: `onnxruntime` (a library loaded at run time), `tract` (pure
//! Rust, always there), `scripted` (obeys a script, for tests).

#[cfg(test)]
mod agreement;
mod carrying;
#[cfg(test)]
mod carrying_tests;
#[cfg(feature = "daemon")]
mod choose;
mod error;
mod golden;
#[cfg(feature = "daemon")]
pub mod onnxruntime;
#[cfg(feature = "daemon")]
mod operators;
#[cfg(test)]
mod real_models;
pub mod scripted;
mod settings;
mod signature;
#[cfg(feature = "daemon")]
pub mod tract;
mod warm_up;

pub use carrying::{Carry, Carrying, CarryingSession, Replayed};
#[cfg(feature = "daemon")]
pub use choose::{choose, choose_from};
pub use error::{EngineError, panic_text};
pub use golden::{GoldenFault, GoldenSample, Tolerance, check_golden};
pub use settings::{
    CudaSettings, Device, DeviceChoice, EngineChoice, EngineSettings, ModelSource, Precision,
    ProfileShape, SessionSettings, TensorRtSettings,
};
pub use signature::{NodePlacement, Placement, Signature};
pub use warm_up::{WarmUp, warm_up};

use std::sync::Arc;

use crate::tensor::Tensor;

/// Opens model files. One engine serves all models; opening may happen on any thread.
pub trait Engine: Send + Sync {
    /// `onnxruntime`, `tract` or `scripted`: the word used in settings, logs and metrics.
    fn name(&self) -> &'static str;

    /// The engine's own version, such as `1.32.0`.
    fn version(&self) -> &str;

    /// Loads a model and makes it ready to run on the device that `settings` ask for.
    ///
    /// # Errors
    /// The file cannot be read or is not a model, an operator is unknown to the engine, or a
    /// device that was asked for by name cannot be used. Never falls back from a named device.
    fn open(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError>;
}

/// A loaded model on a device. One thread at a time: `run` takes `&mut self`.
pub trait Session: Send {
    fn signature(&self) -> &Arc<Signature>;

    /// Where the session really runs.
    fn placement(&self) -> &Placement;

    /// Runs the model once.
    ///
    /// `inputs` has one entry per input of the signature, in its order; `None` leaves an optional
    /// input to its default. `outputs` are indices into the signature's outputs: only those are
    /// computed, and the answer has them in that order.
    ///
    /// # Errors
    /// The engine failed; the session stays usable.
    fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError>;

    /// Makes it a session that keeps values from one run to the next, where they are held once.
    ///
    /// # Errors
    /// There is not enough memory for them.
    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError>;
}
