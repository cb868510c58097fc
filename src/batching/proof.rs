//! Batching is proven, not assumed: at load, rows are run alone, together, and together in
//! another order, and their answers compared.
//!
//! A model with an open first axis may mix its rows (a normalisation over the batch, a first axis
//! that is time), and a model's state may carry the batch on another axis. What cannot be proven
//! is served unbatched, and the verdict says why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::axes::{Axes, configured_output, input_candidates, output_guess};
use super::compare::worst_difference;
use super::join::{alone, join};
use super::plan::Plan;
use super::sample::{Sample, SampleShapes, Values};
use super::slot::Slot;
use super::split::{Answer, Share, split};
use super::verdict::{Proof, Verdict};
use super::{BatchingMode, BatchingSettings, Request};
use crate::engine::Signature;
use crate::tensor::Tensor;

/// Sizes tried for open axes until the model runs: sequences, then images, then what is left.
const OPEN_SIZES: [usize; 11] = [8, 16, 32, 64, 128, 224, 256, 512, 576, 1, 2];
/// No new guess at a model's inputs is begun after this.
const GUESSING_LIMIT: Duration = Duration::from_millis(1500);
/// Rows that are compared: with three, an axis that counts rows cannot be mistaken.
const ROWS: usize = 3;

/// The proof, and a request that the model is known to take.
pub(super) struct Finding {
    pub proof: Proof,
    /// `None` where none was found.
    pub sample: Option<Sample>,
}

/// Finds out whether and how a model's requests may be batched.
pub(super) fn prove(
    slot: &mut Slot,
    signature: &Arc<Signature>,
    settings: &BatchingSettings,
) -> Finding {
    let candidates = input_candidates(signature, settings);
    let off = settings.mode == BatchingMode::Off || settings.max_batch_size.is_some_and(|n| n <= 1);
    let verdict = if off { Verdict::Off } else { Verdict::NoBatchAxis };
    let mut prover = Prover { slot, signature, settings, until: Instant::now() + GUESSING_LIMIT };
    if off || candidates.is_empty() {
        let unbatched = vec![None; signature.inputs.len()];
        let axes = candidates.first().unwrap_or(&unbatched);
        let sample = prover.find_sample(axes).ok().map(|found| found.sample);
        return Finding { proof: prover.unbatched(verdict), sample };
    }
    let mut first: Option<(Verdict, Option<Sample>)> = None;
    for inputs in &candidates {
        let trial = prover.try_axes(inputs);
        match trial.verdict {
            Ok(axes) if settings.mode == BatchingMode::Force => {
                let verdict = Verdict::Forced { doubt: None };
                return Finding { proof: Proof { verdict, axes }, sample: trial.sample };
            }
            Ok(axes) => {
                let proof = Proof { verdict: Verdict::Proven, axes };
                return Finding { proof, sample: trial.sample };
            }
            // The likeliest reading of the signature is the one whose fault is worth telling.
            Err(verdict) => first = first.or(Some((verdict, trial.sample))),
        }
    }
    let (verdict, sample) = first.expect("there was a candidate");
    if settings.mode != BatchingMode::Force {
        return Finding { proof: prover.unbatched(verdict), sample };
    }
    let axes = prover.guess_axes(&candidates[0], sample.as_ref());
    let verdict = Verdict::Forced { doubt: Some(verdict.to_string()) };
    Finding { proof: Proof { verdict, axes }, sample }
}

struct Prover<'a> {
    slot: &'a mut Slot,
    signature: &'a Arc<Signature>,
    settings: &'a BatchingSettings,
    /// When guessing ends.
    until: Instant,
}

/// Rows that ran alone.
struct Found {
    sample: Sample,
    rows: Vec<Row>,
    /// Outputs that were not the same for all rows.
    varied: usize,
}

struct Row {
    request: Request,
    outputs: Vec<Tensor>,
}

/// What one reading of the signature came to.
struct Trial {
    verdict: Result<Axes, Verdict>,
    sample: Option<Sample>,
}

