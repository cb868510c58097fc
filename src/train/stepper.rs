//! A step graph on an engine: batches go in, losses come out, and the weights stay inside.

use std::ops::Range;

use super::numbers::{floats, scalar};
use super::step_graph::{CONTINUED, DRAW, FINAL, LOSS, NORM, RATE, STEP, StepGraph, TARGET};
use super::{TrainError, open};
use crate::engine::{Carry, Carrying, CarryingSession, Engine, SessionSettings};
use crate::tensor::{DataType, Tensor};

/// What a step says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Of the batch, before the update; of all parts on average.
    pub loss: f64,
    /// Of all gradients together, before clipping; only where that is asked for.
    pub norm: Option<f64>,
}

/// Runs steps; what is carried from one to the next stays in the engine.
pub struct Stepper {
    session: Box<dyn CarryingSession>,
    /// By place among the session's inputs; `None` for one that keeps its default.
    places: Vec<Option<Place>>,
    tensors: usize,
    has_norm: bool,
    data_type: DataType,
    parts: usize,
    /// The losses of this step's parts so far.
    losses: Vec<f64>,
}

/// What one input of the session is given.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The model's own input of this index.
    Batch(usize),
    Target,
    Rate,
    Step,
    Draw,
    Continued,
    Final,
    Carried,
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
                DRAW => Place::Draw,
                CONTINUED => Place::Continued,
                FINAL => Place::Final,
                _ if graph.carried.iter().any(|carried| carried.input == name) => Place::Carried,
                _ => Place::Batch(inputs.iter().position(|input| input == name)?),
            })
        };
        let mut places = Vec::new();
        for spec in &signature.inputs {
            let found = place(&spec.name);
            if found.is_none() && !spec.optional {
                return Err(TrainError::NoSample { name: spec.name.clone() });
            }
            places.push(found);
        }
        let output = |name: &str| {
            let found = signature.outputs.iter().position(|spec| spec.name == name);
            found.expect("the graph has it as an output")
        };
        let input = |name: &str| {
            let found = signature.inputs.iter().position(|spec| spec.name == name);
            found.expect("the graph has it as an input")
        };
        let mut reported = vec![output(LOSS)];
        reported.extend(graph.has_norm.then(|| output(NORM)));
        let data_type = signature.outputs[reported[0]].data_type;
        let carried = graph.carried.iter().map(|carried| Carry {
            input: input(&carried.input),
            output: output(&carried.output),
            in_place: carried.updated && settings.kernels,
        });
        let carrying = Carrying {
            carried: carried.collect(),
            initial: graph.carried.iter().map(|carried| carried.initial.clone()).collect(),
            reported,
        };
        Ok(Stepper {
            session: session.carry(carrying)?,
            places,
            tensors: graph.carried.len(),
            has_norm: graph.has_norm,
            data_type,
            parts: graph.parts,
            losses: Vec::new(),
        })
    }

    /// One step, or the last part of one; `step` counts from 1. Where the loss is no number,
    /// nothing changes.
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
        let report = self.run(batch, target, (rate, step), true)?;
        let losses = std::mem::take(&mut self.losses);
        let sum: f64 = losses.iter().sum();
        Ok(StepReport { loss: (sum + report.loss) / (losses.len() + 1) as f64, ..report })
    }

    /// A part of that step which is not its last.
    ///
    /// # Errors
    /// As [`Stepper::step`].
    pub fn part(
        &mut self,
        batch: &[Tensor],
        target: &Tensor,
        step: u64,
    ) -> Result<StepReport, TrainError> {
        let report = self.run(batch, target, (0.0, step), false)?;
        self.losses.push(report.loss);
        Ok(report)
    }

    /// How many parts a step has, the last one included.
    pub fn parts(&self) -> usize {
        self.parts
    }

    fn run(
        &mut self,
        batch: &[Tensor],
        target: &Tensor,
        (rate, step): (f64, u64),
        last: bool,
    ) -> Result<StepReport, TrainError> {
        let number = |value: f64| Some(scalar(self.data_type, value));
        let draw = (step - 1) * self.parts as u64 + self.losses.len() as u64 + 1;
        let value = |place: &Option<Place>| match (*place)? {
            Place::Batch(index) => batch.get(index).cloned(),
            Place::Target => Some(target.clone()),
            Place::Rate => number(rate),
            Place::Step => Some(scalar(DataType::Int64, step as f64)),
            Place::Draw => Some(scalar(DataType::Int64, draw as f64)),
            Place::Continued => number(f64::from(u8::from(!self.losses.is_empty()))),
            Place::Final => number(f64::from(u8::from(last))),
            Place::Carried => None,
        };
        let inputs: Vec<Option<Tensor>> = self.places.iter().map(value).collect();
        let results = self.session.run(&inputs)?;
        let number = |index: usize| results.get(index).map_or(f64::NAN, first_number);
        Ok(StepReport { loss: number(0), norm: self.has_norm.then(|| number(1)) })
    }

    /// Copies of what is carried, in the graph's order.
    ///
    /// # Errors
    /// The engine does not give it out.
    pub fn state(&self, range: Range<usize>) -> Result<Vec<Tensor>, TrainError> {
        Ok(self.session.state(range)?)
    }

    /// Copies of all that is carried.
    ///
    /// # Errors
    /// The engine does not give it out.
    pub fn whole_state(&self) -> Result<Vec<Tensor>, TrainError> {
        self.state(0..self.tensors)
    }

    /// Goes on from another state.
    ///
    /// # Errors
    /// It is of another graph: its tensors have other types or shapes.
    pub fn restore(&mut self, state: &[Tensor]) -> Result<(), TrainError> {
        self.losses.clear();
        self.session.set_state(state).map_err(|_| TrainError::OtherRun)
    }
}

fn first_number(tensor: &Tensor) -> f64 {
    floats(tensor).first().copied().unwrap_or(f64::NAN)
}
