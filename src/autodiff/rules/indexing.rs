//! Elements looked up by their places: their gradients are added up where they came from.

use super::slicing::fill_up;
use super::{Entry, Gradients, exact};
use crate::autodiff::axis_map::AxisMap;
use crate::autodiff::call::Call;
use crate::autodiff::expr::Expr;
use crate::autodiff::functions::embedding::{add_rows, embedding_gradient};
use crate::autodiff::size::Size;
use crate::onnx::build::AttributeValue;
use crate::tensor::DataType;

pub(super) const RULES: &[Entry] = &[
    exact("Gather", gather),
    exact("GatherElements", |c| {
        let axis = ("axis", AttributeValue::Int(c.int("axis", 0)));
        let add = vec![axis, ("reduction", "add".into())];
        let zeros = c.zeros_like_input(0);
        vec![Some(zeros.call_with("ScatterElements", &[c.input(1), c.gradient()], add))]
    }),
    exact("GatherND", gather_nd),
    exact("TopK", |c| {
        let axis = vec![("axis", AttributeValue::Int(c.int("axis", -1)))];
        let zeros = c.zeros_like_input(0);
        vec![Some(zeros.call_with("ScatterElements", &[c.output(1), c.gradient()], axis))]
    })
    .unless(|node| {
        let unnamed = node.output.get(1).is_none_or(String::is_empty);
        unnamed.then_some("its output of indices has no name")
    }),
    exact("Compress", compress),
    exact("OneHot", one_hot),
    exact("Range", |c| {
        let g = c.gradient();
        let (zero, one) = (g.number(0.0), g.number(1.0));
        let count = c.output_shape(0).squeeze(&[0]).cast(g.data_type());
        let steps = zero.call("Range", &[count, one]);
        vec![Some(g.sum(&[0], false)), None, Some((g * steps).sum(&[0], false))]
    }),
];

fn gather<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let rank = c.input_rank(0);
    let axis = c.axis(c.int("axis", 0), rank);
    let (g, indices_rank) = (c.gradient(), c.input_rank(1));
    let size = c.input_size(0, axis);
    if let Some(indices) = c.constant_ints(1) {
        let from_front = |index: i64| match index {
            ..0 => size + Size::Known(index),
            index => Size::Known(index),
        };
        if let (0, &[index]) = (indices_rank, &*indices) {
            let place = from_front(index);
            let mut zeros = vec![Size::Known(0); 2 * rank];
            zeros[axis as usize] = place;
            zeros[rank + axis as usize] = size - place - Size::Known(1);
            return vec![Some(fill_up(g.unsqueeze(&[axis]), &zeros))];
        }
        let known = |&index: &i64| Some(from_front(index).known()? as usize);
        let places: Option<Vec<usize>> = indices.iter().map(known).collect();
        if let (true, Some(size), Some(places)) =
            (axis > 0 && indices_rank == 1, size.known(), places)
        {
            let map = AxisMap::of_places(size as usize, places.into_iter());
            if let Some(gradient) = map.by_picks(g, axis as usize, rank) {
                return vec![Some(gradient)];
            }
        }
    }
    vec![Some(put_back(c, c.input(1), indices_rank as i64, axis))]
}

/// The gradient of picking `indices`, of that rank, from one axis of the first input.
fn put_back<'g>(c: &Call<'g, '_>, indices: Expr<'g>, indices_rank: i64, axis: i64) -> Expr<'g> {
    let rank = c.input_rank(0) as i64;
    // The axes of the indices to the front, so that the rest is rows.
    let behind = axis + indices_rank..rank - 1 + indices_rank;
    let order: Vec<i64> = (axis..axis + indices_rank).chain(0..axis).chain(behind).collect();
    let rows = c.gradient().transpose(&order);
    let size = c.input_size(0, axis);
    let table = match size.known() {
        Some(size) if rank > 1 => {
            let function = embedding_gradient(c.opset());
            let size = vec![("rows", AttributeValue::Int(size))];
            let inputs = [Some(rows), Some(indices)];
            c.emitter().call_function(function, &inputs, size, &[rows.data_type()])[0]
        }
        _ => {
            let others = (0..axis).chain(axis + 1..rank).map(|axis| c.input_size(0, axis));
            let row = Size::vector_of(c.emitter(), &others.collect::<Vec<_>>());
            let size = size.vector(c.emitter());
            add_rows(rows, from_front(indices, size), (size, row))
        }
    };
    let back: Vec<i64> = (1..=axis).chain(std::iter::once(0)).chain(axis + 1..rank).collect();
    table.transpose(&back)
}

