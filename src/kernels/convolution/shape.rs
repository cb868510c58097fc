//! What a convolution is, apart from its numbers: validated once, used by all three kernels.

use crate::kernels::KernelError;

const KERNEL: &str = "convolution";

/// The largest value of any one setting: twice it, and a product of two, is still counted exactly.
const LARGEST: usize = 1 << 31;

/// A convolution as ONNX writes it. Lists have an entry for each spatial dimension, of which there
/// are one to three; `pads` has the beginnings of all, then the ends of all.
#[derive(Debug, Clone, Copy)]
pub struct ConvSettings<'a> {
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Spatial sizes of the input.
    pub sizes: &'a [usize],
    pub kernel: &'a [usize],
    pub strides: &'a [usize],
    pub dilations: &'a [usize],
    pub pads: &'a [usize],
    pub group: usize,
}

/// One spatial dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pad: usize,
}

impl Axis {
    /// A dimension that is not there.
    const ABSENT: Axis = Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0 };
}

/// A convolution that can be computed. The layout is ONNX's: input `[batch, channels, …]`, weights
/// `[filters, channels / group, …]`, output `[batch, filters, …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvShape {
    pub(super) batch: usize,
    pub(super) group: usize,
    /// Channels of the input that a filter sees.
    pub(super) channels: usize,
    /// Filters of one group.
    pub(super) filters: usize,
    /// Always three: those that are not there come first.
    pub(super) axes: [Axis; 3],
    dimensions: usize,
}

impl ConvShape {
    /// # Errors
    /// A list of the wrong length, a zero where none can be, channels that the group does not
    /// divide, a kernel that is larger than the padded input, or more than can be counted.
    pub fn new(settings: ConvSettings) -> Result<ConvShape, KernelError> {
        let dimensions = settings.sizes.len();
        if !(1..=3).contains(&dimensions) {
            return refuse("spatial dimensions", dimensions, "1, 2 or 3");
        }
        check_lists(&settings, dimensions)?;
        check_channels(&settings)?;
        let mut axes = [Axis::ABSENT; 3];
        for index in 0..dimensions {
            axes[3 - dimensions + index] = axis(&settings, index)?;
        }
        let shape = ConvShape {
            batch: settings.batch,
            group: settings.group,
            channels: settings.channels / settings.group,
            filters: settings.filters / settings.group,
            axes,
            dimensions,
        };
        shape.check_counts()?;
        Ok(shape)
    }

    /// Spatial sizes of the output.
    pub fn output_sizes(&self) -> Vec<usize> {
        self.axes[3 - self.dimensions..].iter().map(|axis| axis.output).collect()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.group * self.channels * self.input_plane()
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        self.group * self.filters * self.channels * self.taps()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.group * self.filters * self.output_plane()
    }

    /// Elements of the bias.
    pub fn bias_len(&self) -> usize {
        self.group * self.filters
    }

    /// Elements of one channel of the input.
    pub(super) fn input_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    /// Elements of one channel of the output.
    pub(super) fn output_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Elements of one channel of a filter.
    pub(super) fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    fn check_counts(&self) -> Result<(), KernelError> {
        let channels = (self.group * self.channels) as u128;
        let filters = (self.group * self.filters) as u128;
        let counts = [
            (self.batch as u128 * channels, self.axes.map(|axis| axis.input)),
            (self.batch as u128 * filters, self.axes.map(|axis| axis.output)),
            (filters * self.channels as u128, self.axes.map(|axis| axis.kernel)),
        ];
        for (count, sizes) in counts {
            let total = sizes
                .iter()
                .try_fold(count, |total, &size| total.checked_mul(size as u128))
                .filter(|&total| total <= isize::MAX as u128 / 8);
            if total.is_none() {
                return refuse(
                    "the count of elements",
                    format!("{count} x {sizes:?}"),
                    "countable",
                );
            }
        }
        Ok(())
    }
}

fn refuse<T>(
    setting: &'static str,
    value: impl ToString,
    expected: &'static str,
) -> Result<T, KernelError> {
    Err(KernelError::Setting { kernel: KERNEL, setting, value: value.to_string(), expected })
}

fn check_lists(settings: &ConvSettings, dimensions: usize) -> Result<(), KernelError> {
    let lists = [
        ("kernel_shape", settings.kernel, dimensions),
        ("strides", settings.strides, dimensions),
        ("dilations", settings.dilations, dimensions),
        ("pads", settings.pads, 2 * dimensions),
    ];
    for (setting, list, length) in lists {
        if list.len() != length {
            let expected = "an entry for each spatial dimension, two for pads";
            return refuse(setting, format!("{list:?}"), expected);
        }
        if setting != "pads" && list.contains(&0) {
            return refuse(setting, format!("{list:?}"), "at least 1 in each dimension");
        }
    }
    let all =
        [settings.sizes, settings.kernel, settings.strides, settings.dilations, settings.pads];
    if let Some(value) = all.concat().iter().find(|&&value| value > LARGEST) {
        return refuse("a size or setting", value, "at most 2147483648");
    }
    Ok(())
}

fn check_channels(settings: &ConvSettings) -> Result<(), KernelError> {
    let counts = [
        ("group", settings.group),
        ("the count of channels", settings.channels),
        ("the count of filters", settings.filters),
    ];
    for (setting, count) in counts {
        if count == 0 || count > LARGEST {
            return refuse(setting, count, "1 to 2147483648");
        }
        if !count.is_multiple_of(settings.group) {
            let value = format!("{count} for group {}", settings.group);
            return refuse(setting, value, "a multiple of group");
        }
    }
    if settings.batch > LARGEST {
        return refuse("batch", settings.batch, "at most 2147483648");
    }
    Ok(())
}

fn axis(settings: &ConvSettings, index: usize) -> Result<Axis, KernelError> {
    let (input, kernel) = (settings.sizes[index], settings.kernel[index]);
    let (stride, dilation) = (settings.strides[index], settings.dilations[index]);
    let pad = settings.pads[index];
    let padded = input + pad + settings.pads[settings.sizes.len() + index];
    // At most 2^62: both factors are below LARGEST.
    let reach = dilation * (kernel - 1) + 1;
    if padded < reach {
        let value = format!("{reach} wide (dilated) over an input of {padded} (padded)");
        return refuse("the kernel", value, "no larger than the padded input");
    }
    let output = (padded - reach) / stride + 1;
    Ok(Axis { input, output, kernel, stride, dilation, pad })
}
