//! The sum over taps where there are many destination channels: a vector holds eight channels of
//! one destination. Any stride and any width cost the same; few channels would waste lanes.

use std::ops::Range;

use super::lanes::to_lines;
use super::layout::{Layout, PhaseLayout, Split, Task};
use super::output::Output;
use super::plan::Plan;
use super::scratch::{Buffer, Scratch, test_small};
use super::tile::{accumulate, load, pointers, same_rows, store};
use super::{Call, Operands};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// Steps after which the sums are put aside: their weights are half of a first-level cache.
const STEPS: usize = test_small(256, 16);

/// Destinations whose sums are put aside together: 24 KiB of them.
const CHUNK: usize = test_small(384, 24);

/// Channels that are summed together: two vectors, or one where no more are left.
pub(super) const BLOCK: usize = 2 * LANES;

/// A block of destination channels.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub first: usize,
    /// Channels that there are, of as many lanes.
    pub channels: usize,
    pub lanes: usize,
}

/// The blocks of `channels`.
pub(super) fn blocks(channels: usize) -> Vec<Block> {
    let block = |first: usize| {
        let channels = BLOCK.min(channels - first);
        Block { first, channels, lanes: channels.next_multiple_of(LANES) }
    };
    (0..channels).step_by(BLOCK).map(block).collect()
}

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    blocks: Vec<Block>,
    /// Weights in the order in which they are used: for each group, phase and block, each step's
    /// lanes.
    packed: Buffer,
    /// Where each phase's begin, in a group's.
    starts: Vec<usize>,
    /// The bias in lanes, for each group; zeros where there is none.
    bias: Buffer,
    /// Lanes of all blocks.
    lanes: usize,
}

pub(super) fn run(
    call: Call,
    plan: &Plan,
    operands: &Operands,
    destination: &mut [f32],
) -> Result<(), KernelError> {
    let layout = Layout::new(plan, 1);
    let tables = pack(call, plan, &layout, operands)?;
    let threads = call.parallel.threads();
    let split = Split::new(plan.batch, layout.strips, plan.group * tables.blocks.len(), threads);
    let window = layout.window.len();
    let length = window.and_then(|window| window.checked_add(CHUNK * BLOCK));
    let count = threads.min(split.count());
    let scratch = Scratch::new(call.kernel, length, count)?;
    let output = Output::new(destination);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|buffer| {
            let task = split.task(index);
            let source = operands.source;
            call.level.run(Sum { tables: &tables, source, output: &output, task, buffer });
        });
    });
    Ok(())
}

/// Puts weights and bias into lanes.
fn pack<'a>(
    call: Call,
    plan: &'a Plan,
    layout: &'a Layout,
    operands: &Operands,
) -> Result<Tables<'a>, KernelError> {
    let blocks = blocks(plan.destination_channels);
    let lanes = plan.destination_channels.next_multiple_of(LANES);
    let steps: usize = layout.phases.iter().map(|phase| phase.offsets.len()).sum();
    let total = steps.checked_mul(lanes).and_then(|lanes| lanes.checked_mul(plan.group));
    let mut packed = Buffer::zeros(call.kernel, total)?;
    let mut starts = Vec::new();
    let mut parts = Vec::new();
    let mut rest = &mut packed[..];
    for group in 0..plan.group {
        let mut start = 0;
        starts.clear();
        for phase in &layout.phases {
            starts.push(start);
            start += phase.offsets.len() * lanes;
            for block in &blocks {
                let (part, others) = rest.split_at_mut(phase.offsets.len() * block.lanes);
                parts.push((group, phase, *block, part));
                rest = others;
            }
        }
    }
    for_each_part(call.parallel, parts, |_, (group, phase, block, part)| {
        // A few steps of all lanes at a time: what is written stays in the cache.
        let steps = phase.weights.chunks(64).zip(part.chunks_mut(64 * block.lanes));
        for (steps, part) in steps {
            for lane in 0..block.channels {
                let first = group * plan.group_weights + (block.first + lane) * plan.weight_steps.0;
                let weights = &operands.weights[first..];
                for (&weight, part) in steps.iter().zip(part.chunks_mut(block.lanes)) {
                    part[lane] = weights[weight];
                }
            }
        }
    });
    let mut bias = Buffer::zeros(call.kernel, lanes.checked_mul(plan.group))?;
    if let Some(values) = operands.bias {
        let channels = plan.destination_channels;
        for (lanes, values) in bias.chunks_mut(lanes).zip(values.chunks(channels)) {
            lanes[..channels].copy_from_slice(values);
        }
    }
    Ok(Tables { plan, layout, blocks, packed, starts, bias, lanes })
}

/// One task.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    source: &'a [f32],
    output: &'a Output<'a>,
    task: Task,
    buffer: &'a mut [f32],
}

