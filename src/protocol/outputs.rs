//! The outputs of a response, read back: what a file of known answers says.

use bytes::Bytes;

use super::header::{Listed, Value, distinct, json_text, once, read_tensors};
use super::infer::InferInput;
use super::json::{Cursor, excerpt};
use super::{Limits, ProtocolError};

/// Reads the outputs of a response whose tensors are all in its JSON.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_outputs(body: &Bytes, limits: &Limits) -> Result<Vec<InferInput>, ProtocolError> {
    let text = json_text(body)?;
    let mut cursor = Cursor::new(text, limits.max_json_depth);
    let mut outputs: Option<Vec<Listed>> = None;
    cursor.object(|cursor, key| match &*key {
        "outputs" => {
            let read = |cursor: &mut Cursor<'_>| read_tensors(cursor, "outputs", body);
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
        Value::Binary { .. } => {
            let field = format!("output {:?}", excerpt(&name));
            Err(ProtocolError::field(field, "its data in the JSON", "binary data"))
        }
    };
    outputs.into_iter().map(in_json).collect()
}
