//! Which inputs meet which weights: the forward pass and the input gradient as one and the same
//! sum over taps, told apart only here.
//!
//! Along each axis a *phase* is a set of destinations, evenly spaced, that meet the same taps. The
//! forward pass has one. The input gradient of a strided convolution has as many as the stride:
//! neighbouring inputs were met by different taps.

use super::shape::{Axis, ConvShape};

/// A weight's place along an axis, and where it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Index in the kernel.
    pub index: usize,
    /// What is added to a destination's source coordinate.
    pub offset: isize,
}

/// Destination `first + i * step` meets, for each tap, source `i * source_step + tap.offset`, for
/// `i` below `count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    pub taps: Vec<Tap>,
}

/// One axis of the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AxisPlan {
    pub source: usize,
    pub destination: usize,
    pub source_step: usize,
    pub phases: Vec<Phase>,
}

impl AxisPlan {
    fn forward(axis: &Axis) -> AxisPlan {
        let offset = |index: usize| (index * axis.dilation) as isize - axis.pad as isize;
        let taps = (0..axis.kernel).map(|index| Tap { index, offset: offset(index) }).collect();
        AxisPlan {
            source: axis.input,
            destination: axis.output,
            source_step: axis.stride,
            phases: vec![Phase { first: 0, step: 1, count: axis.output, taps }],
        }
    }

    /// Input `i` was met by output `o` through tap `k` where `i + pad = o * stride + k * dilation`.
    fn input_gradient(axis: &Axis) -> AxisPlan {
        let stride = axis.stride as isize;
        let phase = |first: usize| {
            let taps = (0..axis.kernel).filter_map(|index| {
                let reach = (first + axis.pad) as isize - (index * axis.dilation) as isize;
                (reach % stride == 0).then_some(Tap { index, offset: reach / stride })
            });
            let count = (axis.input - first).div_ceil(axis.stride);
            Phase { first, step: axis.stride, count, taps: taps.collect() }
        };
        AxisPlan {
            source: axis.output,
            destination: axis.input,
            source_step: 1,
            phases: (0..axis.stride.min(axis.input)).map(phase).collect(),
        }
    }

    /// The smallest and the largest offset of any tap; none where no tap meets anything.
    pub fn offsets(&self) -> Option<(isize, isize)> {
        let offsets = || self.phases.iter().flat_map(|phase| &phase.taps).map(|tap| tap.offset);
        Some((offsets().min()?, offsets().max()?))
    }

    /// Destinations of the largest phase.
    pub fn count(&self) -> usize {
        self.phases.iter().map(|phase| phase.count).max().unwrap_or(0)
    }
}

/// A sum over taps and source channels, for every destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub batch: usize,
    pub group: usize,
    /// Channels of one group that are read, and that are written.
    pub source_channels: usize,
    pub destination_channels: usize,
    pub axes: [AxisPlan; 3],
    /// Elements of the weights between one destination channel and the next, and between one
    /// source channel and the next.
    pub weight_steps: (usize, usize),
    /// Elements of the weights between one group and the next.
    pub group_weights: usize,
    /// Sizes of the kernel.
    pub kernel: [usize; 3],
}

impl Plan {
    pub fn forward(shape: &ConvShape) -> Plan {
        let taps = shape.taps();
        Plan {
            batch: shape.batch,
            group: shape.group,
            source_channels: shape.channels,
            destination_channels: shape.filters,
            axes: shape.axes.each_ref().map(AxisPlan::forward),
            weight_steps: (shape.channels * taps, taps),
            group_weights: shape.filters * shape.channels * taps,
            kernel: shape.axes.map(|axis| axis.kernel),
        }
    }

    pub fn input_gradient(shape: &ConvShape) -> Plan {
        let taps = shape.taps();
        Plan {
            source_channels: shape.filters,
            destination_channels: shape.channels,
            axes: shape.axes.each_ref().map(AxisPlan::input_gradient),
            weight_steps: (taps, shape.channels * taps),
            ..Plan::forward(shape)
        }
    }

    pub fn source_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.source).product()
    }

    pub fn destination_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.destination).product()
    }

    /// Every combination of the axes' phases.
    pub fn phases(&self) -> impl Iterator<Item = [&Phase; 3]> {
        let [depth, height, width] = &self.axes;
        depth.phases.iter().flat_map(move |d| {
            let rows = height.phases.iter();
            rows.flat_map(move |h| width.phases.iter().map(move |w| [d, h, w]))
        })
    }
}

/// The taps of a combination of phases, row-major: index in a channel of the weights, and offset
/// along each axis.
pub(super) fn taps_of(
    phases: [&Phase; 3],
    kernel: [usize; 3],
) -> impl Iterator<Item = (usize, [isize; 3])> {
    let [depth, height, width] = phases;
    depth.taps.iter().flat_map(move |d| {
        height.taps.iter().flat_map(move |h| {
            width.taps.iter().map(move |w| {
                let index = (d.index * kernel[1] + h.index) * kernel[2] + w.index;
                (index, [d.offset, h.offset, w.offset])
            })
        })
    })
}
