//! The JSON of an inference request: one pass over the text, whatever the order of its members.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::binary::{Tail, countable, decode_tensor};
use super::infer::{InferInput, InferRequest, RequestedOutput};
use super::json::{Cursor, Dialect, Elements, Source, excerpt};
use super::parameters::{self, read_size};
use super::{Limits, ProtocolError};
use crate::tensor::{DataType, Shape, Tensor};

/// What errors call the whole text.
pub const BODY: &str = "the body";
/// Axes that a tensor may have: no model has as many.
const MAX_RANK: usize = 64;

/// A request without the bytes that lie behind its JSON.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// Its inputs are in `inputs` until the bytes are there.
    request: InferRequest,
    inputs: Vec<Listed>,
}

/// A tensor that the JSON lists.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: Arc<str>,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// Came in the JSON.
    Tensor(Tensor),
    /// Lies behind the JSON.
    Binary { data_type: DataType, shape: Shape, size: usize },
}

impl RequestHeader {
    /// Reads the JSON in the first `length` bytes of a body.
    ///
    /// # Errors
    /// As [`decode_infer`](super::decode_infer).
    pub fn read(
        body: &Bytes,
        length: usize,
        limits: &Limits,
    ) -> Result<RequestHeader, ProtocolError> {
        let Some(text) = body.get(..length) else {
            let expected = format!("at most the body's length, {}", body.len());
            let field = "Inference-Header-Content-Length";
            return Err(ProtocolError::field(field, expected, length.to_string()));
        };
        let text = json_text(text)?;
        let mut cursor = Cursor::new(text, limits.max_json_depth);
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
                    let read = |cursor: &mut Cursor<'_>| read_tensors(cursor, "inputs", body);
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
        self.inputs.iter().all(|input| matches!(input.value, Value::Binary { .. }))
    }

    /// Names of the inputs, in the JSON's order.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| &*input.name)
    }

    /// The request with the tensors of this body, whose first `length` bytes were read. Borrows: a
    /// header that is remembered serves again.
    ///
    /// # Errors
    /// The bytes behind the JSON are not what it says.
    pub fn request(&self, body: Bytes, length: usize) -> Result<InferRequest, ProtocolError> {
        let mut request = self.request.clone();
        request.inputs.reserve_exact(self.inputs.len());
        self.tensors(body, length, |index, tensor| {
            request.inputs.push(InferInput { name: self.inputs[index].name.clone(), tensor });
        })?;
        Ok(request)
    }

    /// The tensors alone, each with its place in the JSON.
    ///
    /// # Errors
    /// As [`request`](Self::request); some tensors may have been taken then.
    pub fn tensors(
        &self,
        body: Bytes,
        length: usize,
        mut take: impl FnMut(usize, Tensor),
    ) -> Result<(), ProtocolError> {
        let mut tail = Tail::new(body, length);
        for (index, Listed { name, value }) in self.inputs.iter().enumerate() {
            let tensor = match value {
                Value::Tensor(tensor) => tensor.clone(),
                &Value::Binary { data_type, ref shape, size } => {
                    let field = || format!("inputs[{index}] {:?}", excerpt(name));
                    let bytes = tail.take(size, &field)?;
                    decode_tensor(data_type, shape.clone(), bytes, &field)?
                }
            };
            take(index, tensor);
        }
        tail.finish()
    }
}

/// The JSON as text.
pub fn json_text(bytes: &[u8]) -> Result<&str, ProtocolError> {
    std::str::from_utf8(bytes).map_err(|error| ProtocolError::Json {
        reason: format!("byte {} is not UTF-8", error.valid_up_to()),
    })
}

/// Reads a member that `null` leaves out: some clients write all they know, set or not.
fn optional<'t, T>(
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

/// Reads the tensors of the list that a request calls `inputs` and a response `outputs`.
pub fn read_tensors(
    cursor: &mut Cursor<'_>,
    list: &'static str,
    body: &Bytes,
) -> Result<Vec<Listed>, ProtocolError> {
    let mut tensors = Vec::new();
    cursor.array_at(&|| list.to_owned(), "an array of tensors", |cursor, index| {
        tensors.push(read_tensor(cursor, Place { list, index }, body)?);
        Ok(())
    })?;
    Ok(tensors)
}

/// Where a tensor stands.
#[derive(Clone, Copy)]
struct Place {
    list: &'static str,
    index: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.list, self.index)
    }
}

/// A tensor while its members come in.
#[derive(Default)]
struct Draft<'t> {
    name: Option<Cow<'t, str>>,
    shape: Option<Shape>,
    data_type: Option<DataType>,
    tensor: Option<Tensor>,
    /// `data` that came before type and shape: a bookmark.
    unread: Option<Cursor<'t>>,
    binary_size: Option<usize>,
}

