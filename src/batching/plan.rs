//! What must be known of a model to join its requests: where the batch lies, what is padded with
//! what, which output axes follow a padded one; and by it, which requests may share a batch.

use half::{bf16, f16};
use smallvec::SmallVec;

use super::axes::Axes;
use super::queue::ALONE;
use super::{BatchingSettings, Request, RequestError};
use crate::engine::Signature;
use crate::tensor::{DataType, Dimension, Tensor, TensorSpec};

/// How one input is joined.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InputPlan {
    pub axis: Option<usize>,
    /// Axes that are padded to the longest of the batch.
    pub padded: SmallVec<[usize; 2]>,
    /// One element of padding, as it lies in memory; empty for strings.
    pub padding: SmallVec<[u8; 8]>,
}

/// An output's axis that is as long as a padded input's: by its name, until runs have shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Follows {
    pub output_axis: usize,
    pub input: usize,
    pub input_axis: usize,
}

/// How one output is split.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutputPlan {
    pub axis: Option<usize>,
    pub follows: SmallVec<[Follows; 2]>,
}

/// The plan of one model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub inputs: Vec<InputPlan>,
    pub outputs: Vec<OutputPlan>,
}

/// What requests of one batch have in common: which inputs came, their shapes without the axes
/// that may differ, and the values of inputs that have no batch axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GroupKey {
    sizes: SmallVec<[usize; 12]>,
    values: Vec<Tensor>,
}

/// Marks an input that was left out, and a place where sizes may differ.
const ABSENT: usize = usize::MAX;
const ANY: usize = usize::MAX - 1;
/// Begins the key of those who run alone; no rank is as high.
const SOLITARY: usize = usize::MAX - 2;

/// Where a request belongs in the queue.
#[derive(Debug, PartialEq)]
pub(super) struct Admission {
    pub key: GroupKey,
    /// Rows it brings, or [`ALONE`].
    pub rows: usize,
}

impl Admission {
    /// Of a request that shares a batch with nobody.
    pub fn alone() -> Admission {
        let key = GroupKey { sizes: SmallVec::from_slice(&[SOLITARY]), values: Vec::new() };
        Admission { key, rows: ALONE }
    }
}

impl Plan {
    /// The plan for these batch axes, with the padding that `settings` allow.
    pub fn new(signature: &Signature, axes: &Axes, settings: &BatchingSettings) -> Plan {
        let inputs: Vec<InputPlan> = signature
            .inputs
            .iter()
            .zip(&axes.inputs)
            .map(|(input, &axis)| input_plan(input, axis, settings))
            .collect();
        let outputs = signature
            .outputs
            .iter()
            .zip(&axes.outputs)
            .map(|(output, &axis)| OutputPlan {
                axis,
                follows: follows(signature, &inputs, output, axis),
            })
            .collect();
        Plan { inputs, outputs }
    }

    /// From now on, requests of unlike shapes do not share a batch.
    pub fn forbid_padding(&mut self) {
        for input in &mut self.inputs {
            input.padded.clear();
            input.padding.clear();
        }
        self.outputs.iter_mut().for_each(|output| output.follows.clear());
    }

    /// Finds where a request belongs.
    ///
    /// # Errors
    /// Inputs whose batch axes have the same name in the model disagree on the rows.
    pub fn admit(
        &self,
        signature: &Signature,
        request: &Request,
    ) -> Result<Admission, RequestError> {
        let Some(rows) = self.rows(signature, request)? else {
            return Ok(Admission::alone());
        };
        let mut key = GroupKey::default();
        for (tensor, plan) in request.inputs.iter().zip(&self.inputs) {
            let Some(tensor) = tensor else {
                key.sizes.push(ABSENT);
                continue;
            };
            key.sizes.push(tensor.shape().len());
            for (axis, &size) in tensor.shape().iter().enumerate() {
                let differs = plan.axis == Some(axis) || plan.padded.contains(&axis);
                key.sizes.push(if differs { ANY } else { size });
            }
            if plan.axis.is_none() {
                key.values.push(tensor.clone());
            }
        }
        Ok(Admission { key, rows })
    }

