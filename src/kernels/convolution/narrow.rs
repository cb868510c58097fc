//! The sum over taps where there are few destination channels, as in a depthwise convolution: a
//! vector holds eight neighbouring destinations of one channel.

use std::ops::Range;

use super::layout::{Layout, PhaseLayout, Split, Task};
use super::output::Output;
use super::plan::Plan;
use super::scratch::{Buffer, Scratch};
use super::tile::{accumulate_columns, pointers};
use super::{Call, Operands};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// Channels that are summed together at most.
const BLOCK: usize = 4;

/// Channels of a group, in blocks as equal as can be: first channel and count of each.
fn blocks(channels: usize) -> Vec<(usize, usize)> {
    let count = channels.div_ceil(BLOCK);
    let first = |block: usize| block * channels / count;
    (0..count).map(|block| (first(block), first(block + 1) - first(block))).collect()
}

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    blocks: Vec<(usize, usize)>,
    /// For each group, phase and block, each step's channels.
    packed: Buffer,
    /// Where each phase's begin, in a group's.
    starts: Vec<usize>,
    operands: &'a Operands<'a>,
}

pub(super) fn run(
    call: Call,
    plan: &Plan,
    operands: &Operands,
    destination: &mut [f32],
) -> Result<(), KernelError> {
    let layout = Layout::new(plan, LANES);
    let tables = pack(call, plan, &layout, operands)?;
    let threads = call.parallel.threads();
    let split = Split::new(plan.batch, layout.strips, plan.group * tables.blocks.len(), threads);
    let count = threads.min(split.count());
    let scratch = Scratch::new(call.kernel, layout.window.len(), count)?;
    let output = Output::new(destination);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|window| {
            let task = split.task(index);
            call.level.run(Sum { tables: &tables, output: &output, task, window });
        });
    });
    Ok(())
}

fn pack<'a>(
    call: Call,
    plan: &'a Plan,
    layout: &'a Layout,
    operands: &'a Operands,
) -> Result<Tables<'a>, KernelError> {
    let blocks = blocks(plan.destination_channels);
    let steps: usize = layout.phases.iter().map(|phase| phase.offsets.len()).sum();
    let group_steps = steps.checked_mul(plan.destination_channels);
    let total = group_steps.and_then(|steps| steps.checked_mul(plan.group));
    let mut packed = Buffer::zeros(call.kernel, total)?;
    let mut starts = Vec::new();
    let mut values = packed.iter_mut();
    for group in 0..plan.group {
        let mut start = 0;
        starts.clear();
        for phase in &layout.phases {
            starts.push(start);
            start += phase.offsets.len() * plan.destination_channels;
            for &(first, channels) in &blocks {
                let channel = group * plan.group_weights + first * plan.weight_steps.0;
                for weight in &phase.weights {
                    for (lane, value) in values.by_ref().take(channels).enumerate() {
                        let at = channel + lane * plan.weight_steps.0 + weight;
                        *value = operands.weights[at];
                    }
                }
            }
        }
    }
    Ok(Tables { plan, layout, blocks, packed, starts, operands })
}

/// One task.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    output: &'a Output<'a>,
    task: Task,
    window: &'a mut [f32],
}

/// A block's sums over one phase of a strip.
struct Sums<'a> {
    phase: &'a PhaseLayout,
    places: usize,
    window: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
    output: &'a Output<'a>,
    /// The strip's first element of the block's first channel.
    first: usize,
    plane: usize,
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Sum { tables, output, task, window } = self;
        let (plan, layout) = (tables.plan, tables.layout);
        let image = plan.source_channels * plan.source_plane();
        let group_steps = tables.packed.len() / plan.group;
        let mut cut = None;
        for unit in task.units {
            let group = unit / tables.blocks.len();
            let (first, channels) = tables.blocks[unit % tables.blocks.len()];
            if cut != Some(group) {
                let start = (task.image * plan.group + group) * image;
                let image = &tables.operands.source[start..start + image];
                layout.window.cut::<V>(image, layout.moved(task.strip), window);
                cut = Some(group);
            }
            for (phase, start) in layout.phases.iter().zip(&tables.starts) {
                let steps = phase.offsets.len();
                let start = group * group_steps + start + first * steps;
                let channel = group * plan.destination_channels + first;
                let plane = plan.destination_plane();
                let image = task.image * plan.group * plan.destination_channels;
                let bias = tables.operands.bias;
                let sums = Sums {
                    phase,
                    places: phase.places(layout.strip, task.strip),
                    window,
                    weights: &tables.packed[start..start + steps * channels],
                    bias: bias.map_or(&[0.0; BLOCK], |bias| &bias[channel..channel + channels]),
                    output,
                    first: (image + channel) * plane + layout.destination(task.strip),
                    plane,
                };
                match channels {
                    1 => sums.sum::<V, 1, 8>(),
                    2 => sums.sum::<V, 2, 5>(),
                    3 => sums.sum::<V, 3, 4>(),
                    _ => sums.sum::<V, 4, 3>(),
                }
            }
        }
    }
}

impl Sums<'_> {
    /// The sums of `R` channels, `C` places at a time.
    #[inline(always)]
    fn sum<V: Vector, const R: usize, const C: usize>(&self) {
        for start in (0..self.places).step_by(C) {
            let range = start..(start + C).min(self.places);
            // Where no place is left, the last one is summed again and forgotten.
            let columns = pointers::<C>(self.window, &self.phase.bases[range.clone()]);
            let mut sums = [[V::splat(0.0); C]; R];
            for (sums, bias) in sums.iter_mut().zip(self.bias) {
                *sums = [V::splat(*bias); C];
            }
            let offsets = &self.phase.offsets;
            // SAFETY: a window holds every tap of every base and has room for a vector there, and
            // there are `R` weights for each step.
            sums = unsafe { accumulate_columns(sums, self.weights.as_ptr(), offsets, columns) };
            for (r, sums) in sums.iter().enumerate() {
                self.write(range.clone(), self.first + r * self.plane, sums);
            }
        }
    }

    #[inline(always)]
    fn write<V: Vector>(&self, range: Range<usize>, first: usize, sums: &[V]) {
        for (place, sums) in range.zip(sums) {
            let (lanes, step) = (self.phase.lanes[place], self.phase.step);
            let start = first + self.phase.destinations[place];
            // SAFETY: a task writes the destinations of its own strip and block; between those of
            // one phase lie only those of the others, which the same task writes.
            let to = unsafe { self.output.part(start, (lanes - 1) * step + 1) };
            if to.len() == LANES {
                // SAFETY: it has a vector's length.
                unsafe { sums.store(to.as_mut_ptr()) };
            } else {
                for (to, value) in to.iter_mut().step_by(step).zip(sums.to_array()) {
                    *to = value;
                }
            }
        }
    }
}
