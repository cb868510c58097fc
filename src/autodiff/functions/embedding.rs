//! The gradient of looking up rows of a table.

use super::{Signature, function, int_attribute};
use crate::autodiff::expr::Expr;
use crate::onnx::proto::FunctionProto;
use crate::tensor::DataType;

/// `EmbeddingGradient(dy, indices; rows) → dtable`. Rows that are looked up several times get the
/// sum, in the order of their indices; negative indices count from the end.
pub fn embedding_gradient(opset: i64) -> FunctionProto {
    let (inputs, outputs) = (["dy", "indices"], ["dtable"]);
    let name = "EmbeddingGradient";
    let signature = Signature { name, inputs, outputs, attributes: &["rows"] };
    function(opset, &signature, |emitter, [dy, indices]| {
        let rows = int_attribute(emitter, "rows");
        let rank = indices.shape().shape();
        let indices = indices.cast(DataType::Int64);
        let from_end = indices + rows.squeeze(&[0]);
        let places = indices.less(0.0).select(from_end, indices);
        // The table's shape: its rows, then what `dy` has behind the axes of the indices.
        let row_shape = dy.shape().slice(rank, emitter.ints(&[i64::MAX]), &[0], &[1]);
        [add_rows(dy, places, (rows, row_shape))]
    })
}

/// A table of so many rows of that shape: each row of `dy`, one per place, is added to the row at
/// its place, in the order of places. `ScatterND` would be one node, but ONNX Runtime adds up in
/// another order every time.
pub fn add_rows<'g>(
    dy: Expr<'g>,
    places: Expr<'g>,
    (rows, row_shape): (Expr<'g>, Expr<'g>),
) -> Expr<'g> {
    let places = places.reshape(dy.emitter().ints(&[-1, 1]));
    let count = places.shape().slice_axis(0, 0, 1);
    let width = row_shape.call_with("ReduceProd", &[], vec![("keepdims", 1.into())]);
    let flat = Expr::concat(&[count, width], 0);
    let zeros = dy.number(0.0).expand(Expr::concat(&[rows, width], 0));
    let add = vec![("axis", 0.into()), ("reduction", "add".into())];
    // A sum, because `Expand` makes no axis of 1 an empty one.
    let places = places + dy.emitter().scalar(DataType::Int64, 0.0).expand(flat);
    let inputs = [places, dy.reshape_exactly(flat)];
    let table = zeros.call_with("ScatterElements", &inputs, add);
    table.reshape_exactly(Expr::concat(&[rows, row_shape], 0))
}
