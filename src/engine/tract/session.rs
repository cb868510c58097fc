//! A model that tract runs: a plan per set of input shapes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::{
    InferenceFact, InferenceModelExt, IntoRunnable, TVec, TypedRunnableModel,
};

use super::model::Model;
use super::value::{datum_type_of, from_tract, to_tract};
use crate::engine::{EngineError, Placement, Session, Signature};
use crate::tensor::{Shape, Tensor};

/// Plans kept at once: a plan holds packed weights, so that many shapes cost much memory.
const PLANS: usize = 16;

struct Plan {
    shapes: Vec<Shape>,
    runnable: Arc<TypedRunnableModel>,
}

pub(super) struct TractSession {
    model: Model,
    signature: Arc<Signature>,
    placement: Placement,
    /// The most recently used last.
    plans: Vec<Plan>,
}

impl TractSession {
    pub fn new(model: Model, placement: Placement) -> Result<TractSession, EngineError> {
        let signature = Arc::new(model.signature.clone());
        Ok(TractSession { model, signature, placement, plans: Vec::new() })
    }

    fn plan(&mut self, shapes: &[Shape]) -> Result<Arc<TypedRunnableModel>, EngineError> {
        if let Some(index) = self.plans.iter().position(|plan| plan.shapes == shapes) {
            let plan = self.plans.remove(index);
            let runnable = Arc::clone(&plan.runnable);
            self.plans.push(plan);
            return Ok(runnable);
        }
        let runnable = self.build(shapes)?;
        if self.plans.len() == PLANS {
            self.plans.remove(0);
        }
        self.plans.push(Plan { shapes: shapes.to_vec(), runnable: Arc::clone(&runnable) });
        Ok(runnable)
    }

    fn build(&self, shapes: &[Shape]) -> Result<Arc<TypedRunnableModel>, EngineError> {
        let failed = |reason: String| EngineError::RunFailed { reason };
        let graph = self.model.graph.clone();
        let build = || {
            let mut graph = graph;
            for (index, (spec, shape)) in self.signature.inputs.iter().zip(shapes).enumerate() {
                let datum_type = datum_type_of(spec.data_type).expect("checked when it was opened");
                graph.set_input_fact(index, InferenceFact::dt_shape(datum_type, &shape[..]))?;
            }
            graph.into_optimized()?.into_runnable()
        };
        match catch_unwind(AssertUnwindSafe(build)) {
            Ok(Ok(runnable)) => Ok(runnable),
            Ok(Err(error)) => Err(failed(format!("{error:#}"))),
            Err(_) => Err(failed("tract panicked".to_owned())),
        }
    }
}

impl Session for TractSession {
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
        let failed = |reason: String| EngineError::RunFailed { reason };
        let shapes: Vec<Shape> =
            inputs.iter().flatten().map(|tensor| Shape::from_slice(tensor.shape())).collect();
        let plan = self.plan(&shapes)?;
        let mut values = TVec::new();
        for tensor in inputs.iter().flatten() {
            let value = to_tract(tensor).map_err(|reason| EngineError::InputsRefused { reason })?;
            values.push(value.into());
        }
        let results = match catch_unwind(AssertUnwindSafe(|| plan.run(values))) {
            Ok(Ok(results)) => results,
            Ok(Err(error)) => return Err(failed(format!("{error:#}"))),
            Err(_) => return Err(failed("tract panicked".to_owned())),
        };
        outputs
            .iter()
            .map(|&index| {
                let spec = &self.signature.outputs[index];
                from_tract(results[index].clone(), spec.data_type)
                    .map_err(|reason| failed(format!("output {:?}: {reason}", spec.name)))
            })
            .collect()
    }
}
