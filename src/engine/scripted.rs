//! An engine that obeys a script: what tests of the layers above run on.
//!
//! Tests decide what a run answers (or that it fails, or panics) with a closure, and when it goes
//! on with a [`Gate`]; no test needs to sleep. The engine counts what happened to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::{
    Carrying, CarryingSession, Device, Engine, EngineError, ModelSource, Placement, Replayed,
    Session, SessionSettings, Signature,
};
use crate::tensor::Tensor;

/// This engine's name in settings, logs and metrics.
pub const NAME: &str = "scripted";
const VERSION: &str = "0.0.0";

/// Where scripted models run: on the CPU, in no nodes.
pub fn placement() -> Placement {
    Placement {
        engine: NAME,
        engine_version: VERSION.to_owned(),
        device: Device::Cpu,
        nodes: Vec::new(),
        fallback_reason: None,
    }
}

/// One run, as the script sees it.
pub struct ScriptedRun<'a> {
    /// Counts the runs of all sessions, from 0.
    pub number: usize,
    pub inputs: &'a [Option<Tensor>],
    /// The outputs that are wanted: the answer has them in this order.
    pub outputs: &'a [usize],
}

/// Decides what a run answers; it may also panic.
type Script = dyn Fn(&ScriptedRun<'_>) -> Result<Vec<Tensor>, EngineError> + Send + Sync;

/// The engine. Clones share the script, the gate and all that is counted.
#[derive(Clone)]
pub struct ScriptedEngine {
    shared: Arc<Shared>,
}

struct Shared {
    signature: Arc<Signature>,
    script: Box<Script>,
    gate: Gate,
    open_error: Mutex<Option<EngineError>>,
    opened: AtomicUsize,
    live: AtomicUsize,
    runs: AtomicUsize,
    batch_sizes: Mutex<Vec<usize>>,
    run_threads: Mutex<Vec<ThreadId>>,
    drop_threads: Mutex<Vec<ThreadId>>,
}

impl ScriptedEngine {
    /// An engine whose every session has this signature and whose runs the script answers. The
    /// gate is open.
    pub fn new(
        signature: Signature,
        script: impl Fn(&ScriptedRun<'_>) -> Result<Vec<Tensor>, EngineError> + Send + Sync + 'static,
    ) -> ScriptedEngine {
        ScriptedEngine {
            shared: Arc::new(Shared {
                signature: Arc::new(signature),
                script: Box::new(script),
                gate: Gate::opened(),
                open_error: Mutex::new(None),
                opened: AtomicUsize::new(0),
                live: AtomicUsize::new(0),
                runs: AtomicUsize::new(0),
                batch_sizes: Mutex::new(Vec::new()),
                run_threads: Mutex::new(Vec::new()),
                drop_threads: Mutex::new(Vec::new()),
            }),
        }
    }

    /// An engine whose output N is input N.
    pub fn echo(signature: Signature) -> ScriptedEngine {
        ScriptedEngine::new(signature, |run| {
            let input = |&index: &usize| {
                run.inputs.get(index).cloned().flatten().ok_or_else(|| EngineError::RunFailed {
                    reason: format!("there is no input {index} to echo"),
                })
            };
            run.outputs.iter().map(input).collect()
        })
    }

    /// What every run passes before the script is asked.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// From now on opening fails so, or succeeds again.
    pub fn set_open_error(&self, error: Option<EngineError>) {
        *lock(&self.shared.open_error) = error;
    }

    /// Sessions opened so far.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Sessions that are not dropped yet.
    pub fn live(&self) -> usize {
        self.shared.live.load(Ordering::SeqCst)
    }

    /// Runs that began, those that wait at the gate included.
    pub fn runs(&self) -> usize {
        self.shared.runs.load(Ordering::SeqCst)
    }

    /// The first axis of the first input of each run, in the order they began; 1 for a scalar.
    pub fn batch_sizes(&self) -> Vec<usize> {
        lock(&self.shared.batch_sizes).clone()
    }

    /// The threads that ran sessions, one entry per run.
    pub fn run_threads(&self) -> Vec<ThreadId> {
        lock(&self.shared.run_threads).clone()
    }

    /// The threads that sessions were dropped on, one entry per session.
    pub fn drop_threads(&self) -> Vec<ThreadId> {
        lock(&self.shared.drop_threads).clone()
    }
}

impl Engine for ScriptedEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn open(
        &self,
        _source: &ModelSource,
        _settings: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        if let Some(error) = lock(&self.shared.open_error).clone() {
            return Err(error);
        }
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
        self.shared.live.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(ScriptedSession { shared, placement: placement() }))
    }
}

struct ScriptedSession {
    shared: Arc<Shared>,
    placement: Placement,
}

