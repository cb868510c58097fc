//! Padding is proven like batching: at load, a short request and a long one are run alone and
//! padded together, and their answers compared.
//!
//! The same runs show which output axes are as long as a padded one, and so are cut to a request's
//! own length again: exporters give outputs names of their own, so names cannot tell. What cannot
//! be proven is batched apart.

use smallvec::SmallVec;

use super::compare::worst_difference;
use super::join::{alone, join};
use super::plan::{Follows, Plan, element};
use super::sample::{Sample, Values};
use super::slot::Slot;
use super::split::{Answer, Share, split};
use super::verdict::PaddingVerdict;
use super::{BatchingMode, Request};
use crate::engine::Signature;
use crate::tensor::{AlignedBuffer, DataType, Dimension, Shape, Tensor};

/// One axis of one input, by their places.
type Place = (usize, usize);

/// Finds out whether requests of unlike shapes may be padded, where configuration says that they
/// may. The plan is changed to what was found; `None` where nothing is to be padded.
pub(super) fn prove_padding(
    slot: &mut Slot,
    signature: &Signature,
    plan: &mut Plan,
    sample: Option<&Sample>,
    mode: BatchingMode,
) -> Option<PaddingVerdict> {
    if plan.inputs.iter().all(|input| input.padded.is_empty()) {
        return None;
    }
    let found = match sample {
        Some(sample) => Prover { slot, signature }.prove(plan, sample),
        None => Err(PaddingVerdict::unproven("no made-up input was accepted by the model")),
    };
    let verdict = match found {
        Ok(()) => PaddingVerdict::Proven,
        Err(doubt) if mode == BatchingMode::Force => {
            PaddingVerdict::Forced { doubt: doubt.to_string() }
        }
        Err(doubt) => {
            plan.forbid_padding();
            doubt
        }
    };
    Some(verdict)
}

/// A request and its answers alone.
struct Ran {
    request: Request,
    outputs: Vec<Tensor>,
}

struct Prover<'a> {
    slot: &'a mut Slot,
    signature: &'a Signature,
}

