//! The forward pass, and the input gradient of stride 1.

use std::ops::Range;

use super::super::lanes::to_lines;
use super::super::layout::{Split, Task};
use super::super::output::Output;
use super::super::plan::Plan;
use super::super::scratch::{Buffer, Scratch};
use super::super::tile::{accumulate, pointers, same_rows, store};
use super::super::wide::{BLOCK, Block, blocks};
use super::super::{Call, Operands};
use super::{POINTS, Tiles, order, transform};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    tiles: Tiles,
    blocks: Vec<Block>,
    lanes: usize,
    /// Weights: for each group, block, point and source channel, lanes.
    packed: Buffer,
    /// Where each source channel lies in a chunk's inputs.
    offsets: Vec<usize>,
    operands: &'a Operands<'a>,
}

pub(in super::super) fn run(
    call: Call,
    plan: &Plan,
    operands: &Operands,
    destination: &mut [f32],
) -> Result<(), KernelError> {
    let tiles = Tiles::new(plan);
    let tables = Tables {
        plan,
        blocks: blocks(plan.destination_channels),
        lanes: plan.destination_channels.next_multiple_of(LANES),
        packed: pack(call, plan, operands)?,
        offsets: (0..plan.source_channels).map(|channel| channel * tiles.line).collect(),
        tiles,
        operands,
    };
    let threads = call.parallel.threads();
    let units = plan.group * tables.blocks.len();
    let split = Split::new(plan.batch, [1, tables.tiles.strips()], units, threads);
    let scratch = Scratch::new(call.kernel, Parts::len(&tables.tiles), threads.min(split.count()))?;
    let output = Output::new(destination);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|buffer| {
            let parts = Parts::new(&tables.tiles, buffer);
            call.level.run(Sum {
                tables: &tables,
                output: &output,
                task: split.task(index),
                parts,
            });
        });
    });
    Ok(())
}

/// Transforms the weights.
fn pack(call: Call, plan: &Plan, operands: &Operands) -> Result<Buffer, KernelError> {
    let lanes = plan.destination_channels.next_multiple_of(LANES);
    let channels = plan.source_channels;
    let length = (plan.group * lanes).checked_mul(POINTS * channels);
    let mut packed = Buffer::zeros(call.kernel, length)?;
    let blocks = blocks(plan.destination_channels);
    let mut parts = Vec::new();
    let mut rest = &mut packed[..];
    for group in 0..plan.group {
        for block in &blocks {
            let (part, others) = rest.split_at_mut(block.lanes * POINTS * channels);
            parts.push((group, *block, part));
            rest = others;
        }
    }
    for_each_part(call.parallel, parts, |_, (group, block, to)| {
        let weights = &operands.weights[group * plan.group_weights..];
        call.level.run(Pack { plan, weights, block, to });
    });
    Ok(packed)
}

/// The weights of one block.
struct Pack<'a> {
    plan: &'a Plan,
    weights: &'a [f32],
    block: Block,
    to: &'a mut [f32],
}

impl Work for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (plan, block) = (self.plan, self.block);
        let expected = "the plan suits: its kernel is 3x3";
        let rows = order(&plan.axes[1]).expect(expected);
        let columns = order(&plan.axes[2]).expect(expected);
        for channel in 0..plan.source_channels {
            for first in (0..block.lanes).step_by(LANES) {
                let mut kernel = [[[0.0; LANES]; 3]; 3];
                for lane in 0..LANES.min(block.channels.saturating_sub(first)) {
                    let filter = (block.first + first + lane) * plan.weight_steps.0;
                    let weights = &self.weights[filter + channel * plan.weight_steps.1..][..9];
                    for (row, index) in kernel.iter_mut().zip(rows) {
                        for (to, column) in row.iter_mut().zip(columns) {
                            to[lane] = weights[3 * index + column];
                        }
                    }
                }
                let mut vectors = [[V::splat(0.0); 3]; 3];
                let flat = vectors.as_flattened_mut().iter_mut();
                for (vector, lanes) in flat.zip(kernel.as_flattened()) {
                    // SAFETY: the array has a vector's length.
                    *vector = unsafe { V::load(lanes.as_ptr()) };
                }
                let points = transform::weights(vectors);
                for (point, vector) in points.as_flattened().iter().enumerate() {
                    let at = (point * plan.source_channels + channel) * block.lanes + first;
                    // SAFETY: the slice has a vector's length.
                    unsafe { vector.store(self.to[at..at + LANES].as_mut_ptr()) };
                }
            }
        }
    }
}