impl Session for ScriptedSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.shared.signature
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        let first = inputs.iter().flatten().next();
        let batch_size = first.and_then(|tensor| tensor.shape().first().copied()).unwrap_or(1);
        let number = {
            // Counted under the lock, so that the order of the sizes is that of the numbers.
            let mut batch_sizes = lock(&self.shared.batch_sizes);
            batch_sizes.push(batch_size);
            lock(&self.shared.run_threads).push(thread::current().id());
            self.shared.runs.fetch_add(1, Ordering::SeqCst)
        };
        self.shared.gate.pass();
        self.shared.signature.check_run(inputs, outputs)?;
        (self.shared.script)(&ScriptedRun { number, inputs, outputs })
    }

    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError> {
        Ok(Box::new(Replayed::new(self, carrying)))
    }
}

impl Drop for ScriptedSession {
    fn drop(&mut self) {
        lock(&self.shared.drop_threads).push(thread::current().id());
        self.shared.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Where runs wait until a test lets them go on.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    open: bool,
    /// Runs that may pass although the gate is closed.
    permits: usize,
    waiting: usize,
}

impl Gate {
    fn opened() -> Gate {
        let gate = Gate::default();
        gate.open();
        gate
    }

    /// From now on runs wait.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.open = false;
        state.permits = 0;
    }

    /// Lets everything pass, now and later.
    pub fn open(&self) {
        lock(&self.state).open = true;
        self.changed.notify_all();
    }

    /// Lets this many runs pass, which may wait already or come later.
    pub fn let_pass(&self, runs: usize) {
        lock(&self.state).permits += runs;
        self.changed.notify_all();
    }

    /// Blocks the test until this many runs wait at once.
    pub fn wait_for(&self, runs: usize) {
        let mut state = lock(&self.state);
        while state.waiting < runs {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pass(&self) {
        let mut state = lock(&self.state);
        if state.open {
            return;
        }
        state.waiting += 1;
        self.changed.notify_all();
        while !state.open && state.permits == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        if !state.open {
            state.permits -= 1;
        }
    }
}

/// A script that panics must not take what was counted with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;

    use super::*;
    use crate::tensor::{DataType, Dimension, TensorSpec};

    fn signature() -> Signature {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            data_type: DataType::Float32,
            shape: Some(vec![Dimension::Named("n".to_owned()), Dimension::Fixed(2)]),
            optional: false,
        };
        Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] }
    }

    fn open(engine: &ScriptedEngine) -> Result<Box<dyn Session>, EngineError> {
        engine.open(&ModelSource { path: PathBuf::from("any.onnx") }, &SessionSettings::cpu())
    }

    fn rows(count: usize) -> [Option<Tensor>; 1] {
        [Some(Tensor::zeros(DataType::Float32, [count, 2].as_slice().into()).expect("it fits"))]
    }

    #[test]
    fn runs_wait_at_a_closed_gate_and_are_counted() {
        let engine = ScriptedEngine::echo(signature());
        engine.gate().close();
        let mut session = open(&engine).expect("nothing forbids it");
        let worker = thread::spawn(move || session.run(&rows(3), &[0]));
        engine.gate().wait_for(1);
        assert_eq!((engine.runs(), engine.live()), (1, 1));
        engine.gate().let_pass(1);
        let thread = worker.thread().id();
        let outputs = worker.join().expect("it does not panic").expect("it echoes");
        assert_eq!(outputs, rows(3).map(|tensor| tensor.expect("it is there")));
        assert_eq!(engine.batch_sizes(), [3]);
        assert_eq!((engine.run_threads(), engine.drop_threads()), (vec![thread], vec![thread]));
        assert_eq!((engine.opened(), engine.live()), (1, 0));
    }

    #[test]
    fn scripts_may_fail_and_panic_by_number() {
        let engine = ScriptedEngine::new(signature(), |run| match run.number {
            0 => Err(EngineError::RunFailed { reason: "as told".to_owned() }),
            1 => panic!("as told"),
            _ => Ok(vec![run.inputs[0].clone().expect("x is required")]),
        });
        let mut session = open(&engine).expect("nothing forbids it");
        assert!(session.run(&rows(1), &[0]).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| session.run(&rows(1), &[0]))).is_err());
        assert!(session.run(&rows(1), &[0]).is_ok());
        assert_eq!(engine.batch_sizes(), [1, 1, 1]);
    }

    #[test]
    fn opening_fails_as_long_as_it_is_told_to() {
        let engine = ScriptedEngine::echo(signature());
        let error = EngineError::RunFailed { reason: "as told".to_owned() };
        engine.set_open_error(Some(error.clone()));
        assert_eq!(open(&engine).map(|_| ()), Err(error));
        engine.set_open_error(None);
        assert!(open(&engine).is_ok());
    }
}
