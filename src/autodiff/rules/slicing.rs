//! Parts of an axis: joined, cut out, filled up, turned round.

use super::{Entry, Gradients, exact};
use crate::autodiff::axis_map::AxisMap;
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::size::Size;
use crate::onnx::build::AttributeValue;

pub(super) const RULES: &[Entry] = &[
    exact("Concat", concat),
    exact("Split", split).unless(|node| {
        let unnamed = node.output.iter().any(String::is_empty);
        unnamed.then_some("one of its outputs has no name")
    }),
    exact("Slice", slice).unless_known(slice_objection),
    exact("Pad", pad).unless_known(pad_objection),
    exact("Trilu", |c| {
        let diagonal: Vec<Expr> = c.optional_input(1).into_iter().collect();
        let upper = vec![("upper", AttributeValue::Int(c.int("upper", 1)))];
        vec![Some(c.gradient().call_with("Trilu", &diagonal, upper))]
    }),
    exact("ReverseSequence", |c| {
        let axis = |name, default| (name, AttributeValue::Int(c.int(name, default)));
        let axes = vec![axis("batch_axis", 1), axis("time_axis", 0)];
        vec![Some(c.gradient().call_with("ReverseSequence", &[c.input(1)], axes))]
    }),
];

fn concat<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (g, emitter) = (c.gradient(), c.emitter());
    let axis = c.axis(c.int("axis", 0), c.output_rank(0));
    let mut start = Size::Known(0);
    let mut parts = Vec::new();
    for index in 0..c.input_count() {
        let end = start + c.input_size(index, axis);
        let part = || g.slice(start.vector(emitter), end.vector(emitter), &[axis], &[1]);
        parts.push(c.wants(index).then(part));
        start = end;
    }
    parts
}

fn split<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let axis = c.axis(c.int("axis", 0), c.input_rank(0));
    let parts: Vec<Expr> =
        (0..c.node().output.len()).map(|output| c.gradient_or_zeros(output)).collect();
    vec![Some(Expr::concat(&parts, axis))]
}

/// What a `Slice` cuts out of one axis.
struct Cut<'g> {
    axis: i64,
    /// The first place, counted from the front; within the axis, or behind it where nothing is
    /// cut out.
    first: Size<'g>,
    step: i64,
    /// Places cut out.
    count: Size<'g>,
    /// Places of the whole axis.
    size: Size<'g>,
}

/// Axes and steps are to be known; what was left out of the result, too, where steps are larger.
fn slice_objection(c: &Call) -> Option<&'static str> {
    let given = |index: usize| c.optional_input(index).is_some();
    let (axes, steps) = (c.constant_ints(3), c.constant_ints(4));
    if (given(3) && axes.is_none()) || (given(4) && steps.is_none()) {
        return Some("its axes and steps are computed, expected constants");
    }
    let fits = |cut: &Cut| {
        let known = [cut.first, cut.size, cut.count].iter().all(|size| size.known().is_some());
        cut.step.abs() == 1 || known
    };
    let all = cuts(c).iter().all(fits);
    (!all).then_some("it skips elements between bounds that are not known")
}

fn cuts<'g>(c: &Call<'g, '_>) -> Vec<Cut<'g>> {
    let rank = c.input_rank(0);
    let axes = c.constant_ints(3);
    let axes = axes.unwrap_or_else(|| {
        let given = c.input_dimensions(1).first();
        let count = match given {
            Some(crate::tensor::Dimension::Fixed(count)) => *count,
            _ => rank,
        };
        (0..count as i64).collect()
    });
    let (starts, steps) = (c.constant_ints(1), c.constant_ints(4));
    let cut = |(index, &axis): (usize, &i64)| {
        let axis = c.axis(axis, rank);
        let (size, count) = (c.input_size(0, axis), c.output_size(0, axis));
        let step = steps.as_ref().map_or(1, |steps| steps[index]);
        let start = match &starts {
            Some(starts) if starts[index] < 0 => size + Size::Known(starts[index]),
            Some(starts) => Size::Known(starts[index]),
            None => {
                let at = index as i64;
                let start = c.input(1).cast(crate::tensor::DataType::Int64);
                let start = start.slice_axis(0, at, at + 1);
                let from_end = start + size.vector(c.emitter());
                Size::Computed(start.less(0.0).select(from_end, start))
            }
        };
        let last = if step < 0 { size - Size::Known(1) } else { size };
        // The last bound first: an empty axis has no last place.
        let first = start.at_least(0).at_most(last);
        Cut { axis, first, step, count, size }
    };
    axes.iter().enumerate().map(cut).collect()
}

