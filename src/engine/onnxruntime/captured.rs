//! Runs that are captured as CUDA graphs and replayed.
//!
//! A captured graph reads and writes the addresses that it was captured with. So every set of
//! shapes gets device memory of its own that stays: a run copies its inputs there, replays, and
//! copies the outputs back.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use ort::session::SharedSessionInner;
use ort::sys::{OrtApi, OrtRunOptions};

use super::binding::{Binding, DeviceMemory, RunOptions};
use super::copier::{Copier, CopyError};
use super::value::Value;
use crate::telemetry::events;
use crate::tensor::{DataType, Shape, Tensor};

/// Sets of shapes with a graph; more run without one. Each keeps its memory on the device.
const MAX_GRAPHS: usize = 16;

/// What a graph was captured for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    inputs: Vec<Option<Shape>>,
    outputs: Vec<usize>,
}

impl Key {
    fn of(inputs: &[Option<Tensor>], outputs: &[usize]) -> Key {
        let shape = |tensor: &Tensor| Shape::from_slice(tensor.shape());
        Key {
            inputs: inputs.iter().map(|input| input.as_ref().map(shape)).collect(),
            outputs: outputs.to_vec(),
        }
    }
}

/// One set of shapes: memory, what binds it to names, and the graph's number. Fields are dropped
/// in this order: the binding refers to the values.
struct Graph {
    key: Key,
    binding: Binding,
    options: RunOptions,
    /// As the key's inputs that are given.
    inputs: Vec<Value>,
    outputs: Vec<(Value, DataType, Shape)>,
}

/// The graphs of one session. Fields are dropped in this order: values before their allocator,
/// all before the session.
pub(super) struct CapturedGraphs {
    api: &'static OrtApi,
    graphs: Vec<Graph>,
    /// Sets of shapes that cannot be captured, as many as there are graphs at most.
    refused: Vec<Key>,
    uncaptured: RunOptions,
    memory: DeviceMemory,
    copier: Copier,
    session: Arc<SharedSessionInner>,
}

// SAFETY: ONNX Runtime's objects are not tied to a thread, and the session runs one at a time.
unsafe impl Send for CapturedGraphs {}

impl CapturedGraphs {
    /// Graphs on the CUDA device of this index.
    ///
    /// # Errors
    /// The device's memory or the CUDA runtime cannot be had.
    pub fn on_cuda(
        session: Arc<SharedSessionInner>,
        index: u32,
    ) -> Result<CapturedGraphs, CopyError> {
        CapturedGraphs::new(session, Copier::cuda()?, c"Cuda", index)
    }

    fn new(
        session: Arc<SharedSessionInner>,
        copier: Copier,
        memory_name: &CStr,
        index: u32,
    ) -> Result<CapturedGraphs, CopyError> {
        let api = ort::api();
        let memory = DeviceMemory::new(api, &session, memory_name, index)?;
        let uncaptured = RunOptions::with_graph(api, "-1")?;
        let (graphs, refused) = (Vec::new(), Vec::new());
        Ok(CapturedGraphs { api, graphs, refused, uncaptured, memory, copier, session })
    }

    /// Options of a run that neither captures nor replays.
    pub fn uncaptured(&self) -> *const OrtRunOptions {
        self.uncaptured.as_ptr()
    }

