//! Convolutions by definition, in 64-bit, and numbers to try them on.

use crate::kernels::convolution::{ConvSettings, ConvShape};

/// A convolution of a test, with the numbers that it is tried on.
#[derive(Debug, Clone)]
pub struct Case {
    pub batch: usize,
    /// Channels of a group, and filters of it.
    pub channels: usize,
    pub filters: usize,
    pub group: usize,
    pub sizes: Vec<usize>,
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Vec<usize>,
}

impl Case {
    /// Stride and dilation 1, no padding, one group.
    pub fn new(
        batch: usize,
        [channels, filters]: [usize; 2],
        sizes: &[usize],
        kernel: &[usize],
    ) -> Case {
        let ones = vec![1; sizes.len()];
        let (sizes, kernel) = (sizes.to_vec(), kernel.to_vec());
        let pads = vec![0; 2 * sizes.len()];
        let (strides, dilations) = (ones.clone(), ones);
        Case { batch, channels, filters, group: 1, sizes, kernel, strides, dilations, pads }
    }

    pub fn group(self, group: usize) -> Case {
        Case { group, ..self }
    }

    pub fn strides(self, strides: &[usize]) -> Case {
        Case { strides: strides.to_vec(), ..self }
    }

    pub fn dilations(self, dilations: &[usize]) -> Case {
        Case { dilations: dilations.to_vec(), ..self }
    }

    pub fn pads(self, pads: &[usize]) -> Case {
        Case { pads: pads.to_vec(), ..self }
    }

    pub fn shape(&self) -> ConvShape {
        let settings = ConvSettings {
            batch: self.batch,
            channels: self.channels * self.group,
            filters: self.filters * self.group,
            sizes: &self.sizes,
            kernel: &self.kernel,
            strides: &self.strides,
            dilations: &self.dilations,
            pads: &self.pads,
            group: self.group,
        };
        ConvShape::new(settings).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// The numbers of a case.
pub struct Numbers {
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub bias: Vec<f32>,
    pub dy: Vec<f32>,
}

impl Numbers {
    pub fn new(shape: &ConvShape) -> Numbers {
        Numbers {
            x: numbers(1, shape.input_len()),
            w: numbers(2, shape.weight_len()),
            bias: numbers(3, shape.bias_len()),
            dy: numbers(4, shape.output_len()),
        }
    }
}

/// Numbers between -1 and 1 that look random and are the same in every run.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// What the definition gives: for each element, its value and the sum of the magnitudes that were
/// added, which its rounding is measured by.
#[derive(Debug, Clone, Default)]
pub struct Exact {
    pub values: Vec<f64>,
    pub magnitudes: Vec<f64>,
}

impl Exact {
    fn zeros(length: usize) -> Exact {
        Exact { values: vec![0.0; length], magnitudes: vec![0.0; length] }
    }

    fn add(&mut self, at: usize, value: f64) {
        self.values[at] += value;
        self.magnitudes[at] += value.abs();
    }

    /// The largest difference, in units of 32-bit rounding of the magnitudes that were added.
    pub fn distance(&self, actual: &[f32]) -> f64 {
        assert_eq!(self.values.len(), actual.len());
        let pairs = self.values.iter().zip(&self.magnitudes).zip(actual);
        let units = pairs.map(|((value, magnitude), actual)| {
            let difference = (value - f64::from(*actual)).abs();
            assert!(difference.is_finite(), "{actual}");
            if difference == 0.0 { 0.0 } else { difference / (magnitude * f64::from(f32::EPSILON)) }
        });
        units.fold(0.0, f64::max)
    }
}

/// Output, gradient of the input, gradient of the weights.
pub struct Reference {
    pub y: Exact,
    pub dx: Exact,
    pub dw: Exact,
}

impl Reference {
    pub fn new(shape: &ConvShape, numbers: &Numbers) -> Reference {
        let mut reference = Reference {
            y: Exact::zeros(shape.output_len()),
            dx: Exact::zeros(shape.input_len()),
            dw: Exact::zeros(shape.weight_len()),
        };
        let filters = shape.group * shape.filters;
        for (at, channel) in (0..shape.batch * filters * shape.output_plane())
            .map(|at| (at, at / shape.output_plane()))
        {
            reference.y.add(at, f64::from(numbers.bias[channel % filters]));
        }
        each_product(shape, |x, w, y| {
            let value = |from: &[f32], at: usize| f64::from(from[at]);
            reference.y.add(y, value(&numbers.x, x) * value(&numbers.w, w));
            reference.dx.add(x, value(&numbers.dy, y) * value(&numbers.w, w));
            reference.dw.add(w, value(&numbers.dy, y) * value(&numbers.x, x));
        });
        reference
    }
}

/// Calls `product` with the elements of input, weights and output of every product of the sum.
fn each_product(shape: &ConvShape, mut product: impl FnMut(usize, usize, usize)) {
    let (inputs, outputs, taps) = (shape.input_plane(), shape.output_plane(), shape.taps());
    let sites = sites(shape);
    for image in 0..shape.batch {
        for filter in 0..shape.group * shape.filters {
            let group = filter / shape.filters;
            for channel in 0..shape.channels {
                let x = ((image * shape.group + group) * shape.channels + channel) * inputs;
                let w = (filter * shape.channels + channel) * taps;
                let y = (image * shape.group * shape.filters + filter) * outputs;
                for &(input, tap, output) in &sites {
                    product(x + input, w + tap, y + output);
                }
            }
        }
    }
}

/// Places in a channel of input, weights and output that meet.
fn sites(shape: &ConvShape) -> Vec<(usize, usize, usize)> {
    let mut sites = vec![(0, 0, 0)];
    for axis in &shape.axes {
        let mut next = Vec::new();
        for &(input, tap, output) in &sites {
            for o in 0..axis.output {
                for k in 0..axis.kernel {
                    let at = (o * axis.stride + k * axis.dilation).checked_sub(axis.pad);
                    let Some(i) = at.filter(|&i| i < axis.input) else { continue };
                    next.push((
                        input * axis.input + i,
                        tap * axis.kernel + k,
                        output * axis.output + o,
                    ));
                }
            }
        }
        sites = next;
    }
    sites
}
