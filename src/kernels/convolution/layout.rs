//! Addresses: what each phase of a plan reads and writes, as tables that are made once for a call.

use std::ops::Range;

use super::plan::{Phase, Plan, taps_of};
use super::window::{Strip, Window};

/// One combination of the axes' phases.
pub(super) struct PhaseLayout {
    /// Where each tap of each channel reads in a window, from a destination's base.
    pub offsets: Vec<usize>,
    /// The same taps' places in the weights of one group and destination channel.
    pub weights: Vec<usize>,
    /// The destinations of the first strip, in places of one or of several neighbours: each one's
    /// base in the window. Those of any other strip are as many or fewer, from the beginning.
    pub bases: Vec<usize>,
    /// Where each place is written, in a channel of the destination.
    pub destinations: Vec<usize>,
    /// How many neighbours each place has.
    pub lanes: Vec<usize>,
    /// Elements of the destination between neighbours.
    pub step: usize,
    /// Places of a row, and rows and planes of the phase.
    row: usize,
    counts: [usize; 2],
}

/// Which strip, along depth and height.
pub(super) type StripIndex = [usize; 2];

impl PhaseLayout {
    fn new(plan: &Plan, window: &Window, strip: Strip, phases: [&Phase; 3], lanes: usize) -> Self {
        let taps: Vec<_> = taps_of(phases, plan.kernel).collect();
        let channels = 0..plan.source_channels;
        let each = channels.flat_map(|channel| taps.iter().map(move |tap| (channel, tap)));
        let offset =
            |(channel, tap): (usize, &(usize, _))| channel * window.channel + window.tap(tap.1);
        let weight = |(channel, tap): (usize, &(usize, _))| channel * plan.weight_steps.1 + tap.0;
        let mut layout = PhaseLayout {
            offsets: each.clone().map(offset).collect(),
            weights: each.map(weight).collect(),
            bases: Vec::new(),
            destinations: Vec::new(),
            lanes: Vec::new(),
            step: phases[2].step,
            row: phases[2].count.div_ceil(lanes),
            counts: [phases[0].count, phases[1].count],
        };
        layout.place(plan, window, strip, phases, lanes);
        layout
    }

    fn place(
        &mut self,
        plan: &Plan,
        window: &Window,
        strip: Strip,
        phases: [&Phase; 3],
        lanes: usize,
    ) {
        let steps = plan.axes.each_ref().map(|axis| axis.source_step);
        let sizes = plan.axes.each_ref().map(|axis| axis.destination);
        let at = |index: usize, i: usize| phases[index].first + i * phases[index].step;
        for depth in 0..strip.depth.min(phases[0].count) {
            for row in 0..strip.height.min(phases[1].count) {
                for column in (0..phases[2].count).step_by(lanes) {
                    let line = depth * steps[0] * window.plane + row * steps[1] * window.line;
                    self.bases.push(line + column * (steps[2] / window.interleave));
                    let line = at(0, depth) * sizes[1] + at(1, row);
                    self.destinations.push(line * sizes[2] + at(2, column));
                    self.lanes.push(lanes.min(phases[2].count - column));
                }
            }
        }
    }

    /// Whether every tap of every place, with all its neighbours, is in the window: what the tiles
    /// rely on when they read.
    fn lies_in(&self, window: &Window, lanes: usize) -> bool {
        let (base, offset) = (self.bases.iter().max(), self.offsets.iter().max());
        let last = base.unwrap_or(&0) + offset.unwrap_or(&0) + lanes;
        window.len().is_none_or(|length| last <= length)
    }

    /// Places of a strip.
    pub fn places(&self, strip: Strip, index: StripIndex) -> usize {
        let sizes = [strip.depth, strip.height];
        let left = |axis: usize| {
            self.counts[axis].saturating_sub(index[axis] * sizes[axis]).min(sizes[axis])
        };
        left(0) * left(1) * self.row
    }
}

/// All tables of a plan.
pub(super) struct Layout {
    pub strip: Strip,
    /// How many strips there are.
    pub strips: [usize; 2],
    pub window: Window,
    pub phases: Vec<PhaseLayout>,
    /// Source planes and rows, and elements of the destination, between one strip and the next.
    moves: [usize; 2],
    destination_moves: [usize; 2],
}

impl Layout {
    /// With places of `lanes` neighbours, whose sources lie side by side where there are several.
    pub fn new(plan: &Plan, lanes: usize) -> Layout {
        let strip = Strip::choose(plan);
        let window = Window::new(plan, strip, lanes > 1);
        let phases: Vec<PhaseLayout> = plan
            .phases()
            .map(|phases| PhaseLayout::new(plan, &window, strip, phases, lanes))
            .collect();
        debug_assert!(phases.iter().all(|phase| phase.lies_in(&window, lanes)));
        let [depth, height, width] = &plan.axes;
        let step = |index: usize| plan.axes[index].phases.first().map_or(1, |phase| phase.step);
        Layout {
            strip,
            strips: strip.counts(plan),
            window,
            phases,
            moves: [strip.depth * depth.source_step, strip.height * height.source_step],
            destination_moves: [
                strip.depth * step(0) * height.destination * width.destination,
                strip.height * step(1) * width.destination,
            ],
        }
    }

    /// Source planes and rows before a strip.
    pub fn moved(&self, index: StripIndex) -> [usize; 2] {
        [index[0] * self.moves[0], index[1] * self.moves[1]]
    }

    /// Elements of a channel of the destination before a strip.
    pub fn destination(&self, index: StripIndex) -> usize {
        index[0] * self.destination_moves[0] + index[1] * self.destination_moves[1]
    }
}

/// How many tasks a call is split into for each thread, where the shape allows: enough that the
/// last ones leave no thread idle for long.
const TASKS_PER_THREAD: usize = 4;

/// A call's tasks: how they are cut decides about speed alone, so it may go by the threads. A unit
/// is what needs a window of its own at most: a block of channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    images: usize,
    strips: [usize; 2],
    units: usize,
    /// Units of one task.
    share: usize,
}

/// One of them.
pub(super) struct Task {
    pub image: usize,
    pub strip: StripIndex,
    pub units: Range<usize>,
}

impl Split {
    pub fn new(images: usize, strips: [usize; 2], units: usize, threads: usize) -> Split {
        let tasks = threads.saturating_mul(TASKS_PER_THREAD);
        let others = (images * strips[0] * strips[1]).max(1);
        let shares = tasks.div_ceil(others).min(units).max(1);
        Split { images, strips, units, share: units.div_ceil(shares).max(1) }
    }

    fn shares(&self) -> usize {
        self.units.div_ceil(self.share)
    }

    pub fn count(&self) -> usize {
        self.images * self.strips[0] * self.strips[1] * self.shares()
    }

    pub fn task(&self, index: usize) -> Task {
        let (index, share) = (index / self.shares(), index % self.shares());
        let (index, row) = (index / self.strips[1], index % self.strips[1]);
        let (image, depth) = (index / self.strips[0], index % self.strips[0]);
        let start = share * self.share;
        let units = start..(start + self.share).min(self.units);
        Task { image, strip: [depth, row], units }
    }
}
