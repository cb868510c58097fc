//! From the outputs of one run back to the requests.
//!
//! Where an output's batch lies on its first axis, a request's share is a slice of the batch's
//! own memory; elsewhere, and where padding is cut off again, it is gathered into memory of its
//! own.

use smallvec::SmallVec;

use super::Request;
use super::plan::{Follows, OutputPlan, Plan};
use super::strided::{Place, for_each_run};
use crate::engine::Signature;
use crate::tensor::{AlignedBuffer, Data, Shape, Tensor, element_count};

/// The engine's outputs do not hold a row for each that went in: the model cannot be batched
/// after all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    #[error("a run gave {actual} outputs where {expected} were asked for")]
    OutputCount { expected: usize, actual: usize },
    #[error(
        "output {output:?} came with shape {shape:?}: {rows} rows were expected on axis {axis}"
    )]
    Rows { output: String, shape: Vec<usize>, axis: usize, rows: usize },
}

/// One run's answer.
pub(super) struct Answer<'a> {
    /// Indices into the signature's outputs, one per tensor.
    pub wanted: &'a [usize],
    pub tensors: Vec<Tensor>,
}

/// One request of a batch of several, and the rows it brought.
pub(super) struct Share<'a> {
    pub request: &'a Request,
    pub rows: usize,
}

/// Gives each request its outputs, in the order it named them.
///
/// # Errors
/// The outputs do not have the rows that went in; nothing may be given out then.
pub(super) fn split(
    plan: &Plan,
    signature: &Signature,
    answer: &Answer<'_>,
    shares: &[Share<'_>],
) -> Result<Vec<Vec<Tensor>>, SplitError> {
    let rows = shares.iter().map(|share| share.rows).sum();
    check_rows(plan, signature, answer, rows)?;
    let mut first_row = 0;
    let mut replies = Vec::with_capacity(shares.len());
    for share in shares {
        let outputs = share.request.outputs.iter().map(|&output| {
            let place = answer
                .wanted
                .iter()
                .position(|&wanted| wanted == output)
                .expect("the batch asked for every output of its requests");
            own_part(&plan.outputs[output], &answer.tensors[place], first_row, share, shares)
        });
        replies.push(outputs.collect());
        first_row += share.rows;
    }
    Ok(replies)
}

/// Gives a single request its outputs as they are.
///
/// # Errors
/// The run gave another number of outputs than it was asked for.
pub(super) fn whole(request: &Request, answer: Answer<'_>) -> Result<Vec<Tensor>, SplitError> {
    check_count(&answer)?;
    if request.outputs.as_slice() == answer.wanted {
        return Ok(answer.tensors);
    }
    let place = |output: &usize| answer.wanted.iter().position(|wanted| wanted == output);
    Ok(request
        .outputs
        .iter()
        .filter_map(place)
        .map(|place| answer.tensors[place].clone())
        .collect())
}

fn check_count(answer: &Answer<'_>) -> Result<(), SplitError> {
    let (expected, actual) = (answer.wanted.len(), answer.tensors.len());
    if expected == actual { Ok(()) } else { Err(SplitError::OutputCount { expected, actual }) }
}

fn check_rows(
    plan: &Plan,
    signature: &Signature,
    answer: &Answer<'_>,
    rows: usize,
) -> Result<(), SplitError> {
    check_count(answer)?;
    for (&output, tensor) in answer.wanted.iter().zip(&answer.tensors) {
        let Some(axis) = plan.outputs[output].axis else { continue };
        if tensor.shape().get(axis) != Some(&rows) {
            return Err(SplitError::Rows {
                output: signature.outputs[output].name.clone(),
                shape: tensor.shape().to_vec(),
                axis,
                rows,
            });
        }
    }
    Ok(())
}

fn own_part(
    plan: &OutputPlan,
    tensor: &Tensor,
    first_row: usize,
    share: &Share<'_>,
    shares: &[Share<'_>],
) -> Tensor {
    let Some(axis) = plan.axis else { return tensor.clone() };
    let mut size = Shape::from_slice(tensor.shape());
    size[axis] = share.rows;
    let mut cut = axis != 0;
    for follows in &plan.follows {
        if let Some(length) = own_length(follows, tensor, share, shares) {
            cut |= length != size[follows.output_axis];
            size[follows.output_axis] = length;
        }
    }
    let mut start: Shape = SmallVec::from_elem(0, size.len());
    start[axis] = first_row;
    if cut { gather(tensor, &start, size) } else { slice_rows(tensor, first_row, size) }
}

/// The request's own length of a padded axis, where the output's axis really has the length that
/// the batch was padded to.
fn own_length(
    follows: &Follows,
    tensor: &Tensor,
    share: &Share<'_>,
    shares: &[Share<'_>],
) -> Option<usize> {
    let length = |share: &Share<'_>| {
        share.request.inputs[follows.input].as_ref()?.shape().get(follows.input_axis).copied()
    };
    let longest = shares.iter().filter_map(length).max()?;
    if tensor.shape().get(follows.output_axis) != Some(&longest) {
        return None;
    }
    length(share)
}

/// Rows of the first axis, without a copy.
fn slice_rows(tensor: &Tensor, first_row: usize, size: Shape) -> Tensor {
    // The other axes of an empty tensor may be larger than any memory.
    let row = if size.contains(&0) { 0 } else { size[1..].iter().product() };
    let (begin, end) = (first_row * row, (first_row + size[0]) * row);
    let part = match tensor.data() {
        Data::Numbers(bytes) => {
            let width = tensor.data_type().size().unwrap_or(1);
            Tensor::numbers(tensor.data_type(), size, bytes.slice(begin * width..end * width))
        }
        Data::Strings(strings) => Tensor::strings(size, strings[begin..end].to_vec()),
    };
    part.expect("the slice holds exactly the rows that its shape says")
}

fn gather(tensor: &Tensor, start: &[usize], size: Shape) -> Tensor {
    let count = element_count(&size).expect("a part of a tensor is no larger than it");
    let origin: Shape = SmallVec::from_elem(0, size.len());
    let from = Place { shape: tensor.shape(), start };
    let to = Place { shape: &size, start: &origin };
    let part = match tensor.data() {
        Data::Numbers(bytes) => {
            let width = tensor.data_type().size().unwrap_or(1);
            let mut buffer = AlignedBuffer::zeroed(count * width);
            let target = buffer.as_mut_slice();
            for_each_run(&size, from, to, |source, place, length| {
                target[place * width..(place + length) * width]
                    .copy_from_slice(&bytes[source * width..(source + length) * width]);
            });
            Tensor::numbers(tensor.data_type(), size.clone(), buffer.into_bytes())
        }
        Data::Strings(strings) => {
            let mut target = Vec::with_capacity(count);
            for_each_run(&size, from, to, |source, _, length| {
                target.extend_from_slice(&strings[source..source + length]);
            });
            Tensor::strings(size.clone(), target)
        }
    };
    part.expect("the gathered elements are as many as the shape says")
}
