//! The weight gradient: the transpose of the forward pass, point by point.

use std::ops::Range;

use super::super::Call;
use super::super::lanes::{from_lines, to_lines};
use super::super::layout::Split;
use super::super::output::Output;
use super::super::plan::Plan;
use super::super::scratch::Scratch;
use super::super::tile::{accumulate, load, pointers, store};
use super::super::weights::Shares;
use super::super::wide::{BLOCK, Block, blocks};
use super::sum::{Parts, transform_inputs};
use super::{POINTS, Tiles, transform};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    tiles: Tiles,
    blocks: Vec<Block>,
    lanes: usize,
    /// Where each source channel lies in a chunk's inputs.
    offsets: Vec<usize>,
    x: &'a [f32],
    dy: &'a [f32],
}

pub(in super::super) fn run(
    call: Call,
    plan: &Plan,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<(), KernelError> {
    let tiles = Tiles::new(plan);
    let tables = Tables {
        plan,
        blocks: blocks(plan.destination_channels),
        lanes: plan.destination_channels.next_multiple_of(LANES),
        offsets: (0..plan.source_channels).map(|channel| channel * tiles.line).collect(),
        tiles,
        x,
        dy,
    };
    // Of the order of the weights' elements, which were counted.
    let length = plan.group * tables.lanes * POINTS * plan.source_channels;
    let shares = Shares::new(plan.batch, length);
    let mut sums = shares.zeros(call, length)?;
    let threads = call.parallel.threads();
    let split = Split::new(shares.count, [1, 1], plan.group * tables.blocks.len(), threads);
    let scratch = Scratch::new(call.kernel, Parts::len(&tables.tiles), threads.min(split.count()))?;
    let output = Output::new(&mut sums);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|buffer| {
            let parts = Parts::new(&tables.tiles, buffer);
            let task = split.task(index);
            let images = shares.images(task.image);
            let (first, units) = (task.image * length, task.units);
            let tables = &tables;
            call.level.run(Sum { tables, images, units, output: &output, first, parts });
        });
    });
    let output = Output::new(dw);
    let units = plan.group * tables.blocks.len();
    for_each_part(call.parallel, 0..units, |_, unit| {
        let (tables, sums, output) = (&tables, &sums[..], &output);
        call.level.run(Finish { tables, sums, length, unit, output });
    });
    Ok(())
}

/// One task: some images, some blocks of filters.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    images: Range<usize>,
    units: Range<usize>,
    /// The sums of all shares, and where this share's begin: for each group, block, point and
    /// source channel, lanes.
    output: &'a Output<'a>,
    first: usize,
    parts: Parts<'a>,
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let (plan, tiles) = (self.tables.plan, &self.tables.tiles);
        let count = self.tables.blocks.len();
        let length = plan.source_channels * plan.source_plane();
        let units = self.units.clone();
        for image in self.images.clone() {
            for group in units.start / count..units.end.div_ceil(count) {
                let units = units.start.max(group * count)..units.end.min((group + 1) * count);
                let start = (image * plan.group + group) * length;
                let source = &self.tables.x[start..start + length];
                for strip in 0..tiles.strips() {
                    let first = strip * tiles.strip;
                    tiles.cut.cut::<V>(source, first, self.parts.line, self.parts.cut);
                    for chunk in tiles.chunks(strip) {
                        let Parts { cut, inputs, .. } = &mut self.parts;
                        transform_inputs::<V>(tiles, &chunk, cut, inputs);
                        for unit in units.clone() {
                            let at = Place { image, group, block: unit % count, strip };
                            self.add::<V>(&at, &chunk);
                        }
                    }
                }
            }
        }
    }
}

/// Which gradients are taken.
struct Place {
    image: usize,
    group: usize,
    block: usize,
    strip: usize,
}

