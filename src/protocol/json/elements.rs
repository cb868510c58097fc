//! The elements of a tensor as JSON: nested as its shape says, or flat; each read straight into
//! its type.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use half::{bf16, f16};
use smallvec::SmallVec;

use super::super::ProtocolError;
use super::super::terms::{Room, take_bytes, take_room};
use super::cursor::Cursor;
use super::numbers::{Dialect, Wrong, expected_element, float, half_float, integer};
use crate::tensor::{AlignedBuffer, DataType, Shape, Tensor, TensorError, element_count};

/// What a string that is no slice of the body takes beside its bytes: its owner and a count, and
/// what is lost to rounding.
const OWNED_STRING_BYTES: usize = 48;

/// Where elements are read from, and what errors call it.
#[derive(Clone, Copy)]
pub struct Source<'s> {
    /// The request's body: the cursor's text lies in it, and so strings need no copy.
    pub body: &'s Bytes,
    pub dialect: Dialect,
    /// Asked before strings are kept.
    pub room: Room<'s>,
    /// Name of the array that is read, such as `inputs[0] "x" data`.
    pub field: &'s dyn Fn() -> String,
}

/// Elements of one type, as many as were read so far.
#[derive(Debug)]
pub struct Elements {
    data_type: DataType,
    buffer: AlignedBuffer,
    /// Bytes of the buffer that are filled.
    filled: usize,
    strings: Vec<Bytes>,
}

impl Elements {
    pub fn new(data_type: DataType) -> Elements {
        Elements { data_type, buffer: AlignedBuffer::zeroed(0), filled: 0, strings: Vec::new() }
    }

    /// Reads one array (or bare scalar) of this shape and appends its elements.
    pub fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        shape: &[usize],
        source: &Source<'_>,
    ) -> Result<(), ProtocolError> {
        // Every element takes a byte, or two quotes, and a separator: a shape that claims more
        // than the text can hold fails before memory is taken for it.
        let count = element_count(shape).unwrap_or(usize::MAX);
        if self.data_type == DataType::String {
            self.reserve_strings(count.min(cursor.remaining() / 3 + 1), source)?;
        } else {
            self.reserve(count.min(cursor.remaining() / 2 + 1));
        }
        let dialect = source.dialect;
        let mut walk = Walk::new(cursor, shape, self.data_type, source);
        match self.data_type {
            DataType::Bool => self.fill(walk, |cursor| {
                cursor.boolean().map(|value| [u8::from(value)]).ok_or(Wrong::Value)
            }),
            DataType::Uint8 => self.fill(walk, |cursor| Ok(integer::<u8>(cursor)?.to_le_bytes())),
            DataType::Uint16 => self.fill(walk, |cursor| Ok(integer::<u16>(cursor)?.to_le_bytes())),
            DataType::Uint32 => self.fill(walk, |cursor| Ok(integer::<u32>(cursor)?.to_le_bytes())),
            DataType::Uint64 => self.fill(walk, |cursor| Ok(integer::<u64>(cursor)?.to_le_bytes())),
            DataType::Int8 => self.fill(walk, |cursor| Ok(integer::<i8>(cursor)?.to_le_bytes())),
            DataType::Int16 => self.fill(walk, |cursor| Ok(integer::<i16>(cursor)?.to_le_bytes())),
            DataType::Int32 => self.fill(walk, |cursor| Ok(integer::<i32>(cursor)?.to_le_bytes())),
            DataType::Int64 => self.fill(walk, |cursor| Ok(integer::<i64>(cursor)?.to_le_bytes())),
            DataType::Float16 => {
                self.fill(walk, |cursor| Ok(half_float(cursor, f16::from_f64)?.to_le_bytes()))
            }
            DataType::BFloat16 => {
                self.fill(walk, |cursor| Ok(half_float(cursor, bf16::from_f64)?.to_le_bytes()))
            }
            DataType::Float32 => {
                self.fill(walk, |cursor| Ok(float::<f32>(cursor, dialect)?.to_le_bytes()))
            }
            DataType::Float64 => {
                self.fill(walk, |cursor| Ok(float::<f64>(cursor, dialect)?.to_le_bytes()))
            }
            DataType::String => {
                let strings = &mut self.strings;
                walk.run(&mut |cursor| {
                    strings.push(string(cursor, source)?);
                    Ok(())
                })
            }
        }
    }

    /// The tensor of what was read.
    pub fn finish(self, shape: Shape) -> Result<Tensor, TensorError> {
        if self.data_type == DataType::String {
            return Tensor::strings(shape, self.strings);
        }
        let bytes = self.buffer.into_bytes().slice(..self.filled);
        Tensor::numbers(self.data_type, shape, bytes)
    }

    /// Makes room for `count` more elements; doubling, because rows come one by one.
    fn reserve(&mut self, count: usize) {
        let size = self.data_type.size().expect("strings have room of their own");
        let needed = self.filled + count * size;
        let capacity = self.buffer.as_ref().len();
        if needed > capacity {
            let grown = if capacity == 0 { needed } else { needed.max(capacity * 2) };
            let mut buffer = AlignedBuffer::zeroed(grown);
            buffer.as_mut_slice()[..self.filled]
                .copy_from_slice(&self.buffer.as_ref()[..self.filled]);
            self.buffer = buffer;
        }
    }

    /// Makes room for `count` more strings, as [`reserve`](Self::reserve) does for numbers.
    fn reserve_strings(&mut self, count: usize, source: &Source<'_>) -> Result<(), ProtocolError> {
        let capacity = self.strings.capacity();
        if self.strings.len() + count > capacity {
            let more = count.max(capacity);
            take_room(source.room, more, source.field)?;
            self.strings.reserve_exact(more);
        }
        Ok(())
    }

    fn fill<const SIZE: usize>(
        &mut self,
        mut walk: Walk<'_, '_, '_>,
        read: impl Fn(&mut Cursor<'_>) -> Result<[u8; SIZE], Wrong>,
    ) -> Result<(), ProtocolError> {
        let mut filled = self.filled;
        let buffer = self.buffer.as_mut_slice();
        walk.run(&mut |cursor| {
            let value = read(cursor)?;
            // `read` reserved a place for every element that the text can hold.
            buffer[filled..filled + SIZE].copy_from_slice(&value);
            filled += SIZE;
            Ok(())
        })?;
        self.filled = filled;
        Ok(())
    }
}

