//! What both ways to the weight gradient share: sums over shares of the batch, and their sum.
//!
//! The batch is cut into shares by the shape alone, and the shares' sums are added in their order:
//! so the threads decide when a share is summed and never what comes out.

use std::ops::Range;

use super::Call;
use super::scratch::Buffer;
use crate::kernels::{KernelError, for_each_part};

/// Shares of a batch at most.
const SHARES: usize = 8;

/// Floats of all shares' sums at most, unless a single one has more.
const SHARED_FLOATS: usize = 1 << 20;

/// How a batch is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    batch: usize,
    pub count: usize,
}

impl Shares {
    /// For sums of `length` floats.
    pub fn new(batch: usize, length: usize) -> Shares {
        let count = (SHARED_FLOATS / length.max(1)).clamp(1, SHARES).min(batch.max(1));
        Shares { batch, count }
    }

    /// The images of a share.
    pub fn images(&self, share: usize) -> Range<usize> {
        share * self.batch / self.count..(share + 1) * self.batch / self.count
    }

    /// Memory for the sums of all shares.
    pub fn zeros(&self, call: Call, length: usize) -> Result<Buffer, KernelError> {
        Buffer::zeros(call.kernel, length.checked_mul(self.count))
    }
}

/// Adds up the shares' sums, of `length` floats each, into `dw`: element `k` of its row `r`, of
/// `row` elements, is at `start + k * step` of each share's, where `place(r)` is `(start, step)`.
pub(super) fn add_up(
    call: Call,
    (sums, length): (&[f32], usize),
    (dw, row): (&mut [f32], usize),
    place: impl Fn(usize) -> (usize, usize) + Sync,
) {
    // Rows of a task: short ones would cost more in handing out than in adding.
    let rows = (4096 / row).max(1);
    for_each_part(call.parallel, dw.chunks_mut(row * rows), |task, dw| {
        for (index, to) in dw.chunks_mut(row).enumerate() {
            let (start, step) = place(task * rows + index);
            for (share, sums) in sums.chunks(length).enumerate() {
                let values = sums[start..].iter().step_by(step);
                for (to, value) in to.iter_mut().zip(values) {
                    *to = if share == 0 { *value } else { *to + value };
                }
            }
        }
    });
}
