//! A predict request's body to inputs. The text tells no types: they are the model's. Shapes are
//! what the brackets say.

use bytes::Bytes;

use super::super::header::{BODY, once};
use super::super::infer::InferInput;
use super::super::json::{Cursor, Dialect, Elements, Source, excerpt};
use super::super::resolve::list_names;
use super::super::{ProtocolError, Room, Terms};
use crate::tensor::{Shape, Tensor, TensorSpec};

/// How inputs came, and so how predictions go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictFormat {
    /// `instances`, answered with `predictions`: a list with an entry per row.
    Row,
    /// `inputs`, answered with `outputs`: a tensor per name.
    Column,
}

/// A decoded predict request. The inputs are compared with the signature by
/// [`resolve_inputs`](super::super::resolve_inputs).
#[derive(Clone, Debug, PartialEq)]
pub struct PredictRequest {
    pub signature_name: Option<String>,
    pub format: PredictFormat,
    pub inputs: Vec<InferInput>,
}

/// What every level of the reading needs.
#[derive(Clone, Copy)]
struct Reader<'r> {
    body: &'r Bytes,
    specs: &'r [TensorSpec],
    room: Room<'r>,
}

/// Decodes the body of a `:predict` request.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_predict(body: Bytes, terms: &Terms<'_>) -> Result<PredictRequest, ProtocolError> {
    let text = std::str::from_utf8(&body).map_err(|error| ProtocolError::Json {
        reason: format!("byte {} is not UTF-8", error.valid_up_to()),
    })?;
    let mut cursor = Cursor::new(text, terms.limits.max_json_depth);
    let reader = Reader { body: &body, specs: terms.inputs, room: terms.room };
    let (mut signature_name, mut rows, mut columns) = (None, None, None);
    cursor.object_at(&|| BODY.to_owned(), |cursor, key| match &*key {
        "signature_name" => {
            let read = |cursor: &mut Cursor<'_>| {
                let name = cursor.string_at(&|| "signature_name".to_owned())?;
                Ok(name.into_owned())
            };
            once(&mut signature_name, "signature_name", cursor, read)
        }
        "instances" => once(&mut rows, "instances", cursor, |cursor| reader.instances(cursor)),
        "inputs" => once(&mut columns, "inputs", cursor, |cursor| reader.columns(cursor)),
        _ => cursor.skip(),
    })?;
    cursor.end()?;
    let (format, inputs) = match (rows, columns) {
        (Some(inputs), None) => (PredictFormat::Row, inputs),
        (None, Some(inputs)) => (PredictFormat::Column, inputs),
        (rows, _) => {
            let actual = if rows.is_some() { "both" } else { "neither" };
            return Err(ProtocolError::field(BODY, "either instances or inputs", actual));
        }
    };
    Ok(PredictRequest { signature_name, format, inputs })
}

/// One input of several, row by row.
struct Column {
    elements: Elements,
    /// Shape of one row, as the first one has it.
    shape: Shape,
    rows: usize,
}

