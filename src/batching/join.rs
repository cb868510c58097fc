//! From the inputs of several requests to the inputs of one run.
//!
//! Bytes are copied once, from where the request came in to the batch's own aligned memory. A
//! batch of one is not copied at all, unless its bytes lie where no engine could read them.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Request;
use super::plan::{InputPlan, Plan};
use super::strided::{Place, for_each_run};
use crate::tensor::{AlignedBuffer, Data, Shape, Tensor, TensorError, element_count};

/// Padding may blow a batch up to this many times the bytes that came, and never mind the first
/// [`PADDING_FREE_BYTES`]: beyond that, running apart is cheaper, and memory stays bounded.
const MAX_PADDING_RATIO: usize = 8;
const PADDING_FREE_BYTES: usize = 1 << 20;

/// Why requests cannot be joined; each is run by itself then.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum JoinError {
    #[error("padded, the batch would take {padded} bytes for {own} bytes of input")]
    TooMuchPadding { padded: usize, own: usize },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The inputs of a single request.
pub(super) fn alone(request: &Request) -> Vec<Option<Tensor>> {
    request.inputs.iter().map(|input| input.as_ref().map(aligned)).collect()
}

/// Joins requests of one group.
///
/// # Errors
/// As [`JoinError`] says.
pub(super) fn join(plan: &Plan, requests: &[&Request]) -> Result<Vec<Option<Tensor>>, JoinError> {
    plan.inputs
        .iter()
        .enumerate()
        .map(|(index, plan)| {
            let parts: SmallVec<[&Tensor; 32]> =
                requests.iter().filter_map(|request| request.inputs[index].as_ref()).collect();
            match (parts.first(), plan.axis) {
                (None, _) => Ok(None),
                (Some(first), None) => Ok(Some(aligned(first))),
                (Some(_), Some(axis)) => join_tensors(plan, axis, &parts).map(Some),
            }
        })
        .collect()
}

/// The tensor itself where its elements lie aligned, else a copy that is.
fn aligned(tensor: &Tensor) -> Tensor {
    let Data::Numbers(bytes) = tensor.data() else { return tensor.clone() };
    let size = tensor.data_type().size().unwrap_or(1);
    if (bytes.as_ptr() as usize).is_multiple_of(size) {
        return tensor.clone();
    }
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    Tensor::numbers(tensor.data_type(), Shape::from_slice(tensor.shape()), buffer.into_bytes())
        .expect("type, shape and byte count are those of a tensor")
}

fn join_tensors(plan: &InputPlan, axis: usize, parts: &[&Tensor]) -> Result<Tensor, JoinError> {
    let mut shape = Shape::from_slice(parts[0].shape());
    let mut padded = false;
    for part in &parts[1..] {
        shape[axis] = shape[axis]
            .checked_add(part.shape()[axis])
            .ok_or_else(|| TensorError::TooLarge { shape: part.shape().to_vec() })?;
        for &pad_axis in &plan.padded {
            let Some(longest) = shape.get_mut(pad_axis) else { continue };
            padded |= *longest != part.shape()[pad_axis];
            *longest = (*longest).max(part.shape()[pad_axis]);
        }
    }
    let count =
        element_count(&shape).ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
    let own: usize = parts.iter().map(|part| part.element_count()).sum();
    if padded {
        let size = parts[0].data_type().size().unwrap_or(size_of::<Bytes>());
        let (padded, own) = (count.saturating_mul(size), own.saturating_mul(size));
        if padded > own.saturating_mul(MAX_PADDING_RATIO).saturating_add(PADDING_FREE_BYTES) {
            return Err(JoinError::TooMuchPadding { padded, own });
        }
    }
    match parts[0].data_type().size() {
        Some(size) => {
            let mut buffer = numbers_buffer(count, size, plan, padded)?;
            fill_numbers(buffer.as_mut_slice(), size, axis, &shape, parts);
            let data_type = parts[0].data_type();
            Ok(Tensor::numbers(data_type, shape, buffer.into_bytes())?)
        }
        None => {
            let mut strings = vec![Bytes::new(); count];
            let mut start: Shape = SmallVec::from_elem(0, shape.len());
            for part in parts {
                if let Data::Strings(own) = part.data() {
                    for_each_part_run(part, &shape, &start, |from, to, length| {
                        strings[to..to + length].clone_from_slice(&own[from..from + length]);
                    });
                }
                start[axis] += part.shape()[axis];
            }
            Ok(Tensor::strings(shape, strings)?)
        }
    }
}

/// Memory for the batch, filled with the padding where some of it will stay uncovered.
fn numbers_buffer(
    count: usize,
    size: usize,
    plan: &InputPlan,
    padded: bool,
) -> Result<AlignedBuffer, TensorError> {
    let length =
        count.checked_mul(size).ok_or_else(|| TensorError::TooLarge { shape: vec![count] })?;
    let mut buffer = AlignedBuffer::zeroed(length);
    if padded && plan.padding.iter().any(|&byte| byte != 0) {
        for element in buffer.as_mut_slice().chunks_exact_mut(size) {
            element.copy_from_slice(&plan.padding);
        }
    }
    Ok(buffer)
}

fn fill_numbers(buffer: &mut [u8], size: usize, axis: usize, shape: &[usize], parts: &[&Tensor]) {
    let mut start: Shape = SmallVec::from_elem(0, shape.len());
    for part in parts {
        let Some(bytes) = part.bytes() else { continue };
        for_each_part_run(part, shape, &start, |from, to, length| {
            buffer[to * size..(to + length) * size]
                .copy_from_slice(&bytes[from * size..(from + length) * size]);
        });
        start[axis] += part.shape()[axis];
    }
}

/// The runs that bring a whole part to its place in the batch.
fn for_each_part_run(
    part: &Tensor,
    shape: &[usize],
    start: &[usize],
    copy: impl FnMut(usize, usize, usize),
) {
    let origin: Shape = SmallVec::from_elem(0, shape.len());
    let from = Place { shape: part.shape(), start: &origin };
    for_each_run(part.shape(), from, Place { shape, start }, copy);
}