/// The places as those of a table whose rows are what is behind the axes that they are of.
fn gather_nd<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let (places, emitter) = (whole_places(c), c.emitter());
    let last = c.input_rank(1) as i64 - 1;
    let depth = c.int("batch_dims", 0) + places_depth(c);
    let place = |axis: i64| places.slice_axis(last, axis, axis + 1);
    let size = |axis: i64| c.input_size(0, axis).vector(emitter);
    let (mut row, mut rows) = (place(0), size(0));
    for axis in 1..depth {
        row = row * size(axis) + place(axis);
        rows = rows * size(axis);
    }
    let rest: Vec<Size> =
        (depth..c.input_rank(0) as i64).map(|axis| c.input_size(0, axis)).collect();
    let table = add_rows(c.gradient(), row, (rows, Size::vector_of(emitter, &rest)));
    vec![Some(c.in_input_shape(table, 0))]
}

/// Indices that count from the front, as engines want them that have only those.
fn from_front<'g>(indices: Expr<'g>, size: Expr<'g>) -> Expr<'g> {
    let indices = indices.cast(DataType::Int64);
    indices.less(0.0).select(indices + size, indices)
}

/// The places of a `GatherND` or `ScatterND` (its second input), counted from the front, and from
/// the first axis on where the operator begins behind some that it walks along.
pub(super) fn whole_places<'g>(c: &Call<'g, '_>) -> Expr<'g> {
    let batch = c.int("batch_dims", 0);
    let rank = c.input_rank(1) as i64;
    let depth = places_depth(c);
    let sizes: Vec<Size> = (batch..batch + depth).map(|axis| c.input_size(0, axis)).collect();
    let places = from_front(c.input(1), Size::vector_of(c.emitter(), &sizes));
    if batch == 0 {
        return places;
    }
    // The axes it walks along have places too: each its own, the same for all else.
    let mut shape: Vec<Size> = (0..rank - 1).map(|axis| c.input_size(1, axis)).collect();
    shape.push(Size::Known(1));
    let shape = Size::vector_of(c.emitter(), &shape);
    let number = |value: f64| c.emitter().scalar(DataType::Int64, value);
    let own = |axis: i64| {
        let size = c.input_size(0, axis).vector(c.emitter()).squeeze(&[0]);
        let walk = number(0.0).call("Range", &[size, number(1.0)]);
        let others: Vec<i64> = (0..rank).filter(|&other| other != axis).collect();
        walk.unsqueeze(&others).expand(shape)
    };
    let parts: Vec<Expr> = (0..batch).map(own).chain(std::iter::once(places)).collect();
    Expr::concat(&parts, rank - 1)
}

/// How many axes a `GatherND` or `ScatterND` picks along.
fn places_depth(c: &Call) -> i64 {
    let (batch, rank) = (c.int("batch_dims", 0), c.input_rank(1) as i64);
    match c.input_size(1, rank - 1) {
        Size::Known(depth) => depth,
        // The axes that are left in the result tell how many there are not.
        Size::Computed(_) => (c.input_rank(0) as i64) + rank - 1 - batch - c.output_rank(0) as i64,
    }
}

fn compress<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let flat = c.emitter().ints(&[-1]);
    let places = c.input(1).call_typed("NonZero", &[], vec![], DataType::Int64).reshape(flat);
    if c.has_attribute("axis") {
        let axis = c.axis(c.int("axis", 0), c.input_rank(0));
        return vec![Some(put_back(c, places, 1, axis))];
    }
    let zeros = c.zeros_like_input(0).reshape(flat);
    let table = zeros.call("ScatterND", &[places.unsqueeze(&[-1]), c.gradient()]);
    vec![Some(c.in_input_shape(table, 0))]
}

/// The gradients of the two numbers that it writes: the one where the indices are not, the other
/// where they are.
fn one_hot<'g>(c: &Call<'g, '_>) -> Gradients<'g> {
    let g = c.gradient();
    let marks = c.emitter().floats(g.data_type(), &[2], &[0.0, 1.0]);
    let axis = ("axis", AttributeValue::Int(c.int("axis", -1)));
    let inputs = [c.input(1), marks];
    let there = c.input(0).call_typed("OneHot", &inputs, vec![axis], g.data_type());
    let all: Vec<i64> = (0..c.output_rank(0) as i64).collect();
    let on = (g * there).sum(&all, false).unsqueeze(&[0]);
    let off = g.sum(&all, false).unsqueeze(&[0]) - on;
    vec![None, None, Some(Expr::concat(&[off, on], 0))]
}
