//! Sessions that tests of this part run on: a function over rows, and means to make it fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use parking_lot::Mutex;

use super::SessionOpener;
use crate::engine::scripted::placement;
use crate::engine::{
    Carrying, CarryingSession, Device, EngineError, Placement, Replayed, Session, Signature,
};
use crate::tensor::{DataType, Dimension, Tensor, TensorSpec};

/// A spec from a shape such as `batch,?,64`: numbers are fixed, `?` is open and nameless, empty
/// is a scalar.
pub(super) fn typed_spec(name: &str, data_type: DataType, shape: &str) -> TensorSpec {
    let dimensions = shape.split(',').filter(|text| !text.is_empty()).map(|text| {
        text.parse().map_or_else(
            |_| match text {
                "?" => Dimension::Unknown,
                name => Dimension::Named(name.to_owned()),
            },
            Dimension::Fixed,
        )
    });
    TensorSpec {
        name: name.to_owned(),
        data_type,
        shape: Some(dimensions.collect()),
        optional: false,
    }
}

pub(super) fn spec(name: &str, shape: &str) -> TensorSpec {
    typed_spec(name, DataType::Float32, shape)
}

type Inputs = [Option<Tensor>];
type Function = dyn Fn(&Inputs) -> Result<Vec<Tensor>, EngineError> + Send + Sync;

/// A model made of a function from all inputs to all outputs.
#[derive(Clone)]
pub(super) struct Model {
    pub signature: Arc<Signature>,
    pub function: Arc<Function>,
    /// Runs so far, over all sessions.
    pub runs: Arc<AtomicUsize>,
    /// Sessions opened so far.
    pub opened: Arc<AtomicUsize>,
    /// The threads on which sessions were freed.
    pub freed: Arc<Mutex<Vec<ThreadId>>>,
    /// Where its sessions say that they run.
    pub placement: Placement,
}

impl Model {
    pub fn new(
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
        function: impl Fn(&Inputs) -> Result<Vec<Tensor>, EngineError> + Send + Sync + 'static,
    ) -> Model {
        let signature = Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() };
        Model {
            signature: Arc::new(signature),
            function: Arc::new(function),
            runs: Arc::default(),
            opened: Arc::default(),
            freed: Arc::default(),
            placement: placement(),
        }
    }

    /// One input `x`, one output `y`, by a function over shape and values.
    pub fn unary(
        input: &str,
        output: &str,
        function: impl Fn(&[usize], &[f32]) -> (Vec<usize>, Vec<f32>) + Send + Sync + 'static,
    ) -> Model {
        Model::new(&[spec("x", input)], &[spec("y", output)], move |inputs| {
            let x = inputs[0].as_ref().expect("x is not optional");
            let (shape, values) = function(x.shape(), &x.to_f32().expect("x is a float"));
            Ok(vec![Tensor::from_f32(&shape, &values).expect("shape and values agree")])
        })
    }

    /// As `unary`, refusing the inputs where the function gives `None`.
    pub fn unary_or(
        input: &str,
        output: &str,
        function: impl Fn(&[usize], &[f32]) -> Option<(Vec<usize>, Vec<f32>)> + Send + Sync + 'static,
    ) -> Model {
        Model::new(&[spec("x", input)], &[spec("y", output)], move |inputs| {
            let x = inputs[0].as_ref().expect("x is not optional");
            let answer = function(x.shape(), &x.to_f32().expect("x is a float"));
            let refused = || EngineError::InputsRefused { reason: "not these".to_owned() };
            let (shape, values) = answer.ok_or_else(refused)?;
            Ok(vec![Tensor::from_f32(&shape, &values).expect("shape and values agree")])
        })
    }

    /// `y = 2x + 1`, elementwise: the plainest model that may be batched.
    pub fn affine() -> Model {
        Model::unary("batch,2", "batch,2", |shape, values| {
            (shape.to_vec(), values.iter().map(|value| 2.0 * value + 1.0).collect())
        })
    }

    /// The same on another device.
    pub fn on(self, device: Device) -> Model {
        Model { placement: Placement { device, ..placement() }, ..self }
    }

    pub fn opener(&self) -> SessionOpener {
        let model = self.clone();
        Arc::new(move |_threads| {
            model.opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(ModelSession { model: model.clone() }))
        })
    }
}

struct ModelSession {
    model: Model,
}

impl Drop for ModelSession {
    fn drop(&mut self) {
        self.model.freed.lock().push(std::thread::current().id());
    }
}

impl Session for ModelSession {
    fn signature(&self) -> &Arc<Signature> {
        &self.model.signature
    }

    fn placement(&self) -> &Placement {
        &self.model.placement
    }

    fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        self.model.runs.fetch_add(1, Ordering::SeqCst);
        let all = (self.model.function)(inputs)?;
        Ok(outputs.iter().map(|&output| all[output].clone()).collect())
    }

    fn carry(self: Box<Self>, carrying: Carrying) -> Result<Box<dyn CarryingSession>, EngineError> {
        Ok(Box::new(Replayed::new(self, carrying)))
    }
}
