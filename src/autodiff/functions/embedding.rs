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
        let places = indices.less(0.0).select(from_end, indices).unsqueeze(&[-1]);
        // The table's shape: its rows, then what `dy` has behind the axes of the indices.
        let row_shape = dy.shape().slice(rank, emitter.ints(&[i64::MAX]), &[0], &[1]);
        let zeros = dy.number(0.0).expand(Expr::concat(&[rows, row_shape], 0));
        [zeros.call_with("ScatterND", &[places, dy], vec![("reduction", "add".into())])]
    })
}
