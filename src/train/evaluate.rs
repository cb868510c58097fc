//! How good a state is: the model on data that it does not learn from.

use super::scores::{Metrics, Tally};
use super::step_graph::{LOSS, StepGraph, StepPlan, TARGET, WithLoss};
use super::{TrainError, open};
use crate::data::Dataset;
use crate::engine::{Engine, Session, SessionSettings};
use crate::onnx::build::value_info;
use crate::onnx::proto::ModelProto;
use crate::tensor::{Dimension, Tensor};

/// The model with its loss, whose weights are given at every run: no session is opened anew for
/// new weights.
pub struct Evaluator {
    session: Box<dyn Session>,
    places: Vec<Place>,
    outputs: Vec<usize>,
    batch_size: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Batch(usize),
    Target,
    State(usize),
}

/// The model with its loss, whose weights are inputs.
///
/// # Errors
/// It has no graph.
pub fn weights_as_inputs(
    with_loss: &WithLoss,
    graph: &StepGraph,
) -> Result<ModelProto, TrainError> {
    let mut model = with_loss.model.clone();
    let proto = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
    // Evaluation runs over what is left at the end, too.
    for input in proto.input.iter_mut().filter(|input| input.name() == TARGET) {
        let fact = &with_loss.observed.facts[TARGET];
        let mut shape = fact.shape.clone();
        shape[0] = Dimension::Unknown;
        *input = value_info(TARGET, fact.data_type, Some(&shape));
    }
    // Where the file names an open axis of a value in between, tract may find another size for it.
    proto.value_info.clear();
    for carried in &graph.carried[..graph.weights] {
        proto.initializer.retain(|tensor| tensor.name() != carried.input);
        proto.input.retain(|input| input.name() != carried.input);
        let shape = carried.initial.shape().iter().map(|&size| Dimension::Fixed(size));
        let shape: Vec<Dimension> = shape.collect();
        let data_type = carried.initial.data_type();
        proto.input.push(value_info(&carried.input, data_type, Some(&shape)));
    }
    Ok(model)
}

impl Evaluator {
    /// For states of that step graph.
    ///
    /// # Errors
    /// The engine refuses the model.
    pub fn new(
        engine: &dyn Engine,
        settings: &SessionSettings,
        plan: &StepPlan<'_>,
        (with_loss, graph): (&WithLoss, &StepGraph),
        (inputs, batch_size): (&[String], usize),
    ) -> Result<Evaluator, TrainError> {
        let mut model = weights_as_inputs(with_loss, graph)?;
        let proto = model.graph.as_mut().ok_or(TrainError::NoGraph)?;
        let weights = &graph.carried[..graph.weights];
        let fact = &with_loss.observed.facts[plan.output];
        proto.output.push(value_info(plan.output, fact.data_type, None));
        let session = open(engine, &model, settings)?;
        let signature = session.signature().clone();
        let place = |name: &str| {
            if name == TARGET {
                return Some(Place::Target);
            }
            let weight = weights.iter().position(|carried| carried.input == name);
            let input = || inputs.iter().position(|input| input == name).map(Place::Batch);
            weight.map(Place::State).or_else(input)
        };
        let places = signature.inputs.iter().filter(|spec| !spec.optional).map(|spec| {
            let no_sample = || TrainError::NoSample { name: spec.name.clone() };
            place(&spec.name).ok_or_else(no_sample)
        });
        let places = places.collect::<Result<Vec<Place>, TrainError>>()?;
        let output = |name: &str| {
            let found = signature.outputs.iter().position(|spec| spec.name == name);
            found.expect("the model was given this output")
        };
        let outputs = vec![output(LOSS), output(plan.output)];
        Ok(Evaluator { session, places, outputs, batch_size })
    }

    /// Runs the model with that state over these rows.
    ///
    /// # Errors
    /// The data cannot be read, or the engine failed.
    pub fn evaluate(
        &mut self,
        state: &[Tensor],
        dataset: &Dataset,
        rows: &[usize],
        mut tally: Tally,
    ) -> Result<Metrics, TrainError> {
        for rows in rows.chunks(self.batch_size) {
            let batch = dataset.batch(rows)?;
            let value = |place: &Place| match *place {
                Place::Batch(index) => batch.inputs[index].clone(),
                Place::Target => batch.target.clone(),
                Place::State(index) => state[index].clone(),
            };
            let mut inputs: Vec<Option<Tensor>> = self.places.iter().map(value).map(Some).collect();
            inputs.resize(self.session.signature().inputs.len(), None);
            let results = self.session.run(&inputs, &self.outputs)?;
            let [loss, output] = &results[..] else { continue };
            tally.add(rows.len(), loss, output, &batch.target);
        }
        Ok(tally.finish())
    }
}