impl Sum<'_> {
    /// Adds a chunk's products to a block's sums.
    #[inline(always)]
    fn add<V: Vector>(&mut self, at: &Place, chunk: &Range<usize>) {
        let block = self.tables.blocks[at.block];
        self.stage::<V>(at, block, chunk);
        if block.lanes == BLOCK {
            self.transform::<V, 2>(chunk);
            self.multiply::<V, 6, 2>(at, block, chunk);
        } else {
            self.transform::<V, 1>(chunk);
            self.multiply::<V, 8, 1>(at, block, chunk);
        }
    }

    /// Puts the chunk's gradients into lanes, zeros where a tile reaches beyond them.
    #[inline(always)]
    fn stage<V: Vector>(&mut self, at: &Place, block: Block, chunk: &Range<usize>) {
        let Tables { plan, tiles, dy, .. } = self.tables;
        let lanes = block.lanes;
        let channel = (at.image * plan.group + at.group) * plan.destination_channels + block.first;
        let (upper, lower) = self.parts.staged.split_at_mut(2 * tiles.chunk * lanes);
        for segment in tiles.segments(at.strip, chunk) {
            for (row, staged) in [&mut *upper, &mut *lower].into_iter().enumerate() {
                let row = segment.row + row;
                let tiles_end = segment.first * 2 + segment.width.next_multiple_of(2);
                let to = &mut staged[2 * segment.first * lanes..tiles_end * lanes];
                if row >= tiles.height {
                    to.fill(0.0);
                    continue;
                }
                let (to, beyond) = to.split_at_mut(segment.width * lanes);
                beyond.fill(0.0);
                let start = row * tiles.width + segment.column;
                let line =
                    |index: usize| &dy[(channel + index) * plan.destination_plane() + start..];
                from_lines::<V>(line, block.channels, lanes, to);
            }
        }
    }

    /// From gradients to points.
    #[inline(always)]
    fn transform<V: Vector, const C: usize>(&mut self, chunk: &Range<usize>) {
        let lanes = C * LANES;
        let tiles = &self.tables.tiles;
        let Parts { staged, products, .. } = &mut self.parts;
        let (upper, lower) = staged.split_at(2 * tiles.chunk * lanes);
        for tile in 0..chunk.len() {
            for c in 0..C {
                let start = 2 * tile * lanes + c * LANES;
                let mut rows = [[V::splat(0.0); 2]; 2];
                for (row, from) in rows.iter_mut().zip([upper, lower]) {
                    for (b, vector) in row.iter_mut().enumerate() {
                        let start = start + b * lanes;
                        // SAFETY: the slice has a vector's length.
                        *vector = unsafe { V::load(from[start..start + LANES].as_ptr()) };
                    }
                }
                let points = transform::gradient(rows);
                for (point, vector) in points.as_flattened().iter().enumerate() {
                    let start = (point * tiles.chunk + tile) * lanes + c * LANES;
                    // SAFETY: the slice has a vector's length.
                    unsafe { vector.store(products[start..start + LANES].as_mut_ptr()) };
                }
            }
        }
    }

    /// Sums over the tiles, point by point, for `R` source channels at a time.
    #[inline(always)]
    fn multiply<V: Vector, const R: usize, const C: usize>(
        &self,
        at: &Place,
        block: Block,
        chunk: &Range<usize>,
    ) {
        let Tables { plan, tiles, offsets, .. } = self.tables;
        let lanes = C * LANES;
        let steps = plan.source_channels * lanes;
        let first = (at.group * self.tables.lanes + block.first) * POINTS * plan.source_channels;
        // SAFETY: a task alone sums over its images for its blocks.
        let sums = unsafe { self.output.part(self.first + first, POINTS * steps) };
        for (point, sums) in sums.chunks_mut(steps).enumerate() {
            let inputs = &self.parts.inputs[point * tiles.point..(point + 1) * tiles.point];
            let gradients = &self.parts.products[point * tiles.chunk * lanes..];
            let places = &tiles.relative[chunk.clone()];
            for (offsets, sums) in offsets.chunks(R).zip(sums.chunks_mut(R * lanes)) {
                let product = Product {
                    inputs,
                    offsets,
                    places,
                    gradients: &gradients[..places.len() * lanes],
                };
                match offsets.len() {
                    1 => product.add::<V, 1, C>(sums),
                    2 => product.add::<V, 2, C>(sums),
                    3 => product.add::<V, 3, C>(sums),
                    4 => product.add::<V, 4, C>(sums),
                    5 => product.add::<V, 5, C>(sums),
                    6 => product.add::<V, 6, C>(sums),
                    7 => product.add::<V, 7, C>(sums),
                    _ => product.add::<V, 8, C>(sums),
                }
            }
        }
    }
}

/// Sums of some source channels at one point.
struct Product<'a> {
    inputs: &'a [f32],
    offsets: &'a [usize],
    places: &'a [usize],
    gradients: &'a [f32],
}

impl Product<'_> {
    #[inline(always)]
    fn add<V: Vector, const R: usize, const C: usize>(&self, to: &mut [f32]) {
        let rows = pointers::<R>(self.inputs, self.offsets);
        let gradients = self.gradients.as_ptr();
        // SAFETY: a point's inputs hold every place of every channel, and there are `C` vectors of
        // gradients for each place.
        let sums = unsafe { accumulate(load::<V, R, C>(to), rows, self.places, gradients) };
        store(sums, to);
    }
}

/// The weights of one block, from the sums of all shares.
struct Finish<'a> {
    tables: &'a Tables<'a>,
    sums: &'a [f32],
    length: usize,
    unit: usize,
    output: &'a Output<'a>,
}

/// Source channels whose weights are put into lines together.
const CHANNELS: usize = 8;

impl Work for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Tables { plan, blocks, .. } = self.tables;
        let (group, block) = (self.unit / blocks.len(), blocks[self.unit % blocks.len()]);
        let (channels, lanes) = (plan.source_channels, block.lanes);
        let start = (group * self.tables.lanes + block.first) * POINTS * channels;
        let mut staged = [0.0; 9 * CHANNELS * BLOCK];
        for first in (0..channels).step_by(CHANNELS) {
            let count = CHANNELS.min(channels - first);
            for channel in 0..count {
                for lane in (0..lanes).step_by(LANES) {
                    let mut points = [[V::splat(0.0); 4]; 4];
                    for (point, to) in points.as_flattened_mut().iter_mut().enumerate() {
                        let at = (point * channels + first + channel) * lanes + lane;
                        *to = self.add_up(start + at);
                    }
                    let weights = transform::weights_back(points);
                    for (tap, vector) in weights.as_flattened().iter().enumerate() {
                        let at = (channel * 9 + tap) * lanes + lane;
                        // SAFETY: the slice has a vector's length.
                        unsafe { vector.store(staged[at..at + LANES].as_mut_ptr()) };
                    }
                }
            }
            to_lines::<V>(&staged, 0..9 * count, lanes, block.channels, |index| {
                let filter = group * plan.destination_channels + block.first + index;
                // SAFETY: a task alone writes the filters of its block.
                unsafe { self.output.part((filter * channels + first) * 9, 9 * count) }
            });
        }
    }
}

impl Finish<'_> {
    /// The shares' sums at a place, added in their order.
    #[inline(always)]
    fn add_up<V: Vector>(&self, at: usize) -> V {
        let mut sum = V::splat(0.0);
        for share in self.sums.chunks(self.length) {
            // SAFETY: the slice has a vector's length.
            sum = sum.add(unsafe { V::load(share[at..at + LANES].as_ptr()) });
        }
        sum
    }
}
