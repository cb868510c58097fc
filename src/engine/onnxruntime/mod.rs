//! ONNX Runtime through a library that is loaded at run time.
//!
//! Reading order: `search` (where the library is looked for), `library` (whether it is usable),
//! `load` (once per process), `operators` (native ones), `session` (a loaded model), `value`
//! (tensors to and from ONNX Runtime), `binding` and `copier` (values that stay on a device),
//! `captured` (CUDA graphs), `carrying` (a session with a state), `signature`,
//! `providers` (CUDA and TensorRT), `placement` (which provider took which nodes), `errors` (its
//! messages to ours).

mod binding;
mod captured;
mod carrying;
mod copier;
mod errors;
pub mod library;
mod load;
mod operators;
mod placement;
mod providers;
pub mod search;
mod session;
mod signature;
#[cfg(test)]
pub mod testing;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::session::Session as OrtSession;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};

use self::errors::open_error;
use self::load::{Loaded, load};
use self::providers::Plan;
use self::search::Search;
use super::{Engine, EngineError, ModelSource, Placement, Session, SessionSettings};

/// This engine's name in settings, logs and metrics.
pub const NAME: &str = "onnxruntime";

/// ONNX Runtime, loaded.
pub struct OnnxRuntime {
    loaded: Loaded,
}

impl OnnxRuntime {
    /// Loads the library that a search found.
    ///
    /// # Errors
    /// None was found, or it cannot be used.
    pub fn load(search: &Search) -> Result<OnnxRuntime, EngineError> {
        Ok(OnnxRuntime { loaded: load(search)? })
    }

    #[cfg(test)]
    fn environment(&self) -> &ort::environment::Environment {
        &self.loaded.environment
    }

    fn open_with(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
        plan: &Plan,
    ) -> Result<Box<dyn Session>, EngineError> {
        let path = &source.path;
        let mut builder = self.builder(settings).map_err(|error| open_error(path, &error))?;
        builder = plan.register(builder)?;
        // `ort` panics at types that its bindings do not list; such a model is only unsupported.
        let session = catch_unwind(AssertUnwindSafe(|| builder.commit_from_file(path)))
            .map_err(|_| EngineError::ModelInvalid {
                path: path.clone(),
                reason: "it has inputs or outputs of types that are not known".to_owned(),
            })?
            .map_err(|error| plan.explain(open_error(path, &error)))?;
        let signature = signature::signature_of(path, &session)?;
        let placement = Placement {
            engine: NAME,
            engine_version: self.loaded.version.clone(),
            device: plan.device,
            nodes: placement::nodes_by_provider(&session),
            fallback_reason: plan.fallback_reason.clone(),
        };
        plan.check_placement(&placement)?;
        let graphs = plan.captured_graphs(&session)?;
        let session = session::OnnxSession::new(session.inner(), signature, placement, graphs)
            .map_err(|error| open_error(path, &error))?;
        Ok(Box::new(session))
    }

    fn builder(&self, settings: &SessionSettings) -> Result<SessionBuilder, ort::Error> {
        let mut builder = OrtSession::builder(&self.loaded.environment)?
            // Only what is asked for by name: no provider is to be found "automatically".
            .with_auto_device(AutoDevicePolicy::PreferCPU)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(settings.threads.max(1))?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            // A thread that spins between two operators takes the processor from another
            // instance, or from the network thread.
            .with_config_entry("session.intra_op.allow_spinning", "0")?
            .with_config_entry("session.inter_op.allow_spinning", "0")?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
        if settings.kernels {
            builder = builder.with_operators(operators::domain(settings.threads.max(1))?)?;
        }
        Ok(builder)
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.loaded.version
    }

    fn open(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        let readable = std::fs::File::open(&source.path);
        if let Err(error) = readable {
            let reason = error.to_string();
            return Err(EngineError::ModelUnreadable { path: source.path.clone(), reason });
        }
        let machine = providers::Machine::probe(&self.loaded.path);
        let mut refused: Option<String> = None;
        for mut plan in providers::plans(settings, &machine)? {
            if plan.fallback_reason.is_none() {
                plan.fallback_reason = refused.take();
            }
            match self.open_with(source, settings, &plan) {
                Err(EngineError::DeviceUnavailable { device, reason }) if plan.may_fall_back => {
                    refused = Some(format!("{device}: {reason}"));
                }
                result => return result,
            }
        }
        unreachable!("the last plan never falls back: the loop returns there")
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::testing::test_engine;
    use super::*;
    use crate::engine::{Device, DeviceChoice, NodePlacement};

    fn source(name: &str) -> ModelSource {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine");
        ModelSource { path: folder.join(name) }
    }

    #[test]
    fn nodes_are_counted_by_provider() {
        let engine = test_engine();
        let session = engine.open(&source("opset7.onnx"), &SessionSettings::cpu()).expect("opens");
        let placement = session.placement();
        assert_eq!((placement.engine, placement.device), ("onnxruntime", Device::Cpu));
        assert_eq!(placement.engine_version, engine.version());
        let [NodePlacement { provider, nodes }] = placement.nodes.as_slice() else {
            panic!("{:?}", placement.nodes);
        };
        assert_eq!(provider, "CPUExecutionProvider");
        assert!((1..=3).contains(nodes), "{nodes}");
    }

    #[test]
    fn a_named_device_without_its_provider_is_refused() {
        let settings = SessionSettings {
            device: DeviceChoice::Named(Device::Cuda(0)),
            ..SessionSettings::cpu()
        };
        let error = test_engine().open(&source("opset7.onnx"), &settings).map(|_| ());
        let Err(EngineError::DeviceUnavailable { device, .. }) = error else {
            // A machine with a CUDA build and a device may open it.
            assert_eq!(error, Ok(()));
            return;
        };
        assert_eq!(device, "cuda:0");
    }

    #[test]
    fn automatic_device_choice_opens_everywhere() {
        let settings = SessionSettings { device: DeviceChoice::Auto, ..SessionSettings::cpu() };
        assert!(test_engine().open(&source("opset7.onnx"), &settings).is_ok());
    }

    #[test]
    fn another_library_in_the_same_process_is_refused() {
        let engine = test_engine();
        let copy = tempfile::tempdir().expect("a temporary folder");
        let path: PathBuf = copy.path().join("libonnxruntime.so");
        std::os::unix::fs::symlink(testing::test_library(), &path).expect("writable");
        let search = search::search(Some(&path));
        let error = OnnxRuntime::load(&search).map(|_| ()).expect_err("one is loaded already");
        assert!(error.to_string().contains("already runs ONNX Runtime"), "{error}");
        assert!(!engine.version().is_empty());
    }
}
