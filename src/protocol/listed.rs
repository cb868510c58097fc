//! The tensors that a JSON lists: a request's inputs, or the outputs of a response.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::binary::{Tail, countable, decode_tensor};
use super::header::optional;
use super::json::{Cursor, Dialect, Elements, Source, excerpt};
use super::parameters::{self, read_size};
use super::resolve::check_takes_strings;
use super::{ProtocolError, Room};
use crate::tensor::{DataType, Shape, Tensor, TensorSpec};

/// Axes that a tensor may have: no model has as many.
const MAX_RANK: usize = 64;
/// Tensors that a list may have, beyond any model: each is kept, at many times the bytes that it
/// came in.
const MAX_LISTED: usize = 4096;

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
    Binary(Binary),
}

/// A tensor that lies behind the JSON.
#[derive(Clone, Debug)]
pub struct Binary {
    data_type: DataType,
    shape: Shape,
    size: usize,
}

impl Binary {
    /// Takes the tensor from the bytes that are left.
    pub fn tensor(
        &self,
        tail: &mut Tail,
        room: Room<'_>,
        field: &dyn Fn() -> String,
    ) -> Result<Tensor, ProtocolError> {
        let bytes = tail.take(self.size, field)?;
        decode_tensor(self.data_type, self.shape.clone(), bytes, room, field)
    }
}

/// The list that a request calls `inputs` and a response `outputs`.
pub struct List<'l> {
    pub name: &'static str,
    pub body: &'l Bytes,
    /// Those of a request's model.
    pub inputs: Option<&'l [TensorSpec]>,
    pub room: Room<'l>,
}

/// Reads the tensors of a list.
pub fn read_tensors(
    cursor: &mut Cursor<'_>,
    list: &List<'_>,
) -> Result<Vec<Listed>, ProtocolError> {
    let mut tensors = Vec::new();
    cursor.array_at(&|| list.name.to_owned(), "an array of tensors", |cursor, index| {
        check_length(list.name, index)?;
        tensors.push(read_tensor(cursor, Place { list, index })?);
        Ok(())
    })?;
    Ok(tensors)
}

/// Checks that one more has a place in the list.
pub fn check_length(list: &str, index: usize) -> Result<(), ProtocolError> {
    if index < MAX_LISTED {
        return Ok(());
    }
    Err(ProtocolError::field(list, format!("at most {MAX_LISTED} of them"), "more"))
}

/// Where a tensor stands.
#[derive(Clone, Copy)]
struct Place<'l> {
    list: &'l List<'l>,
    index: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.list.name, self.index)
    }
}

/// A tensor while its members come in.
#[derive(Default)]
struct Draft<'t> {
    name: Option<Cow<'t, str>>,
    shape: Option<Shape>,
    data_type: Option<DataType>,
    tensor: Option<Tensor>,
    /// `data` that came before type and shape, or strings before their name: a bookmark.
    unread: Option<Cursor<'t>>,
    binary_size: Option<usize>,
}

fn read_tensor(cursor: &mut Cursor<'_>, at: Place<'_>) -> Result<Listed, ProtocolError> {
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
                (Some(data_type), Some(shape))
                    if data_type != DataType::String || draft.name.is_some() =>
                {
                    draft.tensor = Some(draft.read_data(cursor, data_type, shape, at)?);
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
    draft.finish(at)
}

impl Draft<'_> {
    /// What errors call the tensor.
    fn place(&self, at: Place<'_>) -> String {
        match &self.name {
            Some(name) => format!("{at} {:?}", excerpt(name)),
            None => at.to_string(),
        }
    }

    fn finish(mut self, at: Place<'_>) -> Result<Listed, ProtocolError> {
        let missing = |member: &str, expected: &str| {
            ProtocolError::field(format!("{} {member}", self.place(at)), expected, "nothing")
        };
        let data_type = self.data_type.ok_or_else(|| missing("datatype", "a type's name"))?;
        let shape = self.shape.clone().ok_or_else(|| missing("shape", "an array of sizes"))?;
        if let Some(mut cursor) = self.unread.take() {
            self.tensor = Some(self.read_data(&mut cursor, data_type, &shape, at)?);
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
            (None, Some(size)) => {
                self.check_strings(data_type, at)?;
                Value::Binary(Binary { data_type, shape, size })
            }
            (given, _) => {
                let actual = if given.is_some() { "both" } else { "neither" };
                let expected = "either data or parameters.binary_data_size";
                return Err(ProtocolError::field(self.place(at), expected, actual));
            }
        };
        let name = self.name.ok_or_else(|| nameless(at))?.into();
        Ok(Listed { name, value })
    }

    fn read_data(
        &self,
        cursor: &mut Cursor<'_>,
        data_type: DataType,
        shape: &Shape,
        at: Place<'_>,
    ) -> Result<Tensor, ProtocolError> {
        self.check_strings(data_type, at)?;
        let field = || format!("{} data", self.place(at));
        let List { body, room, .. } = *at.list;
        let source = Source { body, dialect: Dialect::Inference, room, field: &field };
        read_data(cursor, data_type, shape.clone(), &source)
    }

    /// Checks that strings go to an input that takes some.
    fn check_strings(&self, data_type: DataType, at: Place<'_>) -> Result<(), ProtocolError> {
        match at.list.inputs {
            Some(inputs) if data_type == DataType::String => {
                let name = self.name.as_deref().ok_or_else(|| nameless(at))?;
                check_takes_strings(name, at.index, inputs, &|| self.place(at))
            }
            _ => Ok(()),
        }
    }
}

#[cold]
fn nameless(at: Place<'_>) -> ProtocolError {
    ProtocolError::field(format!("{at} name"), "a string", "nothing")
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
