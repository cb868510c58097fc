//! Convolutions and their gradients: kernels against bodies.

use onnxd::autodiff::functions::convolution::{conv, conv_input_gradient, conv_weight_gradient};

use super::call::Call;

/// A convolution; lists have a number for each spatial axis, pads two.
struct Convolution<'a> {
    batch: usize,
    channels: usize,
    filters: usize,
    sizes: &'a [usize],
    kernel: &'a [usize],
    strides: &'a [i64],
    pads: &'a [i64],
    dilations: &'a [i64],
    group: i64,
}

impl Convolution<'_> {
    fn x(&self) -> Vec<usize> {
        [&[self.batch, self.channels], self.sizes].concat()
    }

    fn w(&self) -> Vec<usize> {
        [&[self.filters, self.channels / self.group as usize], self.kernel].concat()
    }

    /// How much of each axis no window covers, and the sizes of the output.
    fn ends(&self) -> (Vec<i64>, Vec<usize>) {
        let axes = self.sizes.len();
        let end = |axis: usize| {
            let reach = self.dilations[axis] * (self.kernel[axis] as i64 - 1) + 1;
            let padded = self.sizes[axis] as i64 + self.pads[axis] + self.pads[axes + axis];
            let steps = (padded - reach) / self.strides[axis];
            (padded - reach - steps * self.strides[axis], steps as usize + 1)
        };
        (0..axes).map(end).unzip()
    }

    fn y(&self) -> Vec<usize> {
        [&[self.batch, self.filters], &self.ends().1[..]].concat()
    }

    fn told(&self, call: Call) -> Call {
        let kernel: Vec<i64> = self.kernel.iter().map(|&size| size as i64).collect();
        call.attribute("strides", self.strides)
            .attribute("pads", self.pads)
            .attribute("dilations", self.dilations)
            .attribute("group", self.group)
            .attribute("kernel_shape", &kernel[..])
    }

    /// All three kernels, with open batches too.
    fn check(&self) {
        let (x, w, y) = (self.x(), self.w(), self.y());
        let plain = |function| self.told(Call::of(function));
        let padding = self.ends().0;
        let calls = || {
            [
                plain(conv).floats(&x).floats(&w).floats(&[self.filters]),
                plain(conv).floats(&x).floats(&w),
                plain(conv_input_gradient)
                    .floats(&y)
                    .floats(&w)
                    .attribute("output_padding", &padding[..]),
                plain(conv_weight_gradient).floats(&x).floats(&y),
            ]
        };
        for call in calls() {
            call.check();
        }
        for call in calls() {
            call.open().body_elsewhere().check();
        }
    }
}

#[test]
fn one_axis() {
    let plain = Convolution {
        batch: 2,
        channels: 3,
        filters: 4,
        sizes: &[9],
        kernel: &[3],
        strides: &[1],
        pads: &[1, 1],
        dilations: &[1],
        group: 1,
    };
    plain.check();
    Convolution { strides: &[2], pads: &[2, 0], dilations: &[2], ..plain }.check();
}

#[test]
fn two_axes() {
    let plain = Convolution {
        batch: 2,
        channels: 4,
        filters: 6,
        sizes: &[8, 9],
        kernel: &[3, 3],
        strides: &[1, 1],
        pads: &[1, 1, 1, 1],
        dilations: &[1, 1],
        group: 1,
    };
    plain.check();
    Convolution { strides: &[2, 2], pads: &[0, 0, 0, 0], ..plain }.check();
    Convolution { kernel: &[1, 1], pads: &[0, 0, 0, 0], ..plain }.check();
    let uneven = Convolution { kernel: &[2, 4], strides: &[3, 1], pads: &[1, 0, 2, 3], ..plain };
    uneven.check();
    Convolution { dilations: &[3, 2], ..uneven }.check();
}

#[test]
fn groups() {
    let two = Convolution {
        batch: 3,
        channels: 4,
        filters: 6,
        sizes: &[7, 6],
        kernel: &[3, 3],
        strides: &[2, 1],
        pads: &[1, 1, 1, 1],
        dilations: &[1, 1],
        group: 2,
    };
    two.check();
    // One filter, then two, for each channel.
    Convolution { channels: 6, group: 6, ..two }.check();
    Convolution { channels: 3, group: 3, ..two }.check();
}

#[test]
fn many_channels() {
    let wide = Convolution {
        batch: 2,
        channels: 16,
        filters: 24,
        sizes: &[12, 12],
        kernel: &[3, 3],
        strides: &[1, 1],
        pads: &[1, 1, 1, 1],
        dilations: &[1, 1],
        group: 1,
    };
    wide.check();
    Convolution { strides: &[2, 2], ..wide }.check();
}

#[test]
fn three_axes() {
    let plain = Convolution {
        batch: 1,
        channels: 2,
        filters: 4,
        sizes: &[4, 5, 4],
        kernel: &[2, 3, 2],
        strides: &[1, 2, 1],
        pads: &[0, 1, 1, 0, 1, 0],
        dilations: &[1, 1, 2],
        group: 1,
    };
    plain.check();
    Convolution { group: 2, ..plain }.check();
}

#[test]
fn what_does_not_fit_is_refused() {
    let told = |call: Call| {
        call.attribute("strides", [1, 1])
            .attribute("pads", [0, 0, 0, 0])
            .attribute("dilations", [1, 1])
            .attribute("group", 1i64)
            .attribute("kernel_shape", [3, 3])
    };
    told(Call::of(conv).floats(&[1, 2, 5, 5]).floats(&[4, 3, 3, 3]))
        .refused("of shape [4, 3, 3, 3]");
    told(Call::of(conv_weight_gradient).floats(&[1, 2, 5, 5]).floats(&[1, 4, 3, 2]))
        .refused("of shape [1, 4, 3, 2]");
    told(Call::of(conv).floats(&[1, 2, 5]).floats(&[4, 2, 3])).refused("of 3 axes");
}
