//! `EmbeddingGradient(dy, indices; rows) → dtable`: the gradient of looking up rows of a table.
//! Rows that are looked up several times get the sum, in the order of their indices; negative
//! indices count from the end.

use super::{Body, Signature};
use crate::onnx::build::Node;
use crate::onnx::proto::FunctionProto;

/// INT64, as ONNX numbers types.
const INT64: i64 = 7;

pub fn embedding_gradient(opset: i64) -> FunctionProto {
    let mut body = Body::new();
    let rows = body.reference("rows");
    let zero = body.constant("value_int", 0);
    let indices = body.node(Node::new("Cast", &["indices"]).attribute("to", INT64));
    let negative = body.call("Less", &[&indices, &zero]);
    let from_end = body.call("Add", &[&indices, &rows]);
    let indices = body.call("Where", &[&negative, &from_end, &indices]);
    let last = body.constant("value_ints", [-1]);
    let places = body.call("Unsqueeze", &[&indices, &last]);
    // The table's shape: its rows, then what `dy` has behind the axes of the indices.
    let shape = body.call("Shape", &["dy"]);
    let indices_shape = body.call("Shape", &["indices"]);
    let indices_rank = body.call("Shape", &[&indices_shape]);
    let all = body.constant("value_ints", [i64::MAX]);
    let row_shape = body.call("Slice", &[&shape, &indices_rank, &all]);
    let first = body.constant("value_ints", [0]);
    let rows = body.call("Unsqueeze", &[&rows, &first]);
    let shape = body.node(Node::new("Concat", &[&rows, &row_shape]).attribute("axis", 0i64));
    let nothing = body.constant("value_float", 0.0f32);
    let nothing = body.call("CastLike", &[&nothing, "dy"]);
    let zeros = body.call("Expand", &[&nothing, &shape]);
    let add = Node::new("ScatterND", &[&zeros, &places, "dy"]).attribute("reduction", "add");
    body.node(add.output("dtable"));
    body.into_function(
        opset,
        &Signature {
            name: "EmbeddingGradient",
            inputs: &["dy", "indices"],
            outputs: &["dtable"],
            attributes: &["rows"],
        },
    )
}