fn read_tensor(cursor: &mut Cursor<'_>, at: Place, body: &Bytes) -> Result<Listed, ProtocolError> {
    let mut draft = Draft::default();
    cursor.object_at(&|| at.to_string(), |cursor, key| {
        let field = |member: &str| format!("{} {member}", draft.place(at));
        match &*key {
            "name" => {
                let place = || format!("{at} name");
                draft.name = Some(cursor.string_at(&place)?);
            }
            "datatype" => draft.data_type = Some(read_data_type(cursor, &|| field("datatype"))?),
            "shape" => draft.shape = Some(read_shape(cursor, &|| field("shape"))?),
            "parameters" => {
                let mut size = None;
                optional(cursor, |cursor| {
                    cursor.object_at(&|| field("parameters"), |cursor, key| {
                        let place = || format!("{} parameters.{}", draft.place(at), excerpt(&key));
                        parameters::refuse_shared_memory(&key, &place)?;
                        match &*key {
                            "binary_data_size" => size = Some(read_size(cursor, &place)?),
                            _ => cursor.skip()?,
                        }
                        Ok(())
                    })
                })?;
                draft.binary_size = size.or(draft.binary_size);
            }
            "data" if cursor.peek() == Some(b'n') && cursor.literal("null") => {}
            "data" if draft.tensor.is_some() || draft.unread.is_some() => {
                return Err(ProtocolError::field(field("data"), "one member of this name", "two"));
            }
            "data" => match (draft.data_type, &draft.shape) {
                (Some(data_type), Some(shape)) => {
                    let field = || field("data");
                    let source = Source { body, dialect: Dialect::Inference, field: &field };
                    draft.tensor = Some(read_data(cursor, data_type, shape.clone(), &source)?);
                }
                _ => {
                    draft.unread = Some(*cursor);
                    // What it may hold is checked, and wrong elements named, once it is read.
                    cursor.skip_element()?;
                }
            },
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    draft.finish(at, body)
}

impl Draft<'_> {
    /// What errors call the tensor.
    fn place(&self, at: Place) -> String {
        match &self.name {
            Some(name) => format!("{at} {:?}", excerpt(name)),
            None => at.to_string(),
        }
    }

    fn finish(mut self, at: Place, body: &Bytes) -> Result<Listed, ProtocolError> {
        let missing = |member: &str, expected: &str| {
            ProtocolError::field(format!("{} {member}", self.place(at)), expected, "nothing")
        };
        let data_type = self.data_type.ok_or_else(|| missing("datatype", "a type's name"))?;
        let shape = self.shape.clone().ok_or_else(|| missing("shape", "an array of sizes"))?;
        if let Some(mut cursor) = self.unread.take() {
            let field = || format!("{} data", self.place(at));
            let source = Source { body, dialect: Dialect::Inference, field: &field };
            self.tensor = Some(read_data(&mut cursor, data_type, shape.clone(), &source)?);
        }
        let value = match (self.tensor.take(), self.binary_size) {
            (Some(tensor), None)
                if tensor.data_type() == data_type && *tensor.shape() == *shape =>
            {
                Value::Tensor(tensor)
            }
            (Some(_), None) => {
                let reason = "datatype and shape may stand once";
                return Err(ProtocolError::unsupported(self.place(at), reason));
            }
            (None, Some(size)) => Value::Binary { data_type, shape, size },
            (given, _) => {
                let actual = if given.is_some() { "both" } else { "neither" };
                let expected = "either data or parameters.binary_data_size";
                return Err(ProtocolError::field(self.place(at), expected, actual));
            }
        };
        let missing = || ProtocolError::field(format!("{at} name"), "a string", "nothing");
        let name = self.name.ok_or_else(missing)?.into();
        Ok(Listed { name, value })
    }
}

fn read_data(
    cursor: &mut Cursor<'_>,
    data_type: DataType,
    shape: Shape,
    source: &Source<'_>,
) -> Result<Tensor, ProtocolError> {
    if matches!(data_type, DataType::Float16 | DataType::BFloat16) {
        let reason = format!(
            "{data_type} has no JSON form: send the tensor in binary \
             (parameters.binary_data_size, Inference-Header-Content-Length)"
        );
        return Err(ProtocolError::unsupported((source.field)(), reason));
    }
    let mut elements = Elements::new(data_type);
    elements.read(cursor, &shape, source)?;
    Ok(elements.finish(shape).expect("as many elements were read as the shape says"))
}

fn read_data_type(
    cursor: &mut Cursor<'_>,
    place: &dyn Fn() -> String,
) -> Result<DataType, ProtocolError> {
    let start = *cursor;
    let name = cursor.string_at(place)?;
    DataType::from_protocol_name(&name).ok_or_else(|| {
        let names = DataType::ALL.map(DataType::protocol_name).join(", ");
        ProtocolError::field(place(), format!("one of {names}"), start.found())
    })
}

fn read_shape(cursor: &mut Cursor<'_>, place: &dyn Fn() -> String) -> Result<Shape, ProtocolError> {
    let mut shape = Shape::new();
    cursor.array_at(place, "an array of sizes", |cursor, axis| {
        if axis == MAX_RANK {
            let expected = format!("at most {MAX_RANK} axes");
            return Err(ProtocolError::field(place(), expected, "more"));
        }
        shape.push(read_size(cursor, &|| format!("{}[{axis}]", place()))?);
        Ok(())
    })?;
    countable(&shape, place)?;
    Ok(shape)
}

fn read_outputs(cursor: &mut Cursor<'_>) -> Result<SmallVec<[RequestedOutput; 2]>, ProtocolError> {
    let mut outputs = SmallVec::new();
    cursor.array_at(&|| "outputs".to_owned(), "an array of outputs", |cursor, index| {
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