/// A block's sums over one phase.
struct Sums<'a> {
    phase: &'a PhaseLayout,
    window: &'a [f32],
    /// Lanes of each step, and the lanes that the sums begin with.
    weights: &'a [f32],
    bias: &'a [f32],
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Sum { tables, source, output, task, buffer } = self;
        let (plan, layout) = (tables.plan, tables.layout);
        let (sums, window) = buffer.split_at_mut(CHUNK * BLOCK);
        let image = plan.source_channels * plan.source_plane();
        let group_steps = tables.packed.len() / plan.group;
        let mut cut = None;
        for unit in task.units {
            let group = unit / tables.blocks.len();
            let block = tables.blocks[unit % tables.blocks.len()];
            if cut != Some(group) {
                let start = (task.image * plan.group + group) * image;
                let image = &source[start..start + image];
                layout.window.cut::<V>(image, layout.moved(task.strip), window);
                cut = Some(group);
            }
            for (phase, start) in layout.phases.iter().zip(&tables.starts) {
                let steps = phase.offsets.len();
                let start = group * group_steps + start + block.first * steps;
                let bias = group * tables.lanes + block.first;
                let of = Sums {
                    phase,
                    window,
                    weights: &tables.packed[start..start + steps * block.lanes],
                    bias: &tables.bias[bias..bias + block.lanes],
                };
                let channel = (task.image * plan.group + group) * plan.destination_channels;
                let plane = plan.destination_plane();
                let first = (channel + block.first) * plane + layout.destination(task.strip);
                let places = phase.places(layout.strip, task.strip);
                for chunk in (0..places).step_by(CHUNK) {
                    let range = chunk..(chunk + CHUNK).min(places);
                    if block.lanes == BLOCK {
                        of.sum::<V, 6, 2>(range.clone(), sums);
                    } else {
                        of.sum::<V, 8, 1>(range.clone(), sums);
                    }
                    let to = Target { output, first, plane, block };
                    to.write::<V>(phase, range, sums);
                }
            }
        }
    }
}

impl Sums<'_> {
    /// The sums of the places in `range`, each one's lanes after the other's, `R` at a time.
    #[inline(always)]
    fn sum<V: Vector, const R: usize, const C: usize>(
        &self,
        range: Range<usize>,
        sums: &mut [f32],
    ) {
        let bases = &self.phase.bases[range];
        let lanes = C * LANES;
        let sums = &mut sums[..bases.len() * lanes];
        for start in (0..self.phase.offsets.len().max(1)).step_by(STEPS) {
            let end = (start + STEPS).min(self.phase.offsets.len());
            let offsets = &self.phase.offsets[start..end];
            let weights = &self.weights[start * lanes..end * lanes];
            let tiles = bases.chunks(R).zip(sums.chunks_mut(R * lanes));
            for (bases, sums) in tiles {
                let tile = Tile { window: self.window, offsets, weights, bases, sums };
                let begin = (start == 0).then_some(self.bias);
                match bases.len() {
                    1 => tile.sum::<V, 1, C>(begin),
                    2 => tile.sum::<V, 2, C>(begin),
                    3 => tile.sum::<V, 3, C>(begin),
                    4 => tile.sum::<V, 4, C>(begin),
                    5 => tile.sum::<V, 5, C>(begin),
                    6 => tile.sum::<V, 6, C>(begin),
                    7 => tile.sum::<V, 7, C>(begin),
                    _ => tile.sum::<V, 8, C>(begin),
                }
            }
        }
    }
}

/// Sums that are in registers together.
struct Tile<'a> {
    window: &'a [f32],
    offsets: &'a [usize],
    weights: &'a [f32],
    bases: &'a [usize],
    sums: &'a mut [f32],
}

impl Tile<'_> {
    #[inline(always)]
    fn sum<V: Vector, const R: usize, const C: usize>(self, bias: Option<&[f32]>) {
        let rows = pointers::<R>(self.window, self.bases);
        let sums = match bias {
            Some(bias) => same_rows::<V, R, C>(bias),
            None => load(self.sums),
        };
        // SAFETY: a window holds every tap of every base, and there are `C` vectors of weights for
        // each step.
        let sums = unsafe { accumulate(sums, rows, self.offsets, self.weights.as_ptr()) };
        store(sums, self.sums);
    }
}

/// Where a block's sums belong.
struct Target<'a> {
    output: &'a Output<'a>,
    /// The strip's first element of the block's first channel.
    first: usize,
    plane: usize,
    block: Block,
}

impl Target<'_> {
    /// Writes sums, which lie place by place, channel by channel.
    #[inline(always)]
    fn write<V: Vector>(&self, phase: &PhaseLayout, range: Range<usize>, sums: &[f32]) {
        let destinations = &phase.destinations[range];
        let (Some(begin), Some(end)) = (destinations.first(), destinations.last()) else { return };
        let lanes = self.block.lanes;
        let line = |channel: usize| {
            let start = self.first + channel * self.plane + begin;
            // SAFETY: a task writes the destinations of its own strip and block; between those of
            // one phase lie only those of the others, which the same task writes.
            unsafe { self.output.part(start, end - begin + 1) }
        };
        if end - begin + 1 == destinations.len() {
            to_lines::<V>(sums, 0..destinations.len(), lanes, self.block.channels, line);
            return;
        }
        for channel in 0..self.block.channels {
            let to = line(channel);
            for (at, sums) in destinations.iter().zip(sums.chunks(lanes)) {
                to[at - begin] = sums[channel];
            }
        }
    }
}
