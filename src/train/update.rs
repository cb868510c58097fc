//! The end of a step: gradients are summed over the parts of a step, clipped, and applied.

use super::TrainError;
use super::optimizer::{Lookup, Scalars, Updated, write_update};
use super::parameters::recurrent_biases;
use super::step_graph::{CONTINUED, Carried, FINAL, LOSS, RATE, STEP, StepPlan};
use crate::autodiff::{DOMAIN, Emitter, Expr, Fact, Facts};
use crate::onnx::graph::initializer;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::weights::tensor;
use crate::tensor::{DataType, Dimension, Tensor};

/// Bounds on gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clipping {
    /// Of all gradients together, as one vector.
    pub norm: Option<f64>,
    /// Of each element.
    pub value: Option<f64>,
}

/// What an update changes.
pub(super) struct Changes<'g> {
    pub parameters: Vec<Carried>,
    /// First moments, then second ones, then sums of gradients.
    pub kept: Vec<Carried>,
    /// The gradients' norm, where it is bounded.
    pub norm: Option<String>,
    /// Whether loss and norm are numbers: else nothing is changed.
    pub finite: Expr<'g>,
}

/// Writes the update behind a gradient.
pub(super) struct Update<'a, 'g> {
    pub plan: &'a StepPlan<'a>,
    pub facts: &'a Facts,
    pub emitter: &'g Emitter,
}

/// A parameter and its gradient, by name.
type Reached<'a> = (&'a String, &'a String);

