//! Values of a field that wants an object, an array or a string. One of another kind is no error
//! of the JSON but of the field, which the message names.

use std::borrow::Cow;

use super::super::ProtocolError;
use super::Cursor;

impl<'a> Cursor<'a> {
    /// [`Cursor::object`] for the field at `place`.
    pub fn object_at(
        &mut self,
        place: &dyn Fn() -> String,
        member: impl FnMut(&mut Cursor<'a>, Cow<'a, str>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.check_kind(b'{', "an object", place)?;
        self.object(member)
    }

    /// [`Cursor::array`] for the field at `place`; `expected` says what the array holds.
    pub fn array_at(
        &mut self,
        place: &dyn Fn() -> String,
        expected: &str,
        element: impl FnMut(&mut Cursor<'a>, usize) -> Result<(), ProtocolError>,
    ) -> Result<usize, ProtocolError> {
        self.check_kind(b'[', expected, place)?;
        self.array(element)
    }

    /// [`Cursor::string`] for the field at `place`.
    pub fn string_at(&mut self, place: &dyn Fn() -> String) -> Result<Cow<'a, str>, ProtocolError> {
        self.check_kind(b'"', "a string", place)?;
        self.string()
    }

    /// Refuses a value that begins with another byte than `first`, where it is a whole value: what
    /// is no JSON is for the reader to say.
    #[inline]
    fn check_kind(
        &mut self,
        first: u8,
        expected: &str,
        place: &dyn Fn() -> String,
    ) -> Result<(), ProtocolError> {
        if self.peek() != Some(first) && { *self }.skip().is_ok() {
            return Err(ProtocolError::field(place(), expected, self.found()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let place = || "the field".to_owned();
        let read = Cursor::new(text, 4).object_at(&place, |cursor, _| cursor.skip());
        assert_eq!(read.map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn another_kind_is_the_fields_fault_and_no_json_the_texts() {
        check("[1]", "the field: expected an object, got an array");
        check("null", "the field: expected an object, got null");
        let json = "the request is not valid JSON: expected an object at byte";
        check("", &format!("{json} 0, got the end of the text"));
        check("[1", &format!("{json} 0, got an array"));
        check(" nothing", &format!("{json} 1, got nothing"));
        check("[[[[[1]]]]]", &format!("{json} 0, got an array"));
    }
}