impl Reader<'_> {
    /// The row form: a list of bare values for the one input, or of objects.
    fn instances(&self, cursor: &mut Cursor<'_>) -> Result<Vec<InferInput>, ProtocolError> {
        let mut first = *cursor;
        if cursor.peek().is_some() && !first.eat(b'[') {
            return Err(ProtocolError::field("instances", "an array", cursor.found()));
        }
        if first.peek() == Some(b']') {
            return Err(ProtocolError::field("instances", "at least one instance", "none"));
        }
        if !names_inputs(first) {
            return Ok(vec![self.bare(cursor, "instances")?]);
        }
        let mut columns: Vec<Option<Column>> = Vec::new();
        columns.resize_with(self.specs.len(), || None);
        let rows = cursor.array(|cursor, row| {
            if cursor.peek() != Some(b'{') {
                let place = format!("instances[{row}]");
                return Err(ProtocolError::field(place, "an object, as before", cursor.found()));
            }
            cursor.object(|cursor, name| self.cell(cursor, &name, row, &mut columns))?;
            self.check_row(row, &columns)
        })?;
        let columns = self.specs.iter().zip(columns);
        Ok(columns
            .filter_map(|(spec, column)| {
                let Column { elements, shape, .. } = column?;
                let shape = std::iter::once(rows).chain(shape).collect();
                let tensor = elements.finish(shape).expect("each row was read by its shape");
                Some(InferInput { name: spec.name.as_str().into(), tensor })
            })
            .collect())
    }

    /// One input's value in one row.
    fn cell(
        &self,
        cursor: &mut Cursor<'_>,
        name: &str,
        row: usize,
        columns: &mut [Option<Column>],
    ) -> Result<(), ProtocolError> {
        let field = || format!("instances[{row}] {:?}", excerpt(name));
        let place = self.place_of(name, &field)?;
        if row > 0 && columns[place].is_none() {
            let expected = "an input that all instances have";
            return Err(ProtocolError::field(field(), expected, "one that the first has not"));
        }
        let shape = match &columns[place] {
            Some(column) => column.shape.clone(),
            None => measure(&mut { *cursor })?,
        };
        let elements = || Elements::new(self.specs[place].data_type);
        let column = columns[place].get_or_insert_with(|| Column {
            elements: elements(),
            shape: shape.clone(),
            rows: 0,
        });
        if column.rows > row {
            return Err(ProtocolError::field(field(), "one member of this name", "two"));
        }
        column.rows += 1;
        column.elements.read(cursor, &shape, &self.source(&field))
    }

    /// Checks that a row had all its inputs.
    fn check_row(&self, row: usize, columns: &[Option<Column>]) -> Result<(), ProtocolError> {
        for (spec, column) in self.specs.iter().zip(columns) {
            let complete = match column {
                Some(column) => column.rows == row + 1,
                None => spec.optional,
            };
            if !complete {
                let place = format!("instances[{row}]");
                let expected = format!("an object with {:?}", spec.name);
                return Err(ProtocolError::field(place, expected, "one without"));
            }
        }
        Ok(())
    }

    /// The column form: the one input bare, or an object.
    fn columns(&self, cursor: &mut Cursor<'_>) -> Result<Vec<InferInput>, ProtocolError> {
        if !names_inputs(*cursor) {
            return Ok(vec![self.bare(cursor, "inputs")?]);
        }
        let mut inputs: Vec<InferInput> = Vec::new();
        let mut seen = vec![false; self.specs.len()];
        cursor.object(|cursor, name| {
            let field = || format!("inputs {:?}", excerpt(&name));
            let place = self.place_of(&name, &field)?;
            if std::mem::replace(&mut seen[place], true) {
                return Err(ProtocolError::field(field(), "one member of this name", "two"));
            }
            let spec = &self.specs[place];
            let tensor = self.tensor(cursor, spec, &field)?;
            inputs.push(InferInput { name: spec.name.as_str().into(), tensor });
            Ok(())
        })?;
        Ok(inputs)
    }

    /// A value without a name: the model's one input.
    fn bare(&self, cursor: &mut Cursor<'_>, member: &str) -> Result<InferInput, ProtocolError> {
        let mut required = self.specs.iter().filter(|spec| !spec.optional);
        let spec = match (required.next(), required.next(), self.specs) {
            (Some(spec), None, _) | (None, None, [spec]) => spec,
            _ => {
                let expected = format!("objects with the inputs {}", list_names(self.specs));
                return Err(ProtocolError::field(member, expected, "a bare value"));
            }
        };
        let tensor = self.tensor(cursor, spec, &|| member.to_owned())?;
        Ok(InferInput { name: spec.name.as_str().into(), tensor })
    }

    fn tensor(
        &self,
        cursor: &mut Cursor<'_>,
        spec: &TensorSpec,
        field: &dyn Fn() -> String,
    ) -> Result<Tensor, ProtocolError> {
        let shape = measure(&mut { *cursor })?;
        let mut elements = Elements::new(spec.data_type);
        elements.read(cursor, &shape, &self.source(field))?;
        Ok(elements.finish(shape).expect("as many elements were read as the shape says"))
    }

    fn source<'s>(&'s self, field: &'s dyn Fn() -> String) -> Source<'s> {
        Source { body: self.body, dialect: Dialect::Predict, room: self.room, field }
    }

    fn place_of(&self, name: &str, field: &dyn Fn() -> String) -> Result<usize, ProtocolError> {
        self.specs.iter().position(|spec| spec.name == name).ok_or_else(|| {
            let expected = format!("one of the model's inputs: {}", list_names(self.specs));
            ProtocolError::field(field(), expected, "a name it does not have")
        })
    }
}

/// Whether the value here is an object of inputs by name, and not a byte string in base64.
fn names_inputs(mut cursor: Cursor<'_>) -> bool {
    cursor.eat(b'{') && cursor.string().map_or(true, |key| key != "b64")
}

/// The shape that the brackets promise: the length of each first array on the way down. That the
/// others are as long is checked where the elements are read.
fn measure(cursor: &mut Cursor<'_>) -> Result<Shape, ProtocolError> {
    let mut shape = Shape::new();
    measure_level(cursor, &mut shape)?;
    shape.reverse();
    Ok(shape)
}

/// Adds the lengths innermost first. Recursion ends where the cursor's depth does.
fn measure_level(cursor: &mut Cursor<'_>, shape: &mut Shape) -> Result<(), ProtocolError> {
    if cursor.peek() != Some(b'[') {
        // What may stand here, tokens that JSON lacks included, is for the elements to say.
        return cursor.skip_element();
    }
    let length = cursor.array(|cursor, index| match index {
        0 => measure_level(cursor, shape),
        _ => cursor.skip_element(),
    })?;
    shape.push(length);
    Ok(())
}
