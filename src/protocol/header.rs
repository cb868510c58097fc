//! The JSON of an inference request: one pass over the text, whatever the order of its members.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use smallvec::SmallVec;

use super::binary::Tail;
use super::infer::{InferInput, InferRequest, RequestedOutput};
use super::json::{Cursor, excerpt};
use super::listed::{List, Listed, Value, check_length, read_tensors};
use super::parameters::{self, read_size};
use super::{ProtocolError, Room, Terms};
use crate::tensor::Tensor;

/// What errors call the whole text.
pub const BODY: &str = "the body";

/// A request without the bytes that lie behind its JSON.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// Its inputs are in `inputs` until the bytes are there.
    request: InferRequest,
    inputs: Vec<Listed>,
}

impl RequestHeader {
    /// Reads the JSON in the first `length` bytes of a body.
    ///
    /// # Errors
    /// As [`decode_infer`](super::decode_infer).
    pub fn read(
        body: &Bytes,
        length: usize,
        terms: &Terms<'_>,
    ) -> Result<RequestHeader, ProtocolError> {
        let Some(text) = body.get(..length) else {
            let expected = format!("at most the body's length, {}", body.len());
            let field = "Inference-Header-Content-Length";
            return Err(ProtocolError::field(field, expected, length.to_string()));
        };
        let text = json_text(text)?;
        let mut cursor = Cursor::new(text, terms.limits.max_json_depth);
        let mut request = InferRequest::default();
        let mut inputs: Option<Vec<Listed>> = None;
        let mut outputs = None;
        cursor.object_at(&|| BODY.to_owned(), |cursor, key| {
            let place = || key.to_string();
            match &*key {
                "id" => {
                    let id = optional(cursor, |cursor| cursor.string_at(&place))?;
                    request.id = id.map(Cow::into_owned);
                }
                "parameters" => {
                    optional(cursor, |cursor| {
                        cursor.object_at(&place, |cursor, key| {
                            parameters::read_request_parameter(cursor, key, &mut request)
                        })
                    })?;
                }
                "inputs" => {
                    let (declared, room) = (Some(terms.inputs), terms.room);
                    let list = List { name: "inputs", body, inputs: declared, room };
                    let read = |cursor: &mut Cursor<'_>| read_tensors(cursor, &list);
                    once(&mut inputs, "inputs", cursor, read)?;
                }
                "outputs" => once(&mut outputs, "outputs", cursor, read_outputs)?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        let missing = || ProtocolError::field("inputs", "an array of tensors", "nothing");
        let inputs = inputs.ok_or_else(missing)?;
        request.outputs = outputs.unwrap_or_default();
        distinct("inputs", inputs.iter().map(|input| &*input.name))?;
        distinct("outputs", request.outputs.iter().map(|output| &*output.name))?;
        Ok(RequestHeader { request, inputs })
    }

    /// Whether all tensors lie behind the JSON, so that the same text means the same again.
    pub fn is_template(&self) -> bool {
        self.inputs.iter().all(|input| matches!(input.value, Value::Binary(_)))
    }

    /// Names of the inputs, in the JSON's order.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| &*input.name)
    }

    /// The request with the tensors of this body, whose first `length` bytes were read.
    ///
    /// # Errors
    /// The bytes behind the JSON are not what it says, or there is no room for its strings.
    pub fn into_request(
        self,
        body: Bytes,
        length: usize,
        room: Room<'_>,
    ) -> Result<InferRequest, ProtocolError> {
        let RequestHeader { mut request, inputs } = self;
        request.inputs.reserve_exact(inputs.len());
        let mut tail = Tail::new(body, length);
        for (index, Listed { name, value }) in inputs.into_iter().enumerate() {
            let tensor = match value {
                Value::Tensor(tensor) => tensor,
                Value::Binary(binary) => binary.tensor(&mut tail, room, &place(index, &name))?,
            };
            request.inputs.push(InferInput { name, tensor });
        }
        tail.finish()?;
        Ok(request)
    }

    /// The tensors alone, each with its place in the JSON. Borrows: a header that is remembered
    /// serves again.
    ///
    /// # Errors
    /// As [`into_request`](Self::into_request); some tensors may have been taken then.
    pub fn tensors(
        &self,
        body: Bytes,
        length: usize,
        room: Room<'_>,
        mut take: impl FnMut(usize, Tensor),
    ) -> Result<(), ProtocolError> {
        let mut tail = Tail::new(body, length);
        for (index, Listed { name, value }) in self.inputs.iter().enumerate() {
            let tensor = match value {
                Value::Tensor(tensor) => tensor.clone(),
                Value::Binary(binary) => binary.tensor(&mut tail, room, &place(index, name))?,
            };
            take(index, tensor);
        }
        tail.finish()
    }
}

/// What errors call the input at this place.
fn place(index: usize, name: &str) -> impl Fn() -> String {
    move || format!("inputs[{index}] {:?}", excerpt(name))
}

/// The JSON as text.
pub fn json_text(bytes: &[u8]) -> Result<&str, ProtocolError> {
    std::str::from_utf8(bytes).map_err(|error| ProtocolError::Json {
        reason: format!("byte {} is not UTF-8", error.valid_up_to()),
    })
}

/// Reads a member that `null` leaves out: some clients write all they know, set or not.
pub fn optional<'t, T>(
    cursor: &mut Cursor<'t>,
    read: impl FnOnce(&mut Cursor<'t>) -> Result<T, ProtocolError>,
) -> Result<Option<T>, ProtocolError> {
    if cursor.peek() == Some(b'n') && cursor.literal("null") {
        return Ok(None);
    }
    read(cursor).map(Some)
}

/// Reads a member that may stand once: of two, neither is meant more than the other.
pub fn once<'t, T>(
    slot: &mut Option<T>,
    name: &str,
    cursor: &mut Cursor<'t>,
    read: impl FnOnce(&mut Cursor<'t>) -> Result<T, ProtocolError>,
) -> Result<(), ProtocolError> {
    if slot.is_some() {
        return Err(ProtocolError::field(name, "one member of this name", "two"));
    }
    *slot = optional(cursor, read)?;
    Ok(())
}

/// Checks that no name comes twice. Few names are compared directly, many through a set, so that
/// a long list cannot cost the square of its length.
pub fn distinct<'n>(
    field: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), ProtocolError> {
    let twice = if names.clone().nth(8).is_none() {
        names
            .clone()
            .enumerate()
            .find(|(index, name)| names.clone().take(*index).any(|n| n == *name))
    } else {
        let mut seen = HashSet::new();
        names.enumerate().find(|(_, name)| !seen.insert(*name))
    };
    match twice {
        None => Ok(()),
        Some((index, name)) => {
            let place = format!("{field}[{index}] {:?}", excerpt(name));
            Err(ProtocolError::field(place, "a name of its own", "a name that was there before"))
        }
    }
}

fn read_outputs(cursor: &mut Cursor<'_>) -> Result<SmallVec<[RequestedOutput; 2]>, ProtocolError> {
    let mut outputs = SmallVec::new();
    cursor.array_at(&|| "outputs".to_owned(), "an array of outputs", |cursor, index| {
        check_length("outputs", index)?;
        let mut name = None;
        let mut output = RequestedOutput { name: "".into(), binary: None, classification: 0 };
        cursor.object_at(&|| format!("outputs[{index}]"), |cursor, key| {
            let place = || format!("outputs[{index}] {key}");
            match &*key {
                "name" => name = Some(cursor.string_at(&place)?.into()),
                "parameters" => {
                    optional(cursor, |cursor| {
                        cursor.object_at(&place, |cursor, key| {
                            let place = || format!("outputs[{index}] parameters.{}", excerpt(&key));
                            parameters::refuse_shared_memory(&key, &place)?;
                            match &*key {
                                "binary_data" => {
                                    output.binary = Some(parameters::read_bool(cursor, &place)?);
                                }
                                "classification" => {
                                    output.classification = read_size(cursor, &place)?;
                                }
                                _ => cursor.skip()?,
                            }
                            Ok(())
                        })
                    })?;
                }
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        let missing =
            || ProtocolError::field(format!("outputs[{index}] name"), "a string", "nothing");
        output.name = name.ok_or_else(missing)?;
        outputs.push(output);
        Ok(())
    })?;
    Ok(outputs)
}