impl Prover<'_> {
    fn unbatched(&self, verdict: Verdict) -> Proof {
        let axes = Axes {
            inputs: vec![None; self.signature.inputs.len()],
            outputs: vec![None; self.signature.outputs.len()],
        };
        Proof { verdict, axes }
    }

    fn row_count(&self) -> usize {
        self.settings.max_batch_size.map_or(ROWS, |limit| limit.clamp(2, ROWS))
    }

    fn all_outputs(&self) -> Vec<usize> {
        (0..self.signature.outputs.len()).collect()
    }

    fn try_axes(&mut self, inputs: &[Option<usize>]) -> Trial {
        let found = match self.find_sample(inputs) {
            Ok(found) => found,
            Err(reason) => {
                return Trial { verdict: Err(Verdict::Unproven { reason }), sample: None };
            }
        };
        let sample = Some(found.sample.clone());
        let axes = match self.compare(inputs, None, &found.rows) {
            Ok(axes) => axes,
            Err(verdict) => return Trial { verdict: Err(verdict), sample },
        };
        // Once more with values of another kind, where the model takes them: rows may be mixed
        // only where values are large, or indices beyond the first two.
        for values in [Values::Small, Values::Wide] {
            let other = found.sample.with_values(values);
            if values == found.sample.values {
                continue;
            }
            let Ok(rows) = self.run_rows(&other) else { continue };
            if let Err(verdict) = self.compare(inputs, Some(&axes), &rows) {
                return Trial { verdict: Err(verdict), sample };
            }
        }
        Trial { verdict: Ok(axes), sample }
    }

    /// Looks for shapes and values that the model runs, and best such that every output depends
    /// on them: outputs that are the same for all rows prove little.
    fn find_sample(&mut self, inputs: &[Option<usize>]) -> Result<Found, String> {
        let mut best: Option<Found> = None;
        let mut tried: Vec<Sample> = Vec::new();
        let mut refusal = "its inputs are too large to make up".to_owned();
        let mut guesses = Vec::new();
        for values in [&[Values::Small, Values::Wide][..], &[Values::Constant]] {
            for open in OPEN_SIZES {
                guesses.extend(values.iter().map(|&values| (open, values)));
            }
        }
        for (open, values) in guesses {
            if best.is_some() && values == Values::Constant {
                break;
            }
            if !tried.is_empty() && Instant::now() >= self.until {
                break;
            }
            let shapes = SampleShapes {
                signature: self.signature,
                axes: inputs,
                configured: &self.settings.sample_shapes,
                open,
            };
            let Some(sample) = Sample::new(&shapes, values) else { continue };
            if tried.iter().any(|other| sample.same_as(other)) {
                continue;
            }
            tried.push(sample.clone());
            match self.run_rows(&sample) {
                Ok(rows) => {
                    let varied = varied_outputs(&rows);
                    if best.as_ref().is_none_or(|best| varied > best.varied) {
                        best = Some(Found { sample, rows, varied });
                    }
                    if varied == self.signature.outputs.len() {
                        break;
                    }
                }
                Err(error) if tried.len() == 1 => refusal = error,
                Err(_) => {}
            }
        }
        best.ok_or_else(|| format!("no made-up input was accepted by the model: {refusal}"))
    }

    /// Runs rows one by one.
    fn run_rows(&mut self, sample: &Sample) -> Result<Vec<Row>, String> {
        let wanted = self.all_outputs();
        (1..=self.row_count() as u64)
            .map(|seed| {
                let request = sample.request(seed);
                let outputs =
                    self.slot.run(&alone(&request), &wanted).map_err(|error| error.to_string())?;
                Ok(Row { request, outputs })
            })
            .collect()
    }

    /// Runs the rows together in two orders and compares with their answers alone. Finds the
    /// outputs' axes, or checks those that are `known`.
    fn compare(
        &mut self,
        inputs: &[Option<usize>],
        known: Option<&Axes>,
        rows: &[Row],
    ) -> Result<Axes, Verdict> {
        let in_order: Vec<&Row> = rows.iter().collect();
        let together = self.run_together(inputs, &in_order)?;
        let axes = match known {
            Some(axes) => axes.clone(),
            None => {
                let outputs = self.output_axes(&rows[0].outputs, &together, rows.len())?;
                Axes { inputs: inputs.to_vec(), outputs }
            }
        };
        self.compare_parts(&axes, &in_order, together)?;
        let mut rotated = in_order;
        rotated.rotate_right(1);
        let together = self.run_together(inputs, &rotated)?;
        self.compare_parts(&axes, &rotated, together)?;
        Ok(axes)
    }

    fn run_together(
        &mut self,
        inputs: &[Option<usize>],
        rows: &[&Row],
    ) -> Result<Vec<Tensor>, Verdict> {
        let outputs = vec![None; self.signature.outputs.len()];
        let axes = Axes { inputs: inputs.to_vec(), outputs };
        let plan = Plan::new(self.signature, &axes, self.settings);
        let requests: Vec<&Request> = rows.iter().map(|row| &row.request).collect();
        let joined = join(&plan, &requests).map_err(|error| error.to_string());
        let wanted = self.all_outputs();
        joined
            .and_then(|inputs| self.slot.run(&inputs, &wanted).map_err(|error| error.to_string()))
            .map_err(|error| Verdict::Unproven {
                reason: format!("rows that run alone fail together: {error}"),
            })
    }

    fn output_axes(
        &self,
        alone: &[Tensor],
        together: &[Tensor],
        rows: usize,
    ) -> Result<Vec<Option<usize>>, Verdict> {
        let outputs = self.signature.outputs.iter().zip(alone.iter().zip(together));
        outputs
            .map(|(output, (alone, together))| {
                if let Some(axis) = configured_output(self.settings, output) {
                    return Ok(axis);
                }
                growing_axis(alone.shape(), together.shape(), rows).map_err(|()| {
                    Verdict::Unproven {
                        reason: format!(
                            "output {:?} has shape {:?} for one row and {:?} for {rows}: no axis \
                             of it counts rows",
                            output.name,
                            alone.shape(),
                            together.shape()
                        ),
                    }
                })
            })
            .collect()
    }

    fn compare_parts(
        &self,
        axes: &Axes,
        rows: &[&Row],
        tensors: Vec<Tensor>,
    ) -> Result<(), Verdict> {
        let plan = Plan::new(self.signature, axes, self.settings);
        let wanted = self.all_outputs();
        let shares: Vec<Share<'_>> =
            rows.iter().map(|row| Share { request: &row.request, rows: 1 }).collect();
        let parts = split(&plan, self.signature, &Answer { wanted: &wanted, tensors }, &shares)
            .map_err(|error| Verdict::Unproven { reason: error.to_string() })?;
        let pairs = rows.iter().zip(&parts).map(|(row, parts)| (&*row.outputs, &**parts));
        worst_difference(pairs).map_or(Ok(()), |(output, difference)| {
            let output = self.signature.outputs[output].name.clone();
            Err(Verdict::Differs { output, difference })
        })
    }

    /// The outputs' axes for a model that is batched whatever the proof says: by their shapes
    /// where rows run together at all, else by their names.
    fn guess_axes(&mut self, inputs: &[Option<usize>], sample: Option<&Sample>) -> Axes {
        let by_name = self
            .signature
            .outputs
            .iter()
            .map(|output| output_guess(self.signature, self.settings, inputs, output));
        let guessed = Axes { inputs: inputs.to_vec(), outputs: by_name.collect() };
        let Some(rows) = sample.and_then(|sample| self.run_rows(sample).ok()) else {
            return guessed;
        };
        let in_order: Vec<&Row> = rows.iter().collect();
        let shown = self
            .run_together(inputs, &in_order)
            .and_then(|together| self.output_axes(&rows[0].outputs, &together, rows.len()));
        match shown {
            Ok(outputs) => Axes { outputs, ..guessed },
            Err(_) => guessed,
        }
    }
}

/// The axis that has one element for one row and `rows` for that many; `None` where the shape is
/// the same.
fn growing_axis(alone: &[usize], together: &[usize], rows: usize) -> Result<Option<usize>, ()> {
    if alone.len() != together.len() {
        return Err(());
    }
    let mut grown = (0..alone.len()).filter(|&axis| alone[axis] != together[axis]);
    match (grown.next(), grown.next()) {
        (None, _) => Ok(None),
        (Some(axis), None) if alone[axis] == 1 && together[axis] == rows => Ok(Some(axis)),
        _ => Err(()),
    }
}

fn varied_outputs(rows: &[Row]) -> usize {
    let varies =
        |output: &usize| rows.iter().any(|row| row.outputs[*output] != rows[0].outputs[*output]);
    (0..rows[0].outputs.len()).filter(varies).count()
}