impl<'g> Update<'_, 'g> {
    pub fn write(
        &self,
        graph: &mut GraphProto,
        reached: &[Reached<'_>],
    ) -> Result<Changes<'g>, TrainError> {
        let emitter = self.emitter;
        let initial =
            |name: &str| tensor(initializer(graph, name).expect("parameters are initializers"));
        let initials =
            reached.iter().map(|(name, _)| initial(name)).collect::<Result<Vec<_>, _>>()?;
        let zeros = |index: usize| {
            let like: &Tensor = &initials[index];
            Tensor::zeros(like.data_type(), like.shape().into())
        };
        let (updated, sums) = self.updated(graph, reached);
        let data_type = updated[0].value.data_type();
        let (scale, norm) = self.scale(&updated);
        let loss = emitter.value(LOSS, self.facts[LOSS].data_type);
        let judged = norm.map_or(loss, |norm| loss + norm);
        let finite = judged.abs().less(f64::INFINITY);
        let mut apply = finite.cast(data_type);
        if self.plan.parts > 1 {
            apply = apply * emitter.value(FINAL, data_type);
        }
        let rate = emitter.value(RATE, data_type);
        let step = emitter.value(STEP, DataType::Int64);
        let scalars = Scalars { rate, step, scale, apply };
        let stepped = write_update(self.plan.optimizer, emitter, scalars, &updated);
        let mut parameters = Vec::new();
        for (index, (name, _)) in reached.iter().enumerate() {
            let output = stepped[index].value.name().to_string();
            let (input, initial) = ((*name).clone(), initials[index].clone());
            parameters.push(Carried { input, output, initial, updated: true });
        }
        let mut kept = Vec::new();
        for moment in 1..=self.plan.optimizer.moments() {
            for (index, (name, _)) in reached.iter().enumerate() {
                let output = stepped[index].moments[moment - 1].name().to_string();
                let (input, initial) = (moment_name(name, moment), zeros(index)?);
                kept.push(Carried { input, output, initial, updated: true });
            }
        }
        for (index, (input, output)) in sums.into_iter().enumerate() {
            kept.push(Carried { input, output, initial: zeros(index)?, updated: false });
        }
        let norm = norm.map(|norm| norm.name().to_string());
        Ok(Changes { parameters, kept, norm, finite })
    }

    /// What is updated by what, and the sums of gradients: what they are read from and become.
    fn updated(
        &self,
        graph: &mut GraphProto,
        reached: &[Reached<'_>],
    ) -> (Vec<Updated<'g>>, Vec<(String, String)>) {
        let emitter = self.emitter;
        let biases = self.plan.model.graph.as_ref().map(recurrent_biases).unwrap_or_default();
        let (mut updated, mut sums) = (Vec::new(), Vec::new());
        for &(name, gradient) in reached {
            let fact = &self.facts[name];
            let moments = 1..=self.plan.optimizer.moments();
            let moment = |moment| emitter.value(&moment_name(name, moment), fact.data_type);
            let (mut gradient, lookup) = match self.lookup(graph, gradient, fact) {
                Some((rows, lookup)) => (rows, Some(lookup)),
                None => (emitter.value(gradient, fact.data_type), None),
            };
            if self.plan.parts > 1 {
                let input = format!("training/sum/{name}");
                let before = emitter.value(&input, fact.data_type);
                let continued = emitter.value(CONTINUED, fact.data_type);
                gradient = before * continued + gradient * (1.0 / self.plan.parts as f64);
                sums.push((input, gradient.name().to_string()));
            }
            updated.push(Updated {
                value: emitter.value(name, fact.data_type),
                gradient: self.clipped(gradient),
                lookup,
                moments: moments.map(moment).collect(),
                decayed: fact.shape.len() >= 2 && !biases.contains(name.as_str()),
            });
        }
        (updated, sums)
    }

    /// Where a gradient is one of rows that were looked up and is needed for the update alone: the
    /// rows' gradient, and where they were. Its node is taken out of the graph.
    fn lookup(
        &self,
        graph: &mut GraphProto,
        gradient: &str,
        fact: &Fact,
    ) -> Option<(Expr<'g>, Lookup<'g>)> {
        if self.plan.parts > 1 || self.plan.clipping != Clipping::default() {
            return None;
        }
        let [Dimension::Fixed(rows), row @ ..] = &fact.shape[..] else { return None };
        if row.is_empty() || row.iter().any(|size| !matches!(size, Dimension::Fixed(1..))) {
            return None;
        }
        let is_maker = |node: &NodeProto| {
            let ours = node.domain() == DOMAIN && node.op_type() == "EmbeddingGradient";
            ours && node.output.first().is_some_and(|output| output == gradient)
        };
        let place = graph.node.iter().position(is_maker)?;
        let reads = |node: &NodeProto| node.input.iter().any(|input| input == gradient);
        if graph.node.iter().any(reads) {
            return None;
        }
        let [rows_gradient, indices] = &graph.node[place].input[..] else { return None };
        let indices_type = self.facts.get(indices.as_str()).map(|fact| fact.data_type)?;
        let found = (
            self.emitter.value(rows_gradient, fact.data_type),
            Lookup { indices: self.emitter.value(indices, indices_type), rows: *rows },
        );
        graph.node.remove(place);
        Some(found)
    }

    fn clipped(&self, gradient: Expr<'g>) -> Expr<'g> {
        match self.plan.clipping.value {
            None => gradient,
            Some(bound) => {
                let bounds = [gradient.number(-bound), gradient.number(bound)];
                gradient.call("Clip", &bounds)
            }
        }
    }

    /// What gradients are multiplied by, so that their norm keeps to its bound, and the norm; as
    /// PyTorch's `clip_grad_norm_` computes it.
    fn scale(&self, updated: &[Updated<'g>]) -> (Expr<'g>, Option<Expr<'g>>) {
        let one = updated[0].value.number(1.0);
        let Some(bound) = self.plan.clipping.norm else { return (one, None) };
        let squares: Vec<Expr<'_>> = updated
            .iter()
            .map(|parameter| {
                let gradient = parameter.gradient;
                let axes = self.facts[&*parameter.value.name()].shape.len() as i64;
                (gradient * gradient).sum(&(0..axes).collect::<Vec<_>>(), false)
            })
            .collect();
        let norm = squares[0].call("Sum", &squares[1..]).sqrt();
        ((norm.number(bound) / (norm + 1e-6)).call("Min", &[one]), Some(norm))
    }
}

fn moment_name(parameter: &str, moment: usize) -> String {
    format!("training/moment{moment}/{parameter}")
}