/// What a task writes and reads again.
pub(super) struct Parts<'a> {
    pub line: &'a mut [f32],
    pub cut: &'a mut [f32],
    /// Inputs of a chunk: for each point and channel, the tiles' places.
    pub inputs: &'a mut [f32],
    /// For each point and tile, the lanes of a block.
    pub products: &'a mut [f32],
    /// Destinations of a chunk in lanes: the tiles' upper rows, then their lower ones.
    pub staged: &'a mut [f32],
}

impl<'a> Parts<'a> {
    fn lens(tiles: &Tiles) -> ([usize; 4], Option<usize>) {
        let (cut, line) = tiles.cut.lens();
        let products = POINTS * tiles.chunk * BLOCK;
        let line = line.next_multiple_of(super::super::scratch::LINE);
        ([line, tiles.point * POINTS, products, 4 * tiles.chunk * BLOCK], cut)
    }

    pub fn len(tiles: &Tiles) -> Option<usize> {
        let (lens, cut) = Self::lens(tiles);
        lens.iter().try_fold(cut?, |total, &length| total.checked_add(length))
    }

    pub fn new(tiles: &Tiles, buffer: &'a mut [f32]) -> Parts<'a> {
        let ([line, inputs, products, staged], _) = Self::lens(tiles);
        let (inputs, buffer) = buffer.split_at_mut(inputs);
        let (products, buffer) = buffer.split_at_mut(products);
        let (staged, buffer) = buffer.split_at_mut(staged);
        let (line, cut) = buffer.split_at_mut(line);
        Parts { line, cut, inputs, products, staged }
    }
}

/// Transforms the inputs of a chunk of tiles.
#[inline(always)]
pub(super) fn transform_inputs<V: Vector>(
    tiles: &Tiles,
    chunk: &Range<usize>,
    cut: &[f32],
    inputs: &mut [f32],
) {
    let first = tiles.place(chunk.start);
    let shape = &tiles.cut;
    for channel in 0..shape.channels {
        let cut = &cut[channel * shape.channel..(channel + 1) * shape.channel];
        for place in (0..tiles.places(chunk)).step_by(LANES) {
            let mut elements = [[V::splat(0.0); 4]; 4];
            for (a, row) in elements.iter_mut().enumerate() {
                for (b, element) in row.iter_mut().enumerate() {
                    let part = (a % 2 * 2 + b % 2) * shape.part;
                    let at = part + a / 2 * shape.columns + b / 2 + first + place;
                    // SAFETY: the slice has a vector's length.
                    *element = unsafe { V::load(cut[at..at + LANES].as_ptr()) };
                }
            }
            let points = transform::input(elements);
            for (point, vector) in points.as_flattened().iter().enumerate() {
                let at = point * tiles.point + channel * tiles.line + place;
                // SAFETY: the slice has a vector's length.
                unsafe { vector.store(inputs[at..at + LANES].as_mut_ptr()) };
            }
        }
    }
}

/// One task.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    output: &'a Output<'a>,
    task: Task,
    parts: Parts<'a>,
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Sum { tables, output, task, mut parts } = self;
        let (plan, tiles) = (tables.plan, &tables.tiles);
        let (count, strip) = (tables.blocks.len(), task.strip[1]);
        let length = plan.source_channels * plan.source_plane();
        for group in task.units.start / count..task.units.end.div_ceil(count) {
            let units =
                task.units.start.max(group * count)..task.units.end.min((group + 1) * count);
            let start = (task.image * plan.group + group) * length;
            let image = &tables.operands.source[start..start + length];
            tiles.cut.cut::<V>(image, strip * tiles.strip, parts.line, parts.cut);
            for chunk in tiles.chunks(strip) {
                transform_inputs::<V>(tiles, &chunk, parts.cut, parts.inputs);
                for unit in units.clone() {
                    let block = tables.blocks[unit % count];
                    let of = BlockSum { tables, group, block };
                    if block.lanes == BLOCK {
                        of.multiply::<V, 6, 2>(&chunk, &mut parts);
                        of.transform_back::<V, 2>(&chunk, &mut parts);
                    } else {
                        of.multiply::<V, 8, 1>(&chunk, &mut parts);
                        of.transform_back::<V, 1>(&chunk, &mut parts);
                    }
                    of.write::<V>(task.image, strip, &chunk, &parts, output);
                }
            }
        }
    }
}

/// A block's sums over a chunk.
struct BlockSum<'a> {
    tables: &'a Tables<'a>,
    group: usize,
    block: Block,
}

