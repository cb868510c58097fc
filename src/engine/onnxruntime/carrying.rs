//! A session whose state stays on its device: inputs and outputs have memory of their own, which is
//! bound once.
//!
//! What may be replaced in place has one piece of memory, which is input and output; all else that
//! is carried has two, which change places after every run.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use ort::session::SharedSessionInner;

use super::binding::{Binding, DeviceMemory, RunOptions};
use super::copier::{Copier, CopyError};
use super::value::Value;
use crate::engine::carrying::check_state;
use crate::engine::{Carrying, CarryingSession, Device, EngineError, Signature};
use crate::tensor::{DataType, Dimension, Shape, Tensor, TensorSpec};

/// A value whose type and shape never change.
struct Fixed {
    value: Value,
    data_type: DataType,
    shape: Shape,
}

/// A value that is carried: where it is now, and where the next run puts it, if that is elsewhere.
struct Carried {
    values: [Option<Fixed>; 2],
}

/// What is bound in runs of one parity.
struct Turn {
    binding: Binding,
    options: RunOptions,
}

/// Fields are dropped in this order: bindings refer to values, values to their memory, and all of
/// it to the session.
pub(super) struct OnnxCarrying {
    /// One where all is replaced in place, else two, which take turns.
    turns: Vec<Turn>,
    /// The turn of the next run.
    turn: usize,
    /// By index of the signature; `None` for what is carried.
    inputs: Vec<Option<Fixed>>,
    carried: Vec<Carried>,
    reported: Vec<Fixed>,
    signature: Arc<Signature>,
    carrying: Carrying,
    copier: Copier,
    _memory: DeviceMemory,
    session: Arc<SharedSessionInner>,
}

// SAFETY: ONNX Runtime's objects are not tied to a thread; `&mut self` keeps runs apart.
unsafe impl Send for OnnxCarrying {}

/// Whether all that such a session would bind is of a size that is known before it runs.
pub(super) fn is_fixed(signature: &Signature, carrying: &Carrying) -> bool {
    let is_fixed = |spec: &TensorSpec| {
        spec.data_type != DataType::String && !spec.optional && shape_of(spec).is_some()
    };
    let reported = carrying.reported.iter().map(|&index| &signature.outputs[index]);
    signature.inputs.iter().chain(reported).all(is_fixed)
}

fn shape_of(spec: &TensorSpec) -> Option<Shape> {
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Named(_) | Dimension::Unknown => None,
    };
    spec.shape.as_ref()?.iter().map(size).collect()
}

/// What is known of an open session.
pub(super) struct Opened<'a> {
    pub session: &'a Arc<SharedSessionInner>,
    pub signature: &'a Arc<Signature>,
    pub input_names: &'a [CString],
    pub output_names: &'a [CString],
    pub device: Device,
    /// Whether runs are to be captured as CUDA graphs.
    pub captured: bool,
}

