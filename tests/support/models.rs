//! Models that do what a test wants of them, without any engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use onnxd::batching::{Batcher, BatchingMode, BatchingSettings, LayoutChoice, SessionOpener};
use onnxd::engine::scripted::placement;
use onnxd::engine::{
    Carrying, CarryingSession, EngineChoice, EngineError, Placement, Replayed, Session,
    SessionSettings, Signature,
};
use onnxd::lifecycle::{ActiveVersion, ModelSettings, VersionPolicy};
use onnxd::telemetry::ModelEvents;
use onnxd::tensor::{DataType, Dimension, Tensor, TensorSpec};
use serde_json::json;

/// Holds runs back while it is closed.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    pub fn close(&self) {
        self.0.0.lock().expect("no holder panics").closed = true;
    }

    pub fn open(&self) {
        self.0.0.lock().expect("no holder panics").closed = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut state = self.0.0.lock().expect("no holder panics");
        state.waiting += 1;
        self.0.1.notify_all();
        while state.closed {
            state = self.0.1.wait(state).expect("no holder panics");
        }
        state.waiting -= 1;
    }

    /// Waits until a run is held back.
    pub fn wait_for_run(&self) {
        let mut state = self.0.0.lock().expect("no holder panics");
        while state.waiting == 0 {
            state = self.0.1.wait(state).expect("no holder panics");
        }
    }
}

/// What a model does with its input `x` of 32-bit floats and shape `[-1, 2]`.
#[derive(Clone, Copy)]
pub enum Behaviour {
    /// Gives it back twice as large, as `y`.
    Double,
    /// Gives each row as many times as this, in one longer row.
    Repeat(usize),
    Refuse,
    Fail,
    Panic,
}

struct ModelSession {
    signature: Arc<Signature>,
    placement: Placement,
    behaviour: Behaviour,
    gate: Gate,
}

impl Session for ModelSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn run(&mut self, inputs: &[Option<Tensor>], _: &[usize]) -> Result<Vec<Tensor>, EngineError> {
        self.gate.pass();
        let input = inputs[0].as_ref().expect("the input is not optional");
        let values = input.to_f32().expect("the input is of 32-bit floats");
        let rows = input.shape()[0];
        let output = match self.behaviour {
            Behaviour::Double => {
                let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
                Tensor::from_f32(&[rows, 2], &doubled)
            }
            Behaviour::Repeat(times) => {
                let repeated: Vec<f32> =
                    values.chunks(2).flat_map(|row| row.repeat(times)).collect();
                Tensor::from_f32(&[rows, 2 * times], &repeated)
            }
            Behaviour::Refuse if values.contains(&13.0) => {
                return Err(EngineError::InputsRefused { reason: "thirteen".to_owned() });
            }
            Behaviour::Fail if values.contains(&13.0) => {
                return Err(EngineError::RunFailed { reason: "thirteen".to_owned() });
            }
            Behaviour::Panic if values.contains(&13.0) => panic!("thirteen"),
            Behaviour::Refuse | Behaviour::Fail | Behaviour::Panic => {
                Tensor::from_f32(&[rows, 2], &values)
            }
        };
        Ok(vec![output.expect("the values fill the shape")])
    }

    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError> {
        Ok(Box::new(Replayed::new(self, carrying)))
    }
}

/// A model to serve.
pub struct Model {
    pub name: &'static str,
    pub version: u64,
    pub behaviour: Behaviour,
    pub gate: Gate,
    pub layout: LayoutChoice,
    pub max_queue_size: usize,
    /// Class labels of its output.
    pub labels: Vec<String>,
}

impl Model {
    pub fn new(name: &'static str, behaviour: Behaviour) -> Model {
        Model {
            name,
            version: 1,
            behaviour,
            gate: Gate::default(),
            layout: LayoutChoice::Threads,
            max_queue_size: 16,
            labels: Vec::new(),
        }
    }

    pub fn load(self) -> ActiveVersion {
        let batching = self.batching();
        let opener: SessionOpener = {
            let (behaviour, gate) = (self.behaviour, self.gate);
            Arc::new(move |_| Ok(gated_session(behaviour, gate.clone())))
        };
        let events = Arc::new(ModelEvents::new(self.name, self.version));
        let batcher = Batcher::start(opener, &batching, events.clone()).expect("the model loads");
        let labels = if self.labels.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([("y".to_owned(), self.labels)])
        };
        ActiveVersion {
            model: self.name.to_owned(),
            number: self.version,
            batcher,
            settings: Arc::new(model_settings(batching)),
            events,
            labels,
        }
    }

    /// One instance, one request per run: a request that is held back holds back all others.
    fn batching(&self) -> BatchingSettings {
        BatchingSettings {
            mode: BatchingMode::Off,
            max_batch_size: Some(1),
            layout: self.layout,
            instances: Some(1),
            threads: Some(1),
            max_queue_size: self.max_queue_size,
            ..BatchingSettings::standard()
        }
    }
}

/// A session that nothing holds back.
pub fn session(behaviour: Behaviour) -> Box<dyn Session> {
    gated_session(behaviour, Gate::default())
}

/// Settings of a model that has nothing special.
pub fn settings() -> ModelSettings {
    model_settings(Model::new("any", Behaviour::Double).batching())
}

fn gated_session(behaviour: Behaviour, gate: Gate) -> Box<dyn Session> {
    Box::new(ModelSession {
        signature: Arc::new(signature(behaviour)),
        placement: placement(),
        behaviour,
        gate,
    })
}

fn signature(behaviour: Behaviour) -> Signature {
    let width = match behaviour {
        Behaviour::Repeat(times) => 2 * times,
        _ => 2,
    };
    let spec = |name: &str, width| TensorSpec {
        name: name.to_owned(),
        data_type: DataType::Float32,
        shape: Some(vec![Dimension::Named("batch".to_owned()), Dimension::Fixed(width)]),
        optional: false,
    };
    Signature { inputs: vec![spec("x", 2)], outputs: vec![spec("y", width)] }
}

fn model_settings(batching: BatchingSettings) -> ModelSettings {
    ModelSettings {
        engine: EngineChoice::Auto,
        session: SessionSettings::cpu(),
        batching,
        versions: VersionPolicy::All,
        warm_up: Vec::new(),
        labels: BTreeMap::new(),
        model_file: None,
        warnings: Vec::new(),
    }
}

/// A JSON request with rows of two values.
pub fn request(values: &[f32]) -> String {
    let shape = [values.len() / 2, 2];
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": values }] })
        .to_string()
}

/// A request whose tensor lies behind its JSON: the header's length, and the body.
pub fn binary_request(values: &[f32]) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let header = json!({
        "id": "42",
        "inputs": [{
            "name": "x", "datatype": "FP32", "shape": [values.len() / 2, 2],
            "parameters": { "binary_data_size": bytes.len() },
        }],
        "parameters": { "binary_data_output": true },
    })
    .to_string();
    let length = header.len().to_string();
    (length, [header.into_bytes(), bytes].concat())
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let value = |chunk: &[u8]| f32::from_le_bytes(chunk.try_into().expect("four bytes"));
    bytes.chunks_exact(4).map(value).collect()
}
