//! A model that ONNX Runtime has loaded.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::SharedSessionInner;
use ort::sys::{OrtApi, OrtRunOptions, OrtValue};
use smallvec::SmallVec;

use super::captured::CapturedGraphs;
use super::carrying::{OnnxCarrying, Opened, is_fixed};
use super::copier::CopyError;
use super::errors::run_error;
use super::value::{CpuMemory, LentTensor, check, take_output};
use crate::engine::{
    Carrying, CarryingSession, EngineError, Placement, Replayed, Session, Signature,
};
use crate::tensor::Tensor;

/// Inputs and outputs that fit without a heap allocation.
const FEW: usize = 6;

/// A loaded model. Names are C strings from the start: a run prepares nothing that a run before
/// it could have prepared.
pub(super) struct OnnxSession {
    api: &'static OrtApi,
    session: Arc<SharedSessionInner>,
    signature: Arc<Signature>,
    placement: Placement,
    memory: CpuMemory,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    /// Where runs are captured and replayed.
    graphs: Option<CapturedGraphs>,
}

// SAFETY: ONNX Runtime's objects are not tied to a thread; `&mut self` keeps runs apart.
unsafe impl Send for OnnxSession {}

impl OnnxSession {
    pub fn new(
        session: Arc<SharedSessionInner>,
        signature: Signature,
        placement: Placement,
        graphs: Option<CapturedGraphs>,
    ) -> Result<OnnxSession, ort::Error> {
        let api = ort::api();
        let c_name = |name: &String| CString::new(name.as_str()).map_err(ort::Error::from);
        let input_names = signature.inputs.iter().map(|spec| c_name(&spec.name));
        let output_names = signature.outputs.iter().map(|spec| c_name(&spec.name));
        Ok(OnnxSession {
            api,
            session,
            placement,
            graphs,
            memory: CpuMemory::new(api)?,
            input_names: input_names.collect::<Result<_, _>>()?,
            output_names: output_names.collect::<Result<_, _>>()?,
            signature: Arc::new(signature),
        })
    }
}

impl Session for OnnxSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        self.signature.check_run(inputs, outputs)?;
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let Some(mut graphs) = self.graphs.take() else {
            return self.run_plain(inputs, outputs, ptr::null());
        };
        let result = self.run_captured(&mut graphs, inputs, outputs);
        self.graphs = Some(graphs);
        result
    }

    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError> {
        if !is_fixed(&self.signature, &carrying) {
            return Ok(Box::new(Replayed::new(self, carrying)));
        }
        let opened = Opened {
            session: &self.session,
            signature: &self.signature,
            input_names: &self.input_names,
            output_names: &self.output_names,
            device: self.placement.device,
            captured: self.graphs.is_some(),
        };
        match OnnxCarrying::new(&opened, &carrying) {
            Ok(session) => Ok(Box::new(session)),
            Err(error) => Err(EngineError::RunFailed { reason: error.to_string() }),
        }
    }
}

impl OnnxSession {
    /// Replays the graph captured for these shapes; a first run of them is an ordinary one, which
    /// says what shapes the outputs have.
    fn run_captured(
        &self,
        graphs: &mut CapturedGraphs,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        let failed = |error: CopyError| EngineError::RunFailed { reason: error.to_string() };
        if let Some(result) = graphs.replay(inputs, outputs) {
            return result.map_err(failed);
        }
        let results = self.run_plain(inputs, outputs, graphs.uncaptured())?;
        let names = (self.input_names.as_slice(), self.output_names.as_slice());
        graphs.prepare(names, inputs, outputs, &results);
        Ok(results)
    }

    fn run_plain(
        &self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
        options: *const OrtRunOptions,
    ) -> Result<Vec<Tensor>, EngineError> {
        let mut names: SmallVec<[*const c_char; FEW]> = SmallVec::new();
        let mut lent: SmallVec<[LentTensor; FEW]> = SmallVec::new();
        for (name, tensor) in self.input_names.iter().zip(inputs) {
            if let Some(tensor) = tensor {
                names.push(name.as_ptr());
                lent.push(
                    LentTensor::new(self.api, &self.memory, tensor)
                        .map_err(|error| run_error(&error))?,
                );
            }
        }
        let values: SmallVec<[*const OrtValue; FEW]> =
            lent.iter().map(LentTensor::as_ptr).collect();
        let wanted: SmallVec<[*const c_char; FEW]> =
            outputs.iter().map(|&index| self.output_names[index].as_ptr()).collect();
        let mut results: SmallVec<[*mut OrtValue; FEW]> =
            SmallVec::from_elem(ptr::null_mut(), outputs.len());
        // SAFETY: names, values and results are as long as their counts say and live through the
        // call; the session is ours and `&mut self` keeps every other run away.
        let status = unsafe {
            (self.api.Run)(
                self.session.ptr().cast_mut(),
                options,
                names.as_ptr(),
                values.as_ptr(),
                values.len(),
                wanted.as_ptr(),
                wanted.len(),
                results.as_mut_ptr(),
            )
        };
        check(status).map_err(|error| run_error(&error))?;
        // Every value is taken over before any error is returned, so that none leaks.
        let taken: SmallVec<[_; FEW]> = results
            .iter()
            .map(|&pointer| take_output(self.api, pointer, &lent, &self.session))
            .collect();
        let mut tensors = Vec::with_capacity(outputs.len());
        for (tensor, &index) in taken.into_iter().zip(outputs) {
            let name = &self.signature.outputs[index].name;
            tensors.push(tensor.map_err(|error| EngineError::RunFailed {
                reason: format!("output {name:?}: {error}"),
            })?);
        }
        Ok(tensors)
    }
}