impl OnnxCarrying {
    /// Binds everything; `carrying` is fixed.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(opened: &Opened<'_>, carrying: &Carrying) -> Result<OnnxCarrying, CopyError> {
        let (api, session) = (ort::api(), Arc::clone(opened.session));
        let (copier, name, index): (_, &CStr, _) = match opened.device {
            Device::Cpu => (Copier::Host, c"Cpu", 0),
            Device::Cuda(index) | Device::TensorRt(index) => (Copier::cuda()?, c"Cuda", index),
        };
        let memory = DeviceMemory::new(api, &session, name, index)?;
        let fixed = |data_type: DataType, shape: Shape| -> Result<Fixed, CopyError> {
            let value = memory.value(data_type, &shape)?;
            Ok(Fixed { value, data_type, shape })
        };
        let of_spec = |spec: &TensorSpec| {
            fixed(spec.data_type, shape_of(spec).expect("asked before: the shape is fixed"))
        };
        let mut inputs = Vec::new();
        for (index, spec) in opened.signature.inputs.iter().enumerate() {
            let is_carried = carrying.carried.iter().any(|carry| carry.input == index);
            inputs.push((!is_carried).then(|| of_spec(spec)).transpose()?);
        }
        let mut carried = Vec::new();
        for (carry, tensor) in carrying.carried.iter().zip(&carrying.initial) {
            let own = || fixed(tensor.data_type(), Shape::from_slice(tensor.shape()));
            let first = own()?;
            copier.write(&first.value, tensor)?;
            let second = (!carry.in_place).then(own).transpose()?;
            carried.push(Carried { values: [Some(first), second] });
        }
        copier.arrive()?;
        let reported = carrying.reported.iter();
        let reported = reported.map(|&index| of_spec(&opened.signature.outputs[index]));
        let mut carrying_session = OnnxCarrying {
            turns: Vec::new(),
            turn: 0,
            inputs,
            reported: reported.collect::<Result<_, _>>()?,
            signature: Arc::clone(opened.signature),
            carrying: Carrying { initial: Vec::new(), ..carrying.clone() },
            carried,
            copier,
            _memory: memory,
            session,
        };
        let turns = if carrying.carried.iter().all(|carry| carry.in_place) { 1 } else { 2 };
        for turn in 0..turns {
            let turn = carrying_session.bind(opened, turn)?;
            carrying_session.turns.push(turn);
        }
        Ok(carrying_session)
    }

    fn bind(&self, opened: &Opened<'_>, turn: usize) -> Result<Turn, CopyError> {
        let (api, carrying) = (ort::api(), &self.carrying);
        let binding = Binding::new(api, &self.session)?;
        for (name, input) in opened.input_names.iter().zip(&self.inputs) {
            if let Some(input) = input {
                binding.bind_input(name, &input.value)?;
            }
        }
        for (carry, carried) in carrying.carried.iter().zip(&self.carried) {
            let name = &opened.input_names[carry.input];
            binding.bind_input(name, &carried.at(turn).value)?;
            let name = &opened.output_names[carry.output];
            binding.bind_output(name, &carried.at(turn + 1).value)?;
        }
        for (&index, reported) in carrying.reported.iter().zip(&self.reported) {
            binding.bind_output(&opened.output_names[index], &reported.value)?;
        }
        let options = match opened.captured {
            true => RunOptions::with_graph(api, &(turn + 1).to_string())?,
            false => RunOptions::new(api)?,
        };
        Ok(Turn { binding, options })
    }

    fn read(&self, fixed: &Fixed) -> Result<Tensor, CopyError> {
        self.copier.read(&fixed.value, fixed.data_type, &fixed.shape)
    }

    fn try_run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, CopyError> {
        for (fixed, tensor) in self.inputs.iter().zip(inputs) {
            if let (Some(fixed), Some(tensor)) = (fixed, tensor) {
                self.copier.write(&fixed.value, tensor)?;
            }
        }
        self.copier.arrive()?;
        let Turn { binding, options } = &self.turns[self.turn];
        binding.run(&self.session, options)?;
        self.turn = (self.turn + 1) % self.turns.len();
        self.reported.iter().map(|fixed| self.read(fixed)).collect()
    }
}

impl Carried {
    /// Where the value is before the run of that turn.
    fn at(&self, turn: usize) -> &Fixed {
        let [first, second] = &self.values;
        let place = if turn.is_multiple_of(2) { first } else { second };
        place.as_ref().or(first.as_ref()).expect("the first is always there")
    }
}

fn failed(error: &CopyError) -> EngineError {
    EngineError::RunFailed { reason: error.to_string() }
}

impl CarryingSession for OnnxCarrying {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError> {
        self.carrying.check_inputs(&self.signature, inputs)?;
        self.try_run(inputs).map_err(|error| failed(&error))
    }

    fn state(&self, range: Range<usize>) -> Result<Vec<Tensor>, EngineError> {
        let values = self.carried[range].iter().map(|carried| self.read(carried.at(self.turn)));
        values.collect::<Result<_, _>>().map_err(|error| failed(&error))
    }

    fn set_state(&mut self, state: &[Tensor]) -> Result<(), EngineError> {
        let shapes = self.carried.iter().map(|carried| carried.at(self.turn));
        check_state(state, shapes.map(|fixed| (fixed.data_type, &fixed.shape[..])))?;
        let write = || {
            for (carried, tensor) in self.carried.iter().zip(state) {
                self.copier.write(&carried.at(self.turn).value, tensor)?;
            }
            self.copier.arrive()
        };
        write().map_err(|error| failed(&error))
    }
}
