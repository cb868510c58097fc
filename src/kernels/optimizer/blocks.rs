//! Parameters of any size, cut and packed into tasks of about one size.

use super::gradient::Gradient;
use crate::kernels::error::{KernelError, check_length};
use crate::kernels::parallel::{Parallel, for_each_part};

/// Elements of a task: large against handing a task out, small against what there is.
pub(super) const BLOCK: usize = 16_384;

/// Elements that are updated at once: what an update reads and writes of them stays in the nearest
/// cache when old values are copied to where the new ones go.
pub(super) const RUN: usize = 1024;

/// A parameter with what the optimiser keeps of it: `N` arrays of one length.
pub(super) struct Arrays<'a, const N: usize> {
    /// Updated in place, or overwritten where there are old ones.
    pub(super) new: [&'a mut [f32]; N],
    pub(super) old: Option<[&'a [f32]; N]>,
    pub(super) gradient: Gradient<'a>,
}

impl<const N: usize> Arrays<'_, N> {
    /// Checks that all are as long as the first of the new ones.
    pub(super) fn check(
        &self,
        kernel: &'static str,
        names: [&'static str; N],
        old_names: [&'static str; N],
    ) -> Result<(), KernelError> {
        let count = self.new.first().map_or(0, |first| first.len());
        for (name, new) in names.iter().zip(&self.new) {
            check_length(kernel, name, new, count)?;
        }
        for (name, old) in old_names.iter().zip(self.old.iter().flatten()) {
            check_length(kernel, name, old, count)?;
        }
        self.gradient.check(kernel, count)
    }
}

/// A part of a parameter.
struct Piece<'a, const N: usize> {
    parameter: usize,
    start: usize,
    arrays: Arrays<'a, N>,
}

/// Calls `update` with every run of every parameter, its number and its gradient, in parallel.
/// The arrays' lengths are checked.
pub(super) fn for_each_run<const N: usize>(
    parameters: Vec<Arrays<'_, N>>,
    parallel: &dyn Parallel,
    update: impl Fn(usize, [&mut [f32]; N], &[f32]) + Sync,
) {
    for_each_part(parallel, packed(parameters), |_, pieces| {
        for Piece { parameter, mut start, mut arrays } in pieces {
            loop {
                let left = arrays.new.first().map_or(0, |first| first.len());
                if left == 0 {
                    break;
                }
                let gradient = arrays.gradient.from(start, left.min(RUN));
                let count = gradient.len();
                let mut new = take(&mut arrays.new, count);
                if let Some(old) = arrays.old {
                    new.iter_mut().zip(old).for_each(|(new, old)| {
                        new.copy_from_slice(&old[start..start + count]);
                    });
                }
                update(parameter, new, gradient);
                start += count;
            }
        }
    });
}

/// Cuts what is longer than a block, and puts what is shorter together.
fn packed<const N: usize>(parameters: Vec<Arrays<'_, N>>) -> Vec<Vec<Piece<'_, N>>> {
    let mut tasks = Vec::new();
    let (mut pieces, mut room) = (Vec::new(), BLOCK);
    for (parameter, mut arrays) in parameters.into_iter().enumerate() {
        let mut start = 0;
        loop {
            let left = arrays.new.first().map_or(0, |first| first.len());
            if left == 0 {
                break;
            }
            let count = left.min(room);
            let new = take(&mut arrays.new, count);
            let piece = Arrays { new, old: arrays.old, gradient: arrays.gradient };
            pieces.push(Piece { parameter, start, arrays: piece });
            start += count;
            room -= count;
            if room == 0 {
                tasks.push(std::mem::take(&mut pieces));
                room = BLOCK;
            }
        }
    }
    if !pieces.is_empty() {
        tasks.push(pieces);
    }
    tasks
}

/// Takes the first `count` elements off each array; all have as many.
fn take<'a, const N: usize>(arrays: &mut [&'a mut [f32]; N], count: usize) -> [&'a mut [f32]; N] {
    arrays.each_mut().map(|array| array.split_off_mut(..count).unwrap_or_default())
}
