//! The outputs of a response, read back: what a file of known answers says.

use bytes::Bytes;

use super::header::{BODY, distinct, json_text, once};
use super::infer::InferInput;
use super::json::{Cursor, excerpt};
use super::listed::{List, Listed, Value, read_tensors};
use super::{ANY_ROOM, Limits, ProtocolError};

/// Reads the outputs of a response whose tensors are all in its JSON.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_outputs(body: &Bytes, limits: &Limits) -> Result<Vec<InferInput>, ProtocolError> {
    let text = json_text(body)?;
    let mut cursor = Cursor::new(text, limits.max_json_depth);
    let mut outputs: Option<Vec<Listed>> = None;
    cursor.object_at(&|| BODY.to_owned(), |cursor, key| match &*key {
        "outputs" => {
            let list = List { name: "outputs", body, inputs: None, room: ANY_ROOM };
            let read = |cursor: &mut Cursor<'_>| read_tensors(cursor, &list);
            once(&mut outputs, "outputs", cursor, read)
        }
        _ => cursor.skip(),
    })?;
    cursor.end()?;
    let missing = || ProtocolError::field("outputs", "an array of tensors", "nothing");
    let outputs = outputs.ok_or_else(missing)?;
    distinct("outputs", outputs.iter().map(|output| &*output.name))?;
    let in_json = |Listed { name, value }: Listed| match value {
        Value::Tensor(tensor) => Ok(InferInput { name, tensor }),
        Value::Binary(_) => {
            let field = format!("output {:?}", excerpt(&name));
            Err(ProtocolError::field(field, "its data in the JSON", "binary data"))
        }
    };
    outputs.into_iter().map(in_json).collect()
}