    /// Runs the graph for these shapes; `None` where there is none.
    pub fn replay(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Option<Result<Vec<Tensor>, CopyError>> {
        let key = Key::of(inputs, outputs);
        let graph = self.graphs.iter().find(|graph| graph.key == key)?;
        Some(self.run(graph, inputs))
    }

    fn run(&self, graph: &Graph, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, CopyError> {
        for (value, tensor) in graph.inputs.iter().zip(inputs.iter().flatten()) {
            self.copier.write(value, tensor)?;
        }
        self.copier.arrive()?;
        graph.binding.run(&self.session, &graph.options)?;
        let outputs = graph.outputs.iter();
        outputs
            .map(|(value, data_type, shape)| self.copier.read(value, *data_type, shape))
            .collect()
    }

    /// Makes memory for the shapes of a run that has just been, so that the next one is captured.
    /// Where that fails they are run without a graph from now on: it is no matter of the run's.
    pub fn prepare(
        &mut self,
        names: (&[CString], &[CString]),
        inputs: &[Option<Tensor>],
        outputs: &[usize],
        results: &[Tensor],
    ) {
        let is_usable = |tensor: &Tensor| tensor.bytes().is_some_and(|bytes| !bytes.is_empty());
        let usable = inputs.iter().flatten().chain(results).all(is_usable);
        let full = self.graphs.len() == MAX_GRAPHS || self.refused.len() == MAX_GRAPHS;
        if !usable || full || self.refused.contains(&Key::of(inputs, outputs)) {
            return;
        }
        let Err(error) = self.try_prepare(names, inputs, outputs, results) else { return };
        if self.refused.is_empty() {
            events::warning(&format_args!(
                "some shapes of a model cannot be captured as a CUDA graph and run without: {error}"
            ));
        }
        self.refused.push(Key::of(inputs, outputs));
    }

    fn try_prepare(
        &mut self,
        (input_names, output_names): (&[CString], &[CString]),
        inputs: &[Option<Tensor>],
        outputs: &[usize],
        results: &[Tensor],
    ) -> Result<(), CopyError> {
        let number = self.graphs.len() + 1;
        let mut graph = Graph {
            key: Key::of(inputs, outputs),
            binding: Binding::new(self.api, &self.session)?,
            options: RunOptions::with_graph(self.api, &number.to_string())?,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        // Dropped before the memory, which is the last of the graphs' fields.
        let value = |tensor: &Tensor| self.memory.value_like(tensor);
        for (name, tensor) in input_names.iter().zip(inputs) {
            let Some(tensor) = tensor else { continue };
            let value = value(tensor)?;
            graph.binding.bind_input(name, &value)?;
            graph.inputs.push(value);
        }
        for (&index, tensor) in outputs.iter().zip(results) {
            let value = value(tensor)?;
            graph.binding.bind_output(&output_names[index], &value)?;
            let shape = Shape::from_slice(tensor.shape());
            graph.outputs.push((value, tensor.data_type(), shape));
        }
        self.graphs.push(graph);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::onnxruntime::testing::test_engine;

    fn graphs(session: &ort::session::Session) -> CapturedGraphs {
        let copier = Copier::Late(std::cell::RefCell::default());
        CapturedGraphs::new(session.inner(), copier, c"Cpu", 0).expect("the host has memory")
    }

    fn open(name: &str) -> ort::session::Session {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engine");
        let builder = ort::session::Session::builder(test_engine().environment());
        builder.expect("a builder").commit_from_file(folder.join(name)).expect("it opens")
    }

    fn row(value: f32, rows: usize) -> Option<Tensor> {
        Some(Tensor::from_f32(&[rows, 3], &vec![value; rows * 3]).expect("the values fit"))
    }

    #[test]
    fn shapes_are_bound_once_and_later_runs_see_their_own_inputs() {
        let session = open("two_outputs.onnx");
        let mut graphs = graphs(&session);
        let names = [c"a".to_owned(), c"b".to_owned()];
        let outputs = [c"sum".to_owned(), c"product".to_owned()];
        let first = [row(2.0, 1), row(5.0, 1)];
        assert!(graphs.replay(&first, &[1, 0]).is_none(), "nothing is prepared yet");
        let results = [row(10.0, 1), row(7.0, 1)].map(|tensor| tensor.expect("it is there"));
        graphs.prepare((&names, &outputs), &first, &[1, 0], &results);
        for (a, b) in [(2.0, 5.0), (3.0, 4.0), (1.0, -1.0)] {
            let answers = graphs.replay(&[row(a, 1), row(b, 1)], &[1, 0]).expect("it is bound");
            let answers = answers.expect("it runs");
            assert_eq!(answers[0].to_f32(), Some(vec![a * b; 3]));
            assert_eq!(answers[1].to_f32(), Some(vec![a + b; 3]));
        }
        assert!(graphs.replay(&[row(1.0, 2), row(1.0, 2)], &[1, 0]).is_none(), "another shape");
        assert!(graphs.replay(&first, &[0]).is_none(), "other outputs");
    }

    #[test]
    fn shapes_that_cannot_be_bound_run_without_a_graph_and_are_not_tried_again() {
        let session = open("two_outputs.onnx");
        let mut graphs = graphs(&session);
        let names = [c"a".to_owned(), c"b".to_owned()];
        let outputs = [c"sum".to_owned(), c"product".to_owned()];
        let mut prepare = |rows: usize, names: &[CString]| {
            let inputs = [row(1.0, rows), row(1.0, rows)];
            let result = [row(2.0, rows).expect("it is there")];
            graphs.prepare((names, &outputs), &inputs, &[0], &result);
            graphs.replay(&inputs, &[0]).is_some()
        };
        assert!(!prepare(1, &[c"a".to_owned(), c"stranger".to_owned()]));
        assert!(!prepare(1, &names), "it is not tried again");
        assert!(prepare(2, &names), "others are");
    }

    #[test]
    fn strings_empties_and_too_many_shapes_run_without_a_graph() {
        let session = open("two_outputs.onnx");
        let mut graphs = graphs(&session);
        let names = [c"a".to_owned(), c"b".to_owned()];
        let outputs = [c"sum".to_owned(), c"product".to_owned()];
        let mut prepare = |rows: usize| {
            let inputs = [row(1.0, rows), row(1.0, rows)];
            let result = [row(2.0, rows).expect("it is there")];
            graphs.prepare((&names, &outputs), &inputs, &[0], &result);
            graphs.replay(&inputs, &[0]).is_some()
        };
        assert!(!prepare(0), "there is nothing to bind");
        for rows in 1..=MAX_GRAPHS {
            assert!(prepare(rows), "{rows}");
        }
        assert!(!prepare(MAX_GRAPHS + 1));
    }
}
