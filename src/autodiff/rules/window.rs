//! A window that moves over the axes behind batch and channels: what convolutions and pools share.

use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::functions::convolution::conv_input_gradient;
use crate::onnx::build::AttributeValue;
use crate::tensor::Dimension;

/// Its size and steps, with all defaults written out. `pads` has all beginnings, then all ends.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub pads: Vec<i64>,
}

impl Window {
    /// As the node's attributes say, over its first input.
    pub fn of(c: &Call, kernel: Vec<i64>) -> Window {
        let axes = kernel.len();
        let ones = || vec![1; axes];
        let mut window = Window {
            kernel,
            strides: c.ints("strides").unwrap_or_else(ones),
            dilations: c.ints("dilations").unwrap_or_else(ones),
            pads: vec![0; 2 * axes],
        };
        match c.text("auto_pad", "NOTSET").as_str() {
            "SAME_UPPER" => window.pad_same(&spatial(c.input_dimensions(0)), false),
            "SAME_LOWER" => window.pad_same(&spatial(c.input_dimensions(0)), true),
            "VALID" => {}
            _ => window.pads = c.ints("pads").unwrap_or(window.pads),
        }
        window
    }

    /// One position for each stride; where the padding is odd, one more at the end or at the
    /// beginning. A size that is open has a stride of one: see [`open_padding`].
    fn pad_same(&mut self, sizes: &[Option<i64>], begins: bool) {
        for (axis, size) in sizes.iter().enumerate() {
            let reach = self.reach(axis);
            let total = match size {
                Some(size) => {
                    let stride = self.strides[axis];
                    ((size + stride - 1) / stride - 1) * stride + reach - size
                }
                None => reach - 1,
            };
            self.pad(axis, total.max(0), begins);
        }
    }

    /// Shares out padding; an odd one goes to the beginning or to the end.
    pub fn pad(&mut self, axis: usize, total: i64, begins: bool) {
        let (less, more) = (total / 2, total - total / 2);
        let axes = self.kernel.len();
        (self.pads[axis], self.pads[axes + axis]) =
            if begins { (more, less) } else { (less, more) };
    }

    pub fn axes(&self) -> usize {
        self.kernel.len()
    }

    pub fn begin(&self, axis: usize) -> i64 {
        self.pads[axis]
    }

    pub fn end(&self, axis: usize) -> i64 {
        self.pads[self.axes() + axis]
    }

    /// How far it extends, from the first element to the last.
    pub fn reach(&self, axis: usize) -> i64 {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Moves the end of the padding so that this many windows fit.
    pub fn pad_for(&mut self, sizes: &[i64], windows: &[i64]) {
        for (axis, (&size, &count)) in sizes.iter().zip(windows).enumerate() {
            let least =
                (count - 1) * self.strides[axis] + self.reach(axis) - self.begin(axis) - size;
            let place = self.axes() + axis;
            self.pads[place] = self.pads[place].max(least);
        }
    }

    /// As attributes of the functions for convolutions.
    pub fn attributes(&self, group: i64) -> Vec<(&'static str, AttributeValue)> {
        vec![
            ("strides", self.strides.as_slice().into()),
            ("pads", self.pads.as_slice().into()),
            ("dilations", self.dilations.as_slice().into()),
            ("group", group.into()),
            ("kernel_shape", self.kernel.as_slice().into()),
        ]
    }
}

/// The sizes behind batch and channels, where they are known.
pub(super) fn spatial(dimensions: &[Dimension]) -> Vec<Option<i64>> {
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Some(*size as i64),
        _ => None,
    };
    dimensions.iter().skip(2).map(size).collect()
}

/// The input's gradient, of the input's shape: every output's gradient times the weights, added up
/// where the windows lay.
pub(super) fn input_gradient<'g>(
    c: &Call<'g, '_>,
    dy: Expr<'g>,
    w: Expr<'g>,
    mut window: Window,
    group: i64,
) -> Expr<'g> {
    let axes = window.axes();
    let sizes = spatial(c.input_dimensions(0));
    let mut output_padding = vec![0; axes];
    let mut open = Vec::new();
    for (axis, size) in sizes.into_iter().enumerate() {
        let stride = window.strides[axis];
        if let Some(size) = size {
            let room = size + window.begin(axis) + window.end(axis) - window.reach(axis);
            output_padding[axis] = room % stride;
        } else if stride > 1 {
            // How much no window reached is known when it runs: more than enough, then cut.
            window.pads[axes + axis] = 0;
            open.push(axis as i64 + 2);
        }
    }
    let mut attributes = window.attributes(group);
    attributes.push(("output_padding", output_padding.as_slice().into()));
    let function = conv_input_gradient(c.opset());
    let inputs = [Some(dy), Some(w)];
    let dx = c.emitter().call_function(function, &inputs, attributes, &[dy.data_type()])[0];
    if open.is_empty() {
        return dx;
    }
    let mut pads = vec![0; 2 * (axes + 2)];
    for &axis in &open {
        pads[axes + 2 + axis as usize] = window.strides[axis as usize - 2] - 1;
    }
    let wide = dx.call("Pad", &[c.emitter().ints(&pads)]);
    let ends = c.input_shape(0).call("Gather", &[c.emitter().ints(&open)]);
    let (starts, steps) = (vec![0; open.len()], vec![1; open.len()]);
    wide.slice(c.emitter().ints(&starts), ends, &open, &steps)
}

/// Where the padding follows from a size that is open.
pub(super) fn open_padding(c: &Call) -> Option<&'static str> {
    if !c.text("auto_pad", "NOTSET").starts_with("SAME") {
        return None;
    }
    let strides = c.ints("strides").unwrap_or_default();
    let sizes = spatial(c.input_dimensions(0));
    let mut open = sizes.iter().enumerate().filter(|(_, size)| size.is_none());
    let some = open.any(|(axis, _)| strides.get(axis).is_some_and(|&stride| stride != 1));
    some.then_some("its padding depends on a size that is not known beforehand")
}

/// Where any dimension but the batch is open.
pub(super) fn open_sizes(c: &Call) -> Option<&'static str> {
    let open =
        c.input_dimensions(0).iter().skip(1).any(|size| !matches!(size, Dimension::Fixed(_)));
    open.then_some("its windows depend on a size that is not known beforehand")
}
