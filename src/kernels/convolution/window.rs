//! The part of a padded image that a strip of destinations reads, as a copy: with the padding's
//! zeros written out, so that the sums know no edges.

use super::plan::Plan;
use super::scratch::{LINE, test_small};
use crate::kernels::vector::{LANES, Vector};

/// Floats of a window that a task aims at: a quarter of a megabyte, half of a usual second-level
/// cache.
const WINDOW_FLOATS: usize = test_small(1 << 16, 1 << 10);

/// How a window lies in memory, and how it is cut from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub channels: usize,
    /// Coordinates of the source, for the strip that begins at destination 0.
    start: [isize; 3],
    extent: [usize; 3],
    /// Sizes of the source.
    source: [usize; 3],
    /// Columns `c`, `c + interleave`, `c + 2 * interleave`, … lie side by side: where a kernel
    /// loads several destinations at once, a stride is no longer seen.
    pub interleave: usize,
    /// Floats between columns of the next residue, rows, planes and channels.
    pub residue: usize,
    pub line: usize,
    pub plane: usize,
    pub channel: usize,
}

/// Destinations of one task, counted in each phase: all columns, some rows, some planes. Several
/// planes only where each is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strip {
    pub depth: usize,
    pub height: usize,
}

impl Strip {
    /// The strip whose window is of a good size.
    pub fn choose(plan: &Plan) -> Strip {
        let reach = |index: usize| {
            let (least, most) = plan.axes[index].offsets().unwrap_or((0, 0));
            (most - least) as usize + 1
        };
        let [depth, height, width] = [0, 1, 2].map(|index| plan.axes[index].count());
        let line = width * plan.axes[2].source_step + reach(2);
        let lines = WINDOW_FLOATS / (plan.source_channels.saturating_mul(line)).max(1);
        let rows = |planes: usize, lines: usize| {
            (lines / planes).saturating_sub(reach(1)) / plan.axes[1].source_step + 1
        };
        if rows(reach(0), lines) < height || height == 0 {
            return Strip { depth: 1, height: rows(reach(0), lines).min(height).max(1) };
        }
        let plane = height * plan.axes[1].source_step + reach(1);
        let planes = (lines / plane).saturating_sub(reach(0)) / plan.axes[0].source_step + 1;
        Strip { depth: planes.min(depth).max(1), height }
    }

    /// How many strips there are, along depth and height.
    pub fn counts(&self, plan: &Plan) -> [usize; 2] {
        [plan.axes[0].count().div_ceil(self.depth), plan.axes[1].count().div_ceil(self.height)]
    }
}

impl Window {
    /// The window of `strip`. Rows have room for loads of whole vectors, in and out.
    pub fn new(plan: &Plan, strip: Strip, interleaved: bool) -> Window {
        let counts = [strip.depth, strip.height, plan.axes[2].count()];
        let mut start = [0; 3];
        let mut extent = [0; 3];
        for (index, axis) in plan.axes.iter().enumerate() {
            let (least, most) = axis.offsets().unwrap_or((0, 0));
            start[index] = least;
            let last = counts[index].saturating_sub(1) * axis.source_step;
            extent[index] = last + (most - least) as usize + 1;
        }
        let interleave = if interleaved { plan.axes[2].source_step } else { 1 };
        let residue = (extent[2].div_ceil(interleave) + 2 * LANES).next_multiple_of(LANES);
        let line = residue.saturating_mul(interleave);
        let plane = line.saturating_mul(extent[1]);
        Window {
            channels: plan.source_channels,
            start,
            extent,
            source: plan.axes.each_ref().map(|axis| axis.source),
            interleave,
            residue,
            line,
            plane,
            channel: spread(plane.saturating_mul(extent[0]).saturating_add(2 * LANES)),
        }
    }

    /// Floats of the whole window.
    pub fn len(&self) -> Option<usize> {
        // `spread` and the products above saturate: what does not fit is refused here.
        self.channel.checked_mul(self.channels).filter(|&length| length < usize::MAX / 2)
    }

    /// Where a tap reads, for the destination at the window's beginning.
    pub fn tap(&self, offset: [isize; 3]) -> usize {
        let [depth, row, column] = [0, 1, 2].map(|i| (offset[i] - self.start[i]) as usize);
        depth * self.plane
            + row * self.line
            + column % self.interleave * self.residue
            + column / self.interleave
    }

