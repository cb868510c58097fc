//! The weight gradient where a group has many filters: a vector holds eight filters of one tap.

use std::ops::Range;

use super::Call;
use super::lanes::from_lines;
use super::layout::{Layout, Split};
use super::output::Output;
use super::plan::Plan;
use super::scratch::{Scratch, test_small};
use super::tile::{accumulate, load, pointers, store};
use super::weights::{Shares, add_up};
use super::wide::{BLOCK, Block, blocks};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// Destinations that are summed over at a time: their gradients, in lanes, are half of a
/// first-level cache.
const CHUNK: usize = test_small(256, 24);

pub(super) fn run(
    call: Call,
    plan: &Plan,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<(), KernelError> {
    let layout = Layout::new(plan, 1);
    let lanes = plan.destination_channels.next_multiple_of(LANES);
    let steps = layout.phases[0].offsets.len();
    let tables = Tables { plan, layout, blocks: blocks(plan.destination_channels), lanes, x, dy };
    // Not above eight times the elements of the weights, which were counted.
    let length = plan.group * lanes * steps;
    let shares = Shares::new(plan.batch, length);
    let mut sums = shares.zeros(call, length)?;
    let threads = call.parallel.threads();
    let split = Split::new(shares.count, [1, 1], plan.group * tables.blocks.len(), threads);
    let window = tables.layout.window.len();
    let buffer = window.and_then(|window| window.checked_add(CHUNK * BLOCK));
    let count = threads.min(split.count());
    let scratch = Scratch::new(call.kernel, buffer, count)?;
    let output = Output::new(&mut sums);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|buffer| {
            let task = split.task(index);
            let images = shares.images(task.image);
            let (first, units) = (task.image * length, task.units);
            let tables = &tables;
            call.level.run(Sum { tables, images, units, output: &output, first, buffer });
        });
    });
    let filters = plan.destination_channels;
    add_up(call, (&sums, length), (dw, steps), |filter| {
        let (group, filter) = (filter / filters, filter % filters);
        let block = tables.blocks[filter / BLOCK];
        let start = (group * lanes + block.first) * steps;
        (start + filter - block.first, block.lanes)
    });
    Ok(())
}

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    layout: Layout,
    blocks: Vec<Block>,
    /// Lanes of all blocks.
    lanes: usize,
    x: &'a [f32],
    dy: &'a [f32],
}

/// One task: some images, some blocks of filters.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    images: Range<usize>,
    units: Range<usize>,
    /// The sums of all shares, and where this share's begin.
    output: &'a Output<'a>,
    first: usize,
    buffer: &'a mut [f32],
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Tables { plan, layout, blocks, lanes, x, dy } = self.tables;
        let (gradients, window) = self.buffer.split_at_mut(CHUNK * BLOCK);
        let phase = &layout.phases[0];
        let steps = phase.offsets.len();
        let (source, plane) = (plan.source_plane(), plan.destination_plane());
        for image in self.images {
            for strip in 0..layout.strips[0] * layout.strips[1] {
                let strip = [strip / layout.strips[1], strip % layout.strips[1]];
                let places = phase.places(layout.strip, strip);
                let mut cut = None;
                for unit in self.units.clone() {
                    let (group, block) = (unit / blocks.len(), blocks[unit % blocks.len()]);
                    if cut != Some(group) {
                        let start = (image * plan.group + group) * plan.source_channels * source;
                        let image = &x[start..start + plan.source_channels * source];
                        layout.window.cut::<V>(image, layout.moved(strip), window);
                        cut = Some(group);
                    }
                    let channel = (image * plan.group + group) * plan.destination_channels;
                    let first = (channel + block.first) * plane + layout.destination(strip);
                    let start = self.first + (group * lanes + block.first) * steps;
                    // SAFETY: a task alone sums over its images for its blocks.
                    let sums = unsafe { self.output.part(start, block.lanes * steps) };
                    for chunk in (0..places).step_by(CHUNK) {
                        let bases = &phase.bases[chunk..(chunk + CHUNK).min(places)];
                        let line = |channel| &dy[first + chunk + channel * plane..];
                        let to = &mut gradients[..bases.len() * block.lanes];
                        from_lines::<V>(line, block.channels, block.lanes, to);
                        let of = Chunk { offsets: &phase.offsets, bases, window, gradients };
                        if block.lanes == BLOCK {
                            of.sum::<V, 6, 2>(sums);
                        } else {
                            of.sum::<V, 8, 1>(sums);
                        }
                    }
                }
            }
        }
    }
}

/// A block's sums over a chunk of destinations.
struct Chunk<'a> {
    offsets: &'a [usize],
    bases: &'a [usize],
    window: &'a [f32],
    gradients: &'a [f32],
}

impl Chunk<'_> {
    /// Adds to the sums of all taps, each one's lanes after the other's, `R` at a time.
    #[inline(always)]
    fn sum<V: Vector, const R: usize, const C: usize>(&self, sums: &mut [f32]) {
        for (offsets, sums) in self.offsets.chunks(R).zip(sums.chunks_mut(R * C * LANES)) {
            match offsets.len() {
                1 => self.sum_taps::<V, 1, C>(offsets, sums),
                2 => self.sum_taps::<V, 2, C>(offsets, sums),
                3 => self.sum_taps::<V, 3, C>(offsets, sums),
                4 => self.sum_taps::<V, 4, C>(offsets, sums),
                5 => self.sum_taps::<V, 5, C>(offsets, sums),
                6 => self.sum_taps::<V, 6, C>(offsets, sums),
                7 => self.sum_taps::<V, 7, C>(offsets, sums),
                _ => self.sum_taps::<V, 8, C>(offsets, sums),
            }
        }
    }

    #[inline(always)]
    fn sum_taps<V: Vector, const R: usize, const C: usize>(
        &self,
        offsets: &[usize],
        to: &mut [f32],
    ) {
        let rows = pointers::<R>(self.window, offsets);
        // SAFETY: a window holds every tap of every base, and there are `C` vectors of gradients
        // for each base.
        let gradients = self.gradients.as_ptr();
        let sums = unsafe { accumulate(load::<V, R, C>(to), rows, self.bases, gradients) };
        store(sums, to);
    }
}