impl Prover<'_> {
    fn prove(&mut self, plan: &mut Plan, sample: &Sample) -> Result<(), PaddingVerdict> {
        let long = sample.with_lengths(&padded(plan), |size| size.max(2));
        self.find_follows(plan, &long)?;
        let short = long.with_lengths(&padded(plan), shorter);
        self.compare(plan, &long, &short)?;
        // Values of another kind, where the model takes them: a longest value, say, hides padding
        // with zeros only where it is not below zero.
        for values in [Values::Small, Values::Wide] {
            if values == sample.values {
                continue;
            }
            let (long, short) = (long.with_values(values), short.with_values(values));
            if self.run(&long, 1).is_ok() {
                self.compare(plan, &long, &short)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, sample: &Sample, seed: u64) -> Result<Ran, PaddingVerdict> {
        let mut request = sample.request(seed);
        request.inputs.iter_mut().flatten().for_each(show_something);
        let wanted: Vec<usize> = (0..self.signature.outputs.len()).collect();
        let outputs = self
            .slot
            .run(&alone(&request), &wanted)
            .map_err(|error| PaddingVerdict::unproven(error.to_string()))?;
        Ok(Ran { request, outputs })
    }

    /// Shortens one padded length after the other and sees which output axes go with it. Axes
    /// that the model cannot take one without the other are shortened together.
    fn find_follows(&mut self, plan: &mut Plan, long: &Sample) -> Result<(), PaddingVerdict> {
        let whole = self.run(long, 1)?;
        let mut groups = self.groups(plan);
        let mut shortened = Vec::new();
        for group in &groups {
            match self.run(&long.with_lengths(group, shorter), 1) {
                Ok(ran) => shortened.push(ran),
                Err(_) if groups.len() > 1 => break,
                Err(error) => return Err(error),
            }
        }
        if shortened.len() < groups.len() {
            groups = vec![padded(plan)];
            shortened = vec![self.run(&long.with_lengths(&groups[0], shorter), 1)?];
        }
        for (output, plan) in plan.outputs.iter_mut().enumerate() {
            plan.follows.clear();
            for (group, ran) in groups.iter().zip(&shortened) {
                let shapes = [whole.outputs[output].shape(), ran.outputs[output].shape()];
                let found = following(group, [&whole.request, &ran.request], shapes);
                let found = found.map_err(|axis| {
                    PaddingVerdict::unproven(format!(
                        "axis {axis} of output {:?} depends on a padded length and is not as long",
                        self.signature.outputs[output].name
                    ))
                })?;
                plan.follows.extend(found);
            }
        }
        Ok(())
    }

    /// Padded axes that have one length: by their name in the model, or each by itself.
    fn groups(&self, plan: &Plan) -> Vec<Vec<Place>> {
        let name = |(input, axis): Place| match self.signature.inputs[input]
            .shape
            .as_ref()
            .and_then(|shape| shape.get(axis))
        {
            Some(Dimension::Named(name)) => Some(name),
            _ => None,
        };
        let mut groups: Vec<Vec<Place>> = Vec::new();
        for place in padded(plan) {
            let same =
                |group: &&mut Vec<Place>| name(place).is_some() && name(group[0]) == name(place);
            match groups.iter_mut().find(same) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        groups
    }

    /// Runs a long and a short request padded together, in both orders, and compares with their
    /// answers alone.
    fn compare(
        &mut self,
        plan: &Plan,
        long: &Sample,
        short: &Sample,
    ) -> Result<(), PaddingVerdict> {
        let rows = [self.run(long, 1)?, self.run(short, 2)?];
        for order in [[0, 1], [1, 0]] {
            let rows = order.map(|place| &rows[place]);
            let requests = rows.map(|row| &row.request);
            let unproven = |error: String| PaddingVerdict::unproven(error);
            let inputs = join(plan, &requests).map_err(|error| unproven(error.to_string()))?;
            let wanted: Vec<usize> = (0..self.signature.outputs.len()).collect();
            let tensors =
                self.slot.run(&inputs, &wanted).map_err(|error| unproven(error.to_string()))?;
            let shares = requests.map(|request| Share { request, rows: 1 });
            let answer = Answer { wanted: &wanted, tensors };
            let parts = split(plan, self.signature, &answer, &shares)
                .map_err(|error| unproven(error.to_string()))?;
            self.compare_parts(&rows, &parts)?;
        }
        Ok(())
    }

    fn compare_parts(&self, rows: &[&Ran], parts: &[Vec<Tensor>]) -> Result<(), PaddingVerdict> {
        let pairs = rows.iter().zip(parts).map(|(row, parts)| (&*row.outputs, &**parts));
        worst_difference(pairs).map_or(Ok(()), |(output, difference)| {
            let output = self.signature.outputs[output].name.clone();
            Err(PaddingVerdict::Differs { output, difference })
        })
    }
}

fn padded(plan: &Plan) -> Vec<Place> {
    let inputs = plan.inputs.iter().enumerate();
    inputs.flat_map(|(input, plan)| plan.padded.iter().map(move |&axis| (input, axis))).collect()
}

/// Puts a one into whole numbers that are all zero: a mask that hides everything is none that
/// anybody sends, and what a model makes of nothing may depend on how much of it there is.
fn show_something(tensor: &mut Tensor) {
    use DataType::{BFloat16, Float16, Float32, Float64};
    let data_type = tensor.data_type();
    let Some(bytes) = tensor.bytes().filter(|bytes| bytes.iter().all(|&byte| byte == 0)) else {
        return;
    };
    if bytes.is_empty() || matches!(data_type, BFloat16 | Float16 | Float32 | Float64) {
        return;
    }
    let one = element(data_type, 1.0);
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice()[..one.len()].copy_from_slice(&one);
    let shape = Shape::from_slice(tensor.shape());
    *tensor = Tensor::numbers(data_type, shape, buffer.into_bytes())
        .expect("type, shape and byte count are those of a tensor");
}

/// A length that leaves something to pad, of one that is at least 2.
fn shorter(size: usize) -> usize {
    size.div_ceil(2)
}

/// The output's axes that are as long as the group's, long and short.
///
/// # Errors
/// The axis that changes with the group's length and has another.
fn following(
    group: &[Place],
    requests: [&Request; 2],
    shapes: [&[usize]; 2],
) -> Result<SmallVec<[Follows; 2]>, usize> {
    let length = |request: &Request, (input, axis): Place| {
        request.inputs[input].as_ref()?.shape().get(axis).copied()
    };
    let [whole, short] = shapes;
    if whole.len() != short.len() {
        return Err(0);
    }
    let mut follows = SmallVec::new();
    for axis in (0..whole.len()).filter(|&axis| whole[axis] != short[axis]) {
        let as_long = |place: &&Place| {
            length(requests[0], **place) == Some(whole[axis])
                && length(requests[1], **place) == Some(short[axis])
        };
        let &(input, input_axis) = group.iter().find(as_long).ok_or(axis)?;
        follows.push(Follows { output_axis: axis, input, input_axis });
    }
    Ok(follows)
}