    /// Cuts the window that begins `moved` source planes and rows further on out of an image: one
    /// channel after the other.
    #[inline(always)]
    pub fn cut<V: Vector>(&self, image: &[f32], moved: [usize; 2], to: &mut [f32]) {
        let plane = self.source.iter().product::<usize>();
        for channel in 0..self.channels {
            let from = &image[channel * plane..(channel + 1) * plane];
            let to = &mut to[channel * self.channel..(channel + 1) * self.channel];
            for depth in 0..self.extent[0] {
                let source_depth = self.start[0] + (moved[0] + depth) as isize;
                for row in 0..self.extent[1] {
                    let source_row = self.start[1] + (moved[1] + row) as isize;
                    let to = &mut to[depth * self.plane + row * self.line..];
                    let (inside, begin) = self.row_of(source_depth, source_row);
                    if !inside {
                        to[..self.line].fill(0.0);
                    } else if self.interleave == 1 {
                        self.cut_row::<V>(&from[begin..begin + self.source[2]], to);
                    } else {
                        self.cut_interleaved::<V>(&from[begin..begin + self.source[2]], to);
                    }
                }
            }
        }
    }

    /// Whether the image has that row, and where it begins.
    #[inline(always)]
    fn row_of(&self, depth: isize, row: isize) -> (bool, usize) {
        let within = |at: isize, size: usize| at >= 0 && at < size as isize;
        if !within(depth, self.source[0]) || !within(row, self.source[1]) {
            return (false, 0);
        }
        (true, (depth as usize * self.source[1] + row as usize) * self.source[2])
    }

    /// The columns of the window, as a range, that lie in the image, and the first one's column in
    /// the image.
    #[inline(always)]
    fn columns(&self) -> (usize, usize, usize) {
        let start = self.start[2];
        let first = (-start).max(0).min(self.extent[2] as isize);
        let end = (self.source[2] as isize - start).clamp(first, self.extent[2] as isize);
        (first as usize, end as usize, (start + first).max(0) as usize)
    }

    /// `to` begins at the row and has at least its line.
    #[inline(always)]
    fn cut_row<V: Vector>(&self, row: &[f32], to: &mut [f32]) {
        let (first, end, column) = self.columns();
        let to = &mut to[..self.line];
        to[..first].fill(0.0);
        to[end..].fill(0.0);
        if first < end {
            copy::<V>(&row[column..column + end - first], &mut to[first..end]);
        }
    }

    #[inline(always)]
    fn cut_interleaved<V: Vector>(&self, row: &[f32], to: &mut [f32]) {
        let (first, end, column) = self.columns();
        to[..self.line].fill(0.0);
        let mut at = first;
        if self.interleave == 2 {
            let (low, high) = to[..self.line].split_at_mut(self.residue);
            let (even, odd) = if first % 2 == 0 { (low, high) } else { (high, low) };
            // Where the first column is odd, its neighbour is the even residue's next.
            while at + 2 * LANES <= end {
                let from = &row[column + at - first..][..2 * LANES];
                // SAFETY: the slice has two vectors' length.
                let pair = unsafe { [V::load(from.as_ptr()), V::load(from[LANES..].as_ptr())] };
                let (first, second) = pair[0].deinterleave(pair[1]);
                // SAFETY: both slices have a vector's length.
                unsafe {
                    first.store(even[at / 2..][..LANES].as_mut_ptr());
                    second.store(odd[at.div_ceil(2)..][..LANES].as_mut_ptr());
                }
                at += 2 * LANES;
            }
        }
        for at in at..end {
            let place = at % self.interleave * self.residue + at / self.interleave;
            to[place] = row[column + at - first];
        }
    }
}

/// The next odd count of cache lines: so that channels do not fall on the same few sets of the
/// first-level cache, as they do where a channel has 4096 bytes.
pub(super) fn spread(floats: usize) -> usize {
    let lines = floats.div_ceil(LINE);
    (lines | 1).saturating_mul(LINE)
}

/// Copies equal slices. Rows are short: a call of `memcpy` takes longer than the row.
#[inline(always)]
pub(super) fn copy<V: Vector>(from: &[f32], to: &mut [f32]) {
    let length = from.len();
    assert_eq!(length, to.len());
    if length < LANES {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        return;
    }
    let mut at = 0;
    while at < length {
        // The last vector overlaps the one before.
        let start = at.min(length - LANES);
        // SAFETY: `start + LANES` is at most the length of both.
        unsafe { V::load(from.as_ptr().add(start)).store(to.as_mut_ptr().add(start)) };
        at += LANES;
    }
}
