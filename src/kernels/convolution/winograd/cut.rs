//! What a strip of tiles reads of an image, padding written out, in four parts: rows and columns of
//! even and odd numbers. A tile's element is then at the tile's place, in one of the parts, plus a
//! distance that all tiles share: whole vectors of tiles are loaded at once.

use super::super::plan::Plan;
use super::super::scratch::test_small;
use super::super::window::{copy, spread};
use crate::kernels::vector::{LANES, Vector};

/// Floats of a cut that a task aims at.
const CUT_FLOATS: usize = test_small(1 << 16, 1 << 12);

/// How a cut lies in memory.
pub(super) struct Cut {
    pub channels: usize,
    /// Coordinates of the source that the first tile begins at.
    start: [isize; 2],
    /// Sizes of the source.
    source: [usize; 2],
    /// Rows and columns of a part.
    rows: usize,
    pub columns: usize,
    /// Floats of a part, and of a channel.
    pub part: usize,
    pub channel: usize,
}

fn part(rows: usize, columns: usize) -> usize {
    // Room for the last row's vectors to run over.
    rows.saturating_mul(columns).saturating_add(2 * LANES)
}

impl Cut {
    /// How many rows of tiles a strip should have.
    pub fn rows(plan: &Plan, rows: usize, columns: usize) -> usize {
        let floats = (CUT_FLOATS / (4 * plan.source_channels)).saturating_sub(2 * LANES);
        let most = (floats / (columns + 1)).saturating_sub(1).max(1);
        rows.div_ceil(rows.div_ceil(most))
    }

    /// For strips of `rows` of `columns` tiles.
    pub fn new(plan: &Plan, rows: usize, columns: usize) -> Cut {
        let start = |index: usize| plan.axes[index].offsets().map_or(0, |(least, _)| least);
        let part = part(rows + 1, columns + 1);
        Cut {
            channels: plan.source_channels,
            start: [start(1), start(2)],
            source: [plan.axes[1].source, plan.axes[2].source],
            rows: rows + 1,
            columns: columns + 1,
            part,
            channel: spread(part.saturating_mul(4)),
        }
    }

    /// Floats of a cut, and of a line that is used on the way.
    pub fn lens(&self) -> (Option<usize>, usize) {
        (self.channel.checked_mul(self.channels), 2 * self.columns + 2 * LANES)
    }

    /// Cuts what the strip reads that begins at tile row `first`.
    #[inline(always)]
    pub fn cut<V: Vector>(&self, image: &[f32], first: usize, line: &mut [f32], to: &mut [f32]) {
        line.fill(0.0);
        let [height, width] = self.source;
        let lead = (-self.start[1]).max(0) as usize;
        let skipped = self.start[1].max(0) as usize;
        // What a tile reads beyond the line is never used.
        let count = width.saturating_sub(skipped).min((2 * self.columns).saturating_sub(lead));
        for channel in 0..self.channels {
            let to = &mut to[channel * self.channel..(channel + 1) * self.channel];
            for row in 0..2 * self.rows {
                let (even, odd) = to[row % 2 * 2 * self.part..].split_at_mut(self.part);
                let start = row / 2 * self.columns;
                let room = self.columns.next_multiple_of(LANES);
                let (even, odd) = (&mut even[start..start + room], &mut odd[start..start + room]);
                let source = self.start[0] + (2 * first + row) as isize;
                if source < 0 || source >= height as isize || count == 0 {
                    even.fill(0.0);
                    odd.fill(0.0);
                    continue;
                }
                let begin = (channel * height + source as usize) * width + skipped;
                copy::<V>(&image[begin..begin + count], &mut line[lead..lead + count]);
                for at in (0..self.columns).step_by(LANES) {
                    let from = &line[2 * at..2 * at + 2 * LANES];
                    let (even, odd) = (&mut even[at..at + LANES], &mut odd[at..at + LANES]);
                    // SAFETY: the slices have the length of two vectors and of one each.
                    unsafe {
                        let next = V::load(from[LANES..].as_ptr());
                        let (evens, odds) = V::load(from.as_ptr()).deinterleave(next);
                        evens.store(even.as_mut_ptr());
                        odds.store(odd.as_mut_ptr());
                    }
                }
            }
        }
    }
}