impl BlockSum<'_> {
    /// Sums over the source channels, point by point, for `R` tiles at a time.
    #[inline(always)]
    fn multiply<V: Vector, const R: usize, const C: usize>(
        &self,
        chunk: &Range<usize>,
        parts: &mut Parts,
    ) {
        let (tables, tiles) = (self.tables, &self.tables.tiles);
        let (lanes, channels) = (self.block.lanes, tables.plan.source_channels);
        let first = (self.group * tables.lanes + self.block.first) * POINTS * channels;
        let relative = &tiles.relative[chunk.clone()];
        for point in 0..POINTS {
            let start = first + point * channels * lanes;
            let weights = &tables.packed[start..start + channels * lanes];
            let inputs = &parts.inputs[point * tiles.point..(point + 1) * tiles.point];
            let products = &mut parts.products[point * tiles.chunk * lanes..];
            let products = &mut products[..relative.len() * lanes];
            for (places, products) in relative.chunks(R).zip(products.chunks_mut(R * lanes)) {
                let product = Product { inputs, places, offsets: &tables.offsets, weights };
                match places.len() {
                    1 => product.sum::<V, 1, C>(products),
                    2 => product.sum::<V, 2, C>(products),
                    3 => product.sum::<V, 3, C>(products),
                    4 => product.sum::<V, 4, C>(products),
                    5 => product.sum::<V, 5, C>(products),
                    6 => product.sum::<V, 6, C>(products),
                    7 => product.sum::<V, 7, C>(products),
                    _ => product.sum::<V, 8, C>(products),
                }
            }
        }
    }

    /// From points to destinations, in lanes.
    #[inline(always)]
    fn transform_back<V: Vector, const C: usize>(&self, chunk: &Range<usize>, parts: &mut Parts) {
        let (tables, lanes) = (self.tables, self.block.lanes);
        let mut begin = [[0.0; LANES]; C];
        if let Some(bias) = tables.operands.bias {
            let first = self.group * tables.plan.destination_channels + self.block.first;
            let bias = &bias[first..first + self.block.channels];
            for (to, from) in begin.as_flattened_mut().iter_mut().zip(bias) {
                *to = *from;
            }
        }
        let point = tables.tiles.chunk * lanes;
        let (upper, lower) = parts.staged.split_at_mut(2 * tables.tiles.chunk * lanes);
        for tile in 0..chunk.len() {
            for (c, begin) in begin.iter().enumerate() {
                let mut points = [[V::splat(0.0); 4]; 4];
                for (at, vector) in points.as_flattened_mut().iter_mut().enumerate() {
                    let start = at * point + tile * lanes + c * LANES;
                    // SAFETY: the slice has a vector's length.
                    *vector = unsafe { V::load(parts.products[start..start + LANES].as_ptr()) };
                }
                // SAFETY: the array has a vector's length.
                let begin = unsafe { V::load(begin.as_ptr()) };
                let rows = transform::output(points);
                for (row, to) in rows.into_iter().zip([&mut *upper, &mut *lower]) {
                    for (b, vector) in row.into_iter().enumerate() {
                        let start = (2 * tile + b) * lanes + c * LANES;
                        // SAFETY: the slice has a vector's length.
                        unsafe {
                            vector.add(begin).store(to[start..start + LANES].as_mut_ptr());
                        }
                    }
                }
            }
        }
    }

    /// From lanes to the destination.
    #[inline(always)]
    fn write<V: Vector>(
        &self,
        image: usize,
        strip: usize,
        chunk: &Range<usize>,
        parts: &Parts,
        output: &Output,
    ) {
        let (plan, tiles, lanes) = (self.tables.plan, &self.tables.tiles, self.block.lanes);
        let channel = (image * plan.group + self.group) * plan.destination_channels;
        let rows = parts.staged.split_at(2 * tiles.chunk * lanes);
        for segment in tiles.segments(strip, chunk) {
            for (row, staged) in [rows.0, rows.1].into_iter().enumerate() {
                let row = segment.row + row;
                if row >= tiles.height {
                    break;
                }
                let first = 2 * segment.first;
                let range = first..first + segment.width;
                to_lines::<V>(staged, range, lanes, self.block.channels, |index| {
                    let channel = (channel + self.block.first + index) * plan.destination_plane();
                    let start = channel + row * tiles.width + segment.column;
                    // SAFETY: a task writes the destinations of its own strip and block.
                    unsafe { output.part(start, segment.width) }
                });
            }
        }
    }
}

/// Sums of some tiles at one point.
struct Product<'a> {
    inputs: &'a [f32],
    places: &'a [usize],
    offsets: &'a [usize],
    weights: &'a [f32],
}

impl Product<'_> {
    #[inline(always)]
    fn sum<V: Vector, const R: usize, const C: usize>(&self, to: &mut [f32]) {
        let rows = pointers::<R>(self.inputs, self.places);
        let zeros = same_rows::<V, R, C>(&[0.0; BLOCK][..C * LANES]);
        // SAFETY: a point's inputs hold every channel of every place, and there are `C` vectors of
        // weights for each channel.
        let sums = unsafe { accumulate(zeros, rows, self.offsets, self.weights.as_ptr()) };
        store(sums, to);
    }
}