/// The walk along one array, and where it is.
struct Walk<'w, 'c, 't> {
    cursor: &'c mut Cursor<'t>,
    /// Lengths of the brackets as written: the shape, or one number where the text is flat.
    axes: SmallVec<[usize; 4]>,
    path: SmallVec<[usize; 4]>,
    shape: &'w [usize],
    data_type: DataType,
    source: &'w Source<'w>,
}

impl<'w, 'c, 't> Walk<'w, 'c, 't> {
    fn new(
        cursor: &'c mut Cursor<'t>,
        shape: &'w [usize],
        data_type: DataType,
        source: &'w Source<'w>,
    ) -> Walk<'w, 'c, 't> {
        let mut ahead = *cursor;
        let axes = if ahead.peek() != Some(b'[') && shape.is_empty() {
            SmallVec::new()
        } else if shape.len() > 1 && ahead.eat(b'[') && ahead.peek() == Some(b'[') {
            SmallVec::from_slice(shape)
        } else {
            // A count that does not fit was refused with the shape, or is longer than any text.
            SmallVec::from_slice(&[element_count(shape).unwrap_or(usize::MAX)])
        };
        let path = SmallVec::from_elem(0, axes.len());
        Walk { cursor, axes, path, shape, data_type, source }
    }

    fn run(
        &mut self,
        element: &mut impl FnMut(&mut Cursor<'_>) -> Result<(), Wrong>,
    ) -> Result<(), ProtocolError> {
        if self.axes.is_empty() {
            return element(self.cursor).map_err(|wrong| self.wrong_element(wrong));
        }
        self.level(0, element)
    }

    /// Reads one bracket of axis `axis`. Recursion ends with the shape, whose length the cursor's
    /// depth limits.
    fn level(
        &mut self,
        axis: usize,
        element: &mut impl FnMut(&mut Cursor<'_>) -> Result<(), Wrong>,
    ) -> Result<(), ProtocolError> {
        if self.cursor.peek() != Some(b'[') {
            return Err(self.wrong_length(axis, self.cursor.found()));
        }
        self.cursor.open(b'[')?;
        let expected = self.axes[axis];
        let innermost = axis + 1 == self.axes.len();
        let mut length = 0;
        let mut more = !self.cursor.close(b']');
        while more {
            if length == expected {
                return Err(self.wrong_length(axis, format!("more than {expected}")));
            }
            self.path[axis] = length;
            if innermost {
                element(self.cursor).map_err(|wrong| self.wrong_element(wrong))?;
            } else {
                self.level(axis + 1, element)?;
            }
            length += 1;
            more = self.cursor.more(b']')?;
        }
        if length != expected {
            return Err(self.wrong_length(axis, length.to_string()));
        }
        Ok(())
    }

    /// Name of the value at the first `depth` steps of the path.
    fn place(&self, depth: usize) -> String {
        let mut place = (self.source.field)();
        for step in &self.path[..depth] {
            place.push_str(&format!("[{step}]"));
        }
        place
    }

    #[cold]
    fn wrong_length(&self, axis: usize, actual: String) -> ProtocolError {
        let count = self.axes[axis];
        let shape = self.shape;
        let expected = if axis + 1 == self.axes.len() {
            format!("an array of {count} elements (shape {shape:?})")
        } else {
            format!("an array of {count} arrays (shape {shape:?})")
        };
        ProtocolError::field(self.place(axis), expected, actual)
    }

    #[cold]
    fn wrong_element(&self, wrong: Wrong) -> ProtocolError {
        let place = self.place(self.axes.len());
        match wrong {
            Wrong::Json(ProtocolError::Json { reason }) => {
                ProtocolError::Json { reason: format!("{place}: {reason}") }
            }
            Wrong::Json(error) => error,
            Wrong::Value => {
                let found = self.cursor.found();
                let infinite = matches!(found.trim_start_matches('-'), "NaN" | "Infinity");
                let expected = match (self.source.dialect, self.data_type) {
                    (Dialect::Inference, _) if infinite => {
                        "a finite number (JSON has no other: send the tensor in binary)"
                    }
                    (Dialect::Predict, DataType::String) => "a string or {\"b64\": …} (BYTES)",
                    (_, data_type) => expected_element(data_type),
                };
                ProtocolError::field(place, expected, found)
            }
        }
    }
}

fn string(cursor: &mut Cursor<'_>, source: &Source<'_>) -> Result<Bytes, Wrong> {
    match cursor.peek() {
        Some(b'"') => Ok(match cursor.string()? {
            Cow::Borrowed(text) => source.body.slice_ref(text.as_bytes()),
            Cow::Owned(text) => {
                take_bytes(source.room, text.capacity() + OWNED_STRING_BYTES, source.field)?;
                Bytes::from(text)
            }
        }),
        Some(b'{') if source.dialect == Dialect::Predict => {
            let start = *cursor;
            let bytes = base64_object(cursor).inspect_err(|_| *cursor = start)?;
            take_bytes(source.room, bytes.len() + OWNED_STRING_BYTES, source.field)?;
            Ok(bytes)
        }
        None => Err(Wrong::Json(cursor.unexpected("a string"))),
        Some(_) => Err(Wrong::Value),
    }
}

/// `{"b64": "…"}`.
fn base64_object(cursor: &mut Cursor<'_>) -> Result<Bytes, Wrong> {
    let mut decoded = None;
    let mut members = 0;
    cursor.object(|cursor, key| {
        members += 1;
        if key != "b64" {
            return cursor.skip();
        }
        decoded = STANDARD.decode(cursor.string()?.as_bytes()).ok();
        Ok(())
    })?;
    match decoded {
        Some(bytes) if members == 1 => Ok(Bytes::from(bytes)),
        _ => Err(Wrong::Value),
    }
}