    /// Rows of a request; `None` where it has no common number of them, and so runs alone: what
    /// the model makes of it is the model's business.
    fn rows(
        &self,
        signature: &Signature,
        request: &Request,
    ) -> Result<Option<usize>, RequestError> {
        let mut first: Option<(usize, usize)> = None;
        for (index, (tensor, plan)) in request.inputs.iter().zip(&self.inputs).enumerate() {
            let (Some(tensor), Some(axis)) = (tensor, plan.axis) else { continue };
            let Some(&rows) = tensor.shape().get(axis) else { return Ok(None) };
            match first {
                None => first = Some((index, rows)),
                Some((_, expected)) if expected == rows => {}
                Some((other, expected)) => {
                    if !self.same_name(signature, other, index) {
                        return Ok(None);
                    }
                    return Err(RequestError::RowsDisagree {
                        input: signature.inputs[index].name.clone(),
                        actual: rows,
                        first: signature.inputs[other].name.clone(),
                        expected,
                    });
                }
            }
        }
        Ok(first.map(|(_, rows)| rows))
    }

    /// Whether the model says by name that two inputs have equally many rows. Where it does not,
    /// it may broadcast one against the other.
    fn same_name(&self, signature: &Signature, one: usize, other: usize) -> bool {
        let name = |index: usize| match signature.inputs[index]
            .shape
            .as_ref()?
            .get(self.inputs[index].axis?)?
        {
            Dimension::Named(name) => Some(name),
            Dimension::Fixed(_) | Dimension::Unknown => None,
        };
        name(one).is_some() && name(one) == name(other)
    }
}

fn input_plan(input: &TensorSpec, axis: Option<usize>, settings: &BatchingSettings) -> InputPlan {
    let mut plan = InputPlan { axis, padded: SmallVec::new(), padding: SmallVec::new() };
    // An input without a batch axis is the same in the whole batch: there is nothing to pad.
    if axis.is_none() {
        return plan;
    }
    let own = settings.padding.iter().filter(|padding| padding.input == input.name);
    for padding in own.filter(|padding| Some(padding.axis) != axis) {
        if plan.padded.is_empty() {
            plan.padding = element(input.data_type, padding.value);
        }
        plan.padded.push(padding.axis);
    }
    plan
}

/// The output's axes that are named like a padded axis of an input.
fn follows(
    signature: &Signature,
    inputs: &[InputPlan],
    output: &TensorSpec,
    batch_axis: Option<usize>,
) -> SmallVec<[Follows; 2]> {
    let mut found = SmallVec::new();
    for (output_axis, dimension) in output.shape.iter().flatten().enumerate() {
        if Some(output_axis) == batch_axis || !matches!(dimension, Dimension::Named(_)) {
            continue;
        }
        let padded = inputs.iter().enumerate().find_map(|(input, plan)| {
            let shape = signature.inputs[input].shape.as_ref()?;
            let same = |axis: &usize| shape.get(*axis) == Some(dimension);
            plan.padded.iter().copied().find(same).map(|input_axis| (input, input_axis))
        });
        if let Some((input, input_axis)) = padded {
            found.push(Follows { output_axis, input, input_axis });
        }
    }
    found
}

/// `value` as one element of the type: rounded, and clamped to the type's range.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` clamps: it is wanted.
pub(super) fn element(data_type: DataType, value: f64) -> SmallVec<[u8; 8]> {
    let whole = value.round();
    match data_type {
        DataType::Bool => SmallVec::from_slice(&[u8::from(value != 0.0)]),
        DataType::Uint8 => SmallVec::from_slice(&(whole as u8).to_le_bytes()),
        DataType::Uint16 => SmallVec::from_slice(&(whole as u16).to_le_bytes()),
        DataType::Uint32 => SmallVec::from_slice(&(whole as u32).to_le_bytes()),
        DataType::Uint64 => SmallVec::from_slice(&(whole as u64).to_le_bytes()),
        DataType::Int8 => SmallVec::from_slice(&(whole as i8).to_le_bytes()),
        DataType::Int16 => SmallVec::from_slice(&(whole as i16).to_le_bytes()),
        DataType::Int32 => SmallVec::from_slice(&(whole as i32).to_le_bytes()),
        DataType::Int64 => SmallVec::from_slice(&(whole as i64).to_le_bytes()),
        DataType::Float16 => SmallVec::from_slice(&f16::from_f64(value).to_le_bytes()),
        DataType::BFloat16 => SmallVec::from_slice(&bf16::from_f64(value).to_le_bytes()),
        DataType::Float32 => SmallVec::from_slice(&(value as f32).to_le_bytes()),
        DataType::Float64 => SmallVec::from_slice(&value.to_le_bytes()),
        DataType::String => SmallVec::new(),
    }
}
