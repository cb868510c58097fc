//! A step graph on an engine: batches go in, losses come out, and the weights stay inside.

use super::numbers::{floats, scalar};
use super::step_graph::{LOSS, NORM, RATE, STEP, StepGraph, TARGET};
use super::{TrainError, open};
use crate::engine::{Engine, Session, SessionSettings};
use crate::tensor::{DataType, Tensor};

/// What a step says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Of the batch, before the update.
    pub loss: f64,
    /// Of all gradients together, before clipping; only where that is asked for.
    pub norm: Option<f64>,
}

/// Runs steps and keeps what is carried from one to the next.
pub struct Stepper {
    session: Box<dyn Session>,
    /// By place among the session's inputs.
    places: Vec<Place>,
    /// In the order of the batch's tensors.
    state: Vec<Tensor>,
    /// Places among the session's outputs: the loss, the norm, then the state's.
    outputs: Vec<usize>,
    has_norm: bool,
    data_type: DataType,
}

/// What one input of the session is given.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The model's own input of this index.
    Batch(usize),
    Target,
    Rate,
    Step,
    State(usize),
}

impl Stepper {
    /// Opens the graph; training begins from its initial state. `inputs` names the model's inputs
    /// in the order in which batches have them.
    ///
    /// # Errors
    /// The engine refuses the graph.
    pub fn new(
        engine: &dyn Engine,
        settings: &SessionSettings,
        graph: &StepGraph,
        inputs: &[String],
    ) -> Result<Stepper, TrainError> {
        let session = open(engine, &graph.model, settings)?;
        let signature = session.signature().clone();
        let place = |name: &str| {
            Some(match name {
                TARGET => Place::Target,
                RATE => Place::Rate,
                STEP => Place::Step,
                _ => match graph.carried.iter().position(|carried| carried.input == name) {
                    Some(index) => Place::State(index),
                    None => Place::Batch(inputs.iter().position(|input| input == name)?),
                },
            })
        };
        let places = signature.inputs.iter().filter(|spec| !spec.optional).map(|spec| {
            let no_sample = || TrainError::NoSample { name: spec.name.clone() };
            place(&spec.name).ok_or_else(no_sample)
        });
        let places = places.collect::<Result<Vec<Place>, TrainError>>()?;
        let output = |name: &str| {
            let found = signature.outputs.iter().position(|spec| spec.name == name);
            found.expect("the graph has it as an output")
        };
        let mut outputs = vec![output(LOSS)];
        outputs.extend(graph.has_norm.then(|| output(NORM)));
        outputs.extend(graph.carried.iter().map(|carried| output(&carried.output)));
        let state: Vec<Tensor> =
            graph.carried.iter().map(|carried| carried.initial.clone()).collect();
        let data_type = signature.outputs[outputs[0]].data_type;
        Ok(Stepper { session, places, state, outputs, has_norm: graph.has_norm, data_type })
    }

    /// One step; `step` counts from 1. The state changes only if the step succeeds.
    ///
    /// # Errors
    /// The engine failed, or the batch does not fit the graph.
    pub fn step(
        &mut self,
        batch: &[Tensor],
        target: &Tensor,
        rate: f64,
        step: u64,
    ) -> Result<StepReport, TrainError> {
        let value = |place: &Place| match *place {
            Place::Batch(index) => batch[index].clone(),
            Place::Target => target.clone(),
            Place::Rate => scalar(self.data_type, rate),
            Place::Step => scalar(DataType::Int64, step as f64),
            Place::State(index) => self.state[index].clone(),
        };
        let mut inputs: Vec<Option<Tensor>> = self.places.iter().map(value).map(Some).collect();
        inputs.resize(self.session.signature().inputs.len(), None);
        let mut results = self.session.run(&inputs, &self.outputs)?.into_iter();
        let mut number = || results.next().as_ref().map_or(f64::NAN, first_number);
        let loss = number();
        let norm = self.has_norm.then(&mut number);
        self.state = results.collect();
        Ok(StepReport { loss, norm })
    }

    /// What is carried, in the graph's order.
    pub fn state(&self) -> &[Tensor] {
        &self.state
    }

    /// Goes on from another state.
    ///
    /// # Errors
    /// It is of another graph: its tensors have other types or shapes.
    pub fn restore(&mut self, state: Vec<Tensor>) -> Result<(), TrainError> {
        let same = |(one, other): (&Tensor, &Tensor)| {
            one.data_type() == other.data_type() && one.shape() == other.shape()
        };
        if state.len() != self.state.len() || !state.iter().zip(&self.state).all(same) {
            return Err(TrainError::OtherRun);
        }
        self.state = state;
        Ok(())
    }
}

fn first_number(tensor: &Tensor) -> f64 {
    floats(tensor).first().copied().unwrap_or(f64::NAN)
}