/// Zeros where nothing was cut out.
fn slice<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let rank = c.input_rank(0);
    let mut g = c.gradient();
    let mut pads = vec![Size::Known(0); 2 * rank];
    for Cut { axis, first, step, count, size } in cuts(c) {
        let at = axis as usize;
        let one = Size::Known(1);
        (pads[at], pads[rank + at]) = match step {
            1 => (first, size - first - count),
            -1 => {
                let (end, start) = (c.emitter().ints(&[i64::MIN]), c.emitter().ints(&[-1]));
                g = g.slice(start, end, &[axis], &[-1]);
                (first + one - count, size - one - first)
            }
            step => {
                let known = |size: Size| size.known().expect("looked at before the walk");
                let (first, count, size) = (known(first), known(count), known(size));
                let places = (0..count).map(|place| (first + place * step) as usize);
                let map = AxisMap::of_places(size as usize, places);
                g = map.backwards(g, at, rank);
                (Size::Known(0), Size::Known(0))
            }
        };
    }
    vec![Some(fill_up(g, &pads))]
}

/// Zeros around a value: as many before each axis, then as many behind each.
pub(super) fn fill_up<'g>(value: Expr<'g>, pads: &[Size<'g>]) -> Expr<'g> {
    if pads.iter().all(|pad| pad.known() == Some(0)) {
        return value;
    }
    value.call("Pad", &[Size::vector_of(value.emitter(), pads)])
}

/// What a `Pad` adds to one axis.
struct Margin {
    axis: i64,
    before: i64,
    behind: i64,
}

/// Those that add something, or take something away.
fn margins(c: &Call) -> Option<Vec<Margin>> {
    let rank = c.input_rank(0);
    let axes = match c.optional_input(3) {
        Some(_) => c.constant_ints(3)?,
        None => (0..rank as i64).collect(),
    };
    let pads = c.constant_ints(1)?;
    let (before, behind) = pads.split_at_checked(axes.len())?;
    let margin = |((&axis, &before), &behind): ((&i64, &i64), &i64)| Margin {
        axis: c.axis(axis, rank),
        before,
        behind,
    };
    let all = axes.iter().zip(before).zip(behind).map(margin);
    Some(all.filter(|margin| margin.before != 0 || margin.behind != 0).collect())
}

fn pad_objection(c: &Call) -> Option<&'static str> {
    let Some(margins) = margins(c) else {
        return Some("its pads are computed, expected constants");
    };
    if c.text("mode", "constant") == "constant" {
        return None;
    }
    if margins.iter().any(|margin| margin.before < 0 || margin.behind < 0) {
        return Some("it takes away with negative pads in a mode other than \"constant\"");
    }
    let open = margins.iter().any(|margin| c.input_size(0, margin.axis).known().is_none());
    open.then_some("the sizes of the axes that it pads are not known")
}

fn pad<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let margins = margins(c).expect("looked at before the walk");
    let mode = c.text("mode", "constant");
    if mode == "constant" {
        return pad_with_constant(c, &margins);
    }
    let mut g = c.gradient();
    for margin in margins {
        let size = c.input_size(0, margin.axis).known().expect("looked at before the walk");
        let places = -margin.before..size + margin.behind;
        let source = |place: i64| match mode.as_str() {
            "edge" => place.clamp(0, size - 1),
            "wrap" => place.rem_euclid(size),
            // There and back again.
            _ => {
                let period = (2 * (size - 1)).max(1);
                let place = place.rem_euclid(period);
                place.min(period - place)
            }
        };
        let map = AxisMap::of_places(size as usize, places.map(|place| source(place) as usize));
        g = map.backwards(g, margin.axis as usize, c.input_rank(0));
    }
    vec![Some(g)]
}

/// What was added is cut off; what was taken away gets zeros; the rest is the constant's.
fn pad_with_constant<'g>(c: &Call<'g, '_>, margins: &[Margin]) -> Gradients<'g> {
    let (g, rank) = (c.gradient(), c.input_rank(0));
    let mut inner = g;
    let mut zeros = vec![Size::Known(0); 2 * rank];
    for &Margin { axis, before, behind } in margins {
        let end = if behind > 0 { -behind } else { i64::MAX };
        if before > 0 || behind > 0 {
            inner = inner.slice_axis(axis, before.max(0), end);
        }
        zeros[axis as usize] = Size::Known((-before).max(0));
        zeros[rank + axis as usize] = Size::Known((-behind).max(0));
    }
    let inner = fill_up(inner, &zeros);
    let all: Vec<i64> = (0..rank as i64).collect();
    let constant = c.wants(2).then(|| {
        let rest = g.sum(&all, false) - inner.sum(&all, false);
        c.in_input_shape(rest, 2)
    });
    vec![Some(inner), None, constant]
}
