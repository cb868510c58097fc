//! Pools: windows reduced to their mean, their largest element or their norm.

use super::window::{Window, input_gradient, open_sizes, spatial};
use super::{Entry, Gradients, exact};
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::onnx::build::AttributeValue;
use crate::tensor::{DataType, Dimension};

pub(super) const RULES: &[Entry] = &[
    exact("MaxPool", max_pool),
    exact("AveragePool", average_pool).unless_known(open_sizes),
    exact("LpPool", |c| {
        let (outer, inner) = norm(c);
        vec![Some(spread(c, outer) * inner)]
    })
    .unless_known(open_sizes),
    exact("GlobalMaxPool", global_max_pool),
    exact("GlobalAveragePool", |c| {
        let axes: Vec<i64> = (2..c.input_rank(0) as i64).collect();
        vec![Some((c.gradient() / c.input_size_over(0, &axes)).expand(c.input_shape(0)))]
    }),
    exact("GlobalLpPool", |c| {
        let (outer, inner) = norm(c);
        vec![Some(outer * inner)]
    }),
];

/// The gradient goes where the largest element was: of several, to the first.
fn max_pool<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, x) = (c.gradient(), c.input(0));
    let flat = |value: Expr<'g>| value.reshape(c.emitter().ints(&[-1]));
    let zeros = x.number(0.0).expand(flat(x).shape());
    let mut attributes: Vec<(&str, AttributeValue)> = vec![("axis", 0.into())];
    if overlaps(c) {
        // Not `ScatterND`: ONNX Runtime adds up in another order every time.
        attributes.push(("reduction", "add".into()));
    }
    let dx = zeros.call_with("ScatterElements", &[flat(places(c)), flat(g)], attributes);
    vec![Some(dx.reshape(c.input_shape(0)))]
}

/// Where each window's largest element is, counted through the whole input. A node that has not
/// said so is asked a second time.
fn places<'g>(c: &Call<'g, '_>) -> Expr<'g> {
    if c.has_output(1) && c.int("storage_order", 0) == 0 {
        return c.output(1);
    }
    let mut attributes: Vec<(&str, AttributeValue)> = Vec::new();
    for name in ["kernel_shape", "strides", "dilations", "pads"] {
        attributes.extend(c.ints(name).map(|ints| (name, ints.as_slice().into())));
    }
    attributes.push(("ceil_mode", c.int("ceil_mode", 0).into()));
    let auto_pad = c.text("auto_pad", "NOTSET");
    attributes.push(("auto_pad", auto_pad.as_str().into()));
    let types = [c.input(0).data_type(), DataType::Int64];
    c.emitter().call("MaxPool", &[Some(c.input(0))], attributes, &types)[1]
}

/// Whether an element can be in two windows.
fn overlaps(c: &Call) -> bool {
    let window = Window::of(c, kernel(c));
    (0..window.axes()).any(|axis| window.reach(axis) > window.strides[axis])
}

fn kernel(c: &Call) -> Vec<i64> {
    c.ints("kernel_shape").unwrap_or_default()
}

fn global_max_pool<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let planes = |value: Expr<'g>| value.reshape(c.emitter().ints(&[0, 0, -1]));
    let x = planes(c.input(0));
    let axis = || ("axis", AttributeValue::Int(2));
    let place = x.call_typed("ArgMax", &[], vec![axis()], DataType::Int64);
    let zeros = x.number(0.0).expand(x.shape());
    let dx = zeros.call_with("ScatterElements", &[place, planes(c.gradient())], vec![axis()]);
    vec![Some(dx.reshape(c.input_shape(0)))]
}

/// The sizes that windows move over, in the input and of the answer: [`open_sizes`] has seen that
/// they are known.
fn moved_over(c: &Call) -> (Vec<i64>, Vec<i64>) {
    let known = |dimensions| spatial(dimensions).into_iter().flatten().collect();
    (known(c.input_dimensions(0)), known(c.output_dimensions(0)))
}

/// A number for every window given to all that it covers, and added up.
fn spread<'g>(c: &Call<'g, '_>, value: Expr<'g>) -> Expr<'g> {
    let mut window = Window::of(c, kernel(c));
    let (sizes, windows) = moved_over(c);
    window.pad_for(&sizes, &windows);
    let channels = match c.input_dimensions(0)[1] {
        Dimension::Fixed(count) => count as i64,
        _ => unreachable!("only the batch may be open"),
    };
    let ones = [&[channels, 1], window.kernel.as_slice()].concat();
    let ones = value.number(1.0).expand(c.emitter().ints(&ones));
    input_gradient(c, value, ones, window, channels)
}

/// Every window's share goes to all that it covers.
fn average_pool<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let window = Window::of(c, kernel(c));
    let padding_counts = c.int("count_include_pad", 0) != 0;
    let (sizes, windows) = moved_over(c);
    let mut counts = vec![1.0];
    for (axis, (&size, &count)) in sizes.iter().zip(&windows).enumerate() {
        let of_axis = counts_along(&window, axis, size, count, padding_counts);
        counts = counts.iter().flat_map(|a| of_axis.iter().map(move |b| a * b)).collect();
    }
    let shape: Vec<usize> = windows.iter().map(|&count| count as usize).collect();
    let g = c.gradient();
    let counts = match counts.as_slice() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => g.number(*first),
        _ => c.emitter().floats(g.data_type(), &shape, &counts),
    };
    vec![Some(spread(c, g / counts))]
}

/// How many elements each window along one axis is the mean of.
fn counts_along(
    window: &Window,
    axis: usize,
    size: i64,
    windows: i64,
    padding_counts: bool,
) -> Vec<f64> {
    let (low, high) = match padding_counts {
        true => (-window.begin(axis), size + window.end(axis)),
        false => (0, size),
    };
    let count = |place: i64| {
        let start = place * window.strides[axis] - window.begin(axis);
        let taps = (0..window.kernel[axis]).map(|tap| start + tap * window.dilations[axis]);
        taps.filter(|at| (low..high).contains(at)).count() as f64
    };
    (0..windows).map(count).collect()
}

/// The derivative of `y = (Σ|x|ᵖ)^(1/p)` as `g y^(1-p)`, of the shape of `y`, and
/// `sign(x)|x|^(p-1)`, of that of `x`.
fn norm<'g>(c: &Call<'g, '_>) -> (Expr<'g>, Expr<'g>) {
    let (g, x, y) = (c.gradient(), c.input(0), c.output(0));
    match c.int("p", 2) {
        1 => (g, x.sign()),
        p => {
            let p = p as f64;
            let outer = y.equals(0.0).zero_or(g * y.pow(1.0 - p));
            (outer, if p == 2.0 { x } else { x.sign() * x.abs().pow(p - 1.0) })
        }
    }
}
