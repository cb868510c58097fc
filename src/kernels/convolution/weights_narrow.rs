//! The weight gradient where a group has few filters: a vector holds eight neighbouring
//! destinations, and its lanes are added up at the end of a share.

use std::ops::Range;

use super::Call;
use super::layout::{Layout, Split};
use super::output::Output;
use super::plan::Plan;
use super::scratch::{Scratch, test_small};
use super::tile::{correlate, pointers};
use super::weights::{Shares, add_up};
use crate::kernels::dispatch::Work;
use crate::kernels::vector::{LANES, Vector};
use crate::kernels::{KernelError, for_each_part};

/// Places that are summed over at a time.
const CHUNK: usize = test_small(256, 8);

/// Filters that are summed together at most.
const BLOCK: usize = 4;

pub(super) fn run(
    call: Call,
    plan: &Plan,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<(), KernelError> {
    let layout = Layout::new(plan, LANES);
    let steps = layout.phases[0].offsets.len();
    let tables = Tables { plan, layout, x, dy };
    let length = dw.len();
    let shares = Shares::new(plan.batch, length);
    let mut sums = shares.zeros(call, length)?;
    let threads = call.parallel.threads();
    let split = Split::new(shares.count, [1, 1], plan.group, threads);
    let window = tables.layout.window.len();
    let buffer = window.and_then(|window| window.checked_add(CHUNK * BLOCK * LANES));
    let count = threads.min(split.count());
    let scratch = Scratch::new(call.kernel, buffer, count)?;
    let output = Output::new(&mut sums);
    for_each_part(call.parallel, 0..split.count(), |_, index| {
        scratch.with(|buffer| {
            let task = split.task(index);
            let images = shares.images(task.image);
            let (first, groups) = (task.image * length, task.units);
            let tables = &tables;
            call.level.run(Sum { tables, images, groups, output: &output, first, buffer });
        });
    });
    add_up(call, (&sums, length), (dw, steps), |filter| (filter * steps, 1));
    Ok(())
}

/// What all tasks of a call read.
struct Tables<'a> {
    plan: &'a Plan,
    layout: Layout,
    x: &'a [f32],
    dy: &'a [f32],
}

/// One task: some images, some groups.
struct Sum<'a> {
    tables: &'a Tables<'a>,
    images: Range<usize>,
    groups: Range<usize>,
    /// The sums of all shares, and where this share's begin.
    output: &'a Output<'a>,
    first: usize,
    buffer: &'a mut [f32],
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Tables { plan, layout, x, dy } = self.tables;
        let (gradients, window) = self.buffer.split_at_mut(CHUNK * BLOCK * LANES);
        let phase = &layout.phases[0];
        let steps = phase.offsets.len();
        let (source, plane) = (plan.source_plane(), plan.destination_plane());
        let filters = plan.destination_channels;
        for image in self.images {
            for group in self.groups.clone() {
                let start = self.first + group * filters * steps;
                // SAFETY: a task alone sums over its images for its groups.
                let sums = unsafe { self.output.part(start, filters * steps) };
                for strip in 0..layout.strips[0] * layout.strips[1] {
                    let strip = [strip / layout.strips[1], strip % layout.strips[1]];
                    let start = (image * plan.group + group) * plan.source_channels * source;
                    let from = &x[start..start + plan.source_channels * source];
                    layout.window.cut::<V>(from, layout.moved(strip), window);
                    let channel = (image * plan.group + group) * filters;
                    let of = Strip { phase, window, dy, plane, strip: layout.destination(strip) };
                    let places = phase.places(layout.strip, strip);
                    for chunk in (0..places).step_by(CHUNK) {
                        let range = chunk..(chunk + CHUNK).min(places);
                        of.sum_filters::<V>(channel..channel + filters, range, gradients, sums);
                    }
                }
            }
        }
    }
}

/// A strip of one image.
struct Strip<'a> {
    phase: &'a super::layout::PhaseLayout,
    window: &'a [f32],
    dy: &'a [f32],
    plane: usize,
    /// The strip's first element of a channel of `dy`.
    strip: usize,
}

impl Strip<'_> {
    /// Adds the products of a chunk of places to the sums of every filter and tap.
    #[inline(always)]
    fn sum_filters<V: Vector>(
        &self,
        filters: Range<usize>,
        places: Range<usize>,
        gradients: &mut [f32],
        sums: &mut [f32],
    ) {
        let steps = self.phase.offsets.len();
        let bases = &self.phase.bases[places.clone()];
        for first in filters.clone().step_by(BLOCK) {
            let count = BLOCK.min(filters.end - first);
            for filter in 0..count {
                let line = &mut gradients[filter * CHUNK * LANES..(filter + 1) * CHUNK * LANES];
                self.put_into::<V>((first + filter) * self.plane, places.clone(), line);
            }
            let start = (first - filters.start) * steps;
            let sums = &mut sums[start..start + count * steps];
            match count {
                1 => self.sum_taps::<V, 1, 9>(bases, gradients, sums),
                2 => self.sum_taps::<V, 2, 5>(bases, gradients, sums),
                3 => self.sum_taps::<V, 3, 3>(bases, gradients, sums),
                _ => self.sum_taps::<V, 4, 3>(bases, gradients, sums),
            }
        }
    }

    /// Copies the gradients of a channel to one vector for each place, zeros where the place has
    /// fewer.
    #[inline(always)]
    fn put_into<V: Vector>(&self, channel: usize, places: Range<usize>, line: &mut [f32]) {
        for (to, place) in line.chunks_exact_mut(LANES).zip(places) {
            let lanes = self.phase.lanes[place];
            let from = &self.dy[channel + self.strip + self.phase.destinations[place]..][..lanes];
            if lanes == LANES {
                // SAFETY: both have a vector's length.
                unsafe { V::load(from.as_ptr()).store(to.as_mut_ptr()) };
            } else {
                to.fill(0.0);
                to[..lanes].copy_from_slice(from);
            }
        }
    }

    /// `T` taps at a time of `R` filters.
    #[inline(always)]
    fn sum_taps<V: Vector, const R: usize, const T: usize>(
        &self,
        bases: &[usize],
        gradients: &[f32],
        sums: &mut [f32],
    ) {
        let steps = self.phase.offsets.len();
        let mut rows = [gradients.as_ptr(); R];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = gradients[r * CHUNK * LANES..(r + 1) * CHUNK * LANES].as_ptr();
        }
        for first in (0..steps).step_by(T) {
            // Where no tap is left, the last one is summed again and forgotten.
            let taps = pointers::<T>(self.window, &self.phase.offsets[first..]);
            let zeros = [[V::splat(0.0); T]; R];
            // SAFETY: a line has a vector for each base, and a window holds every tap of every
            // base and has room for a vector there.
            let products = unsafe { correlate(zeros, rows, bases, taps) };
            for (r, products) in products.iter().enumerate() {
                for (t, products) in products.iter().enumerate().take(steps - first) {
                    sums[r * steps + first + t] += add_lanes(products.to_array());
                }
            }
        }
    }
}

/// The sum of the lanes, in the order of a tree.
#[inline(always)]
fn add_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
