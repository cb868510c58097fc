//! Models of the simulation: files that say what they are, run by the scripted engine, with a log
//! of all runs.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use onnxd::engine::scripted::{ScriptedEngine, ScriptedRun};
use onnxd::engine::{Engine, EngineError, ModelSource, Session, SessionSettings, Signature};
use onnxd::tensor::{DataType, Dimension, Tensor, TensorSpec};
use parking_lot::{Condvar, Mutex};

/// Values from here on are numbers of requests; what the proof makes up is smaller.
pub const FIRST_REQUEST: u32 = 1_000_000;
/// Sessions cannot be opened while there is none.
pub const NO_MEMORY: &str = "no memory";

/// What a request makes of its run; stands in each of its rows, behind its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answer,
    Refuse,
    Fail,
    Panic,
}

impl Fate {
    pub const ALL: [Fate; 4] = [Fate::Answer, Fate::Refuse, Fate::Fail, Fate::Panic];
}

/// A run with requests in it.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Each once, in the batch's order.
    pub requests: Vec<u32>,
    pub fate: Fate,
}

/// Opens files that say `answers STAMP`, and nothing else.
#[derive(Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<Held>,
    /// Notified whenever a run is let go.
    let_go: Condvar,
    log: Mutex<Vec<Ran>>,
    /// By stamp.
    engines: Mutex<BTreeMap<u32, ScriptedEngine>>,
    memory: Mutex<Memory>,
}

/// Whether sessions can be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    #[default]
    Enough,
    Short,
    /// The engine panics over it.
    ShortAndFatal,
}

/// Runs that have begun and may not go on; the proof's are not held.
#[derive(Default)]
struct Held {
    /// No run is held any more.
    ends: bool,
    /// By their first requests.
    runs: Vec<u32>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage { shared: Arc::default() }
    }

    /// First requests of the runs that are held now.
    pub fn held(&self) -> Vec<u32> {
        self.shared.held.lock().runs.clone()
    }

    /// Lets the run go on that begins with this request.
    pub fn let_go(&self, request: u32) {
        self.shared.held.lock().runs.retain(|held| *held != request);
        self.shared.let_go.notify_all();
    }

    /// From now on every run goes on.
    pub fn let_all_go(&self) {
        self.shared.held.lock().ends = true;
        self.shared.let_go.notify_all();
    }

    pub fn log(&self) -> Vec<Ran> {
        self.shared.log.lock().clone()
    }

    /// Sessions that are not freed.
    pub fn live(&self) -> usize {
        self.shared.engines.lock().values().map(ScriptedEngine::live).sum()
    }

    pub fn set_memory(&self, memory: Memory) {
        *self.shared.memory.lock() = memory;
    }

    fn engine(&self, stamp: u32) -> ScriptedEngine {
        let shared = &self.shared;
        let make = || {
            let shared = Arc::downgrade(shared);
            ScriptedEngine::new(signature(), move |run| {
                let shared = shared.upgrade();
                shared.expect("the stage outlives its engines").run(stamp, run)
            })
        };
        shared.engines.lock().entry(stamp).or_insert_with(make).clone()
    }
}

impl Shared {
    fn hold(&self, first: u32) {
        let mut held = self.held.lock();
        if held.ends {
            return;
        }
        held.runs.push(first);
        self.let_go.wait_while(&mut held, |held| !held.ends && held.runs.contains(&first));
        held.runs.retain(|run| *run != first);
    }

    /// The rows as they came, but the stamp where the fate was.
    fn run(&self, stamp: u32, run: &ScriptedRun<'_>) -> Result<Vec<Tensor>, EngineError> {
        let input = run.inputs[0].as_ref().expect("the input is not optional");
        let width = input.shape()[1];
        let mut values = input.to_f32().expect("the input is of 32-bit floats");
        let mut fate = Fate::Answer;
        let mut requests = Vec::new();
        for row in values.chunks_mut(width) {
            if row[0] >= FIRST_REQUEST as f32 {
                requests.push(row[0] as u32);
                let own = Fate::ALL[row[1] as usize];
                if fate != Fate::Panic && own != Fate::Answer {
                    fate = own;
                }
            }
            row[1] = stamp as f32;
        }
        requests.dedup();
        if let Some(&first) = requests.first() {
            // Noted before it is held: the order in which runs begin.
            self.log.lock().push(Ran { requests, fate });
            self.hold(first);
        }
        let reason = "as told".to_owned();
        match fate {
            Fate::Answer => Ok(vec![Tensor::from_f32(input.shape(), &values).expect("as it was")]),
            Fate::Refuse => Err(EngineError::InputsRefused { reason }),
            Fate::Fail => Err(EngineError::RunFailed { reason }),
            // A panic that nobody needs to read about.
            Fate::Panic => std::panic::resume_unwind(Box::new(reason)),
        }
    }
}

impl Engine for Stage {
    fn name(&self) -> &'static str {
        onnxd::engine::scripted::NAME
    }

    fn version(&self) -> &str {
        "0.0.0"
    }

    fn open(
        &self,
        source: &ModelSource,
        settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        let memory = *self.shared.memory.lock();
        match memory {
            Memory::Enough => {}
            Memory::Short => {
                return Err(EngineError::RunFailed { reason: NO_MEMORY.to_owned() });
            }
            Memory::ShortAndFatal => std::panic::resume_unwind(Box::new(NO_MEMORY)),
        }
        let path = source.path.clone();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| error.to_string());
        let text = text.trim_end();
        if text == "panics" {
            std::panic::resume_unwind(Box::new("as told"));
        }
        match text.strip_prefix("answers ").and_then(|stamp| stamp.parse().ok()) {
            Some(stamp) => self.engine(stamp).open(source, settings),
            None => Err(EngineError::ModelInvalid { path, reason: text.to_owned() }),
        }
    }
}

fn signature() -> Signature {
    let open = |name: &str| Dimension::Named(name.to_owned());
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        data_type: DataType::Float32,
        shape: Some(vec![open("batch"), open("width")]),
        optional: false,
    };
    Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] }
}
