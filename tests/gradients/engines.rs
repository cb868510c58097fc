//! The engines that gradients are computed on.

use std::sync::{Arc, OnceLock};

use onnxd::engine::{Engine, EngineChoice, EngineSettings, choose};

pub fn tract() -> Arc<dyn Engine> {
    choose(&EngineSettings { engine: EngineChoice::Tract, onnxruntime_library: None })
        .expect("tract is always there")
}

pub fn onnxruntime() -> Arc<dyn Engine> {
    static ENGINE: OnceLock<Arc<dyn Engine>> = OnceLock::new();
    let load = || {
        let library = Some(crate::support::onnxruntime_library().to_owned());
        choose(&EngineSettings { engine: EngineChoice::OnnxRuntime, onnxruntime_library: library })
            .expect("the library was just installed")
    };
    ENGINE.get_or_init(load).clone()
}
