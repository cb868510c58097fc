//! A place in a JSON text, and the tokens that can be read there. Everything that is passed over
//! is checked: a text that was read to its end was valid JSON.

use std::borrow::Cow;

use super::super::ProtocolError;

/// Deeper nesting than this is refused whatever the settings say: passing over a value recurses,
/// and this much fits any thread's stack.
const DEEPEST: usize = 512;
/// Characters of the request that an error message repeats.
const EXCERPT: usize = 40;

/// A number as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    pub text: &'a str,
    /// Written without fraction and exponent.
    pub integer: bool,
}

/// A place in a JSON text. Copies are bookmarks.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Arrays and objects that may still be opened here.
    depth_left: usize,
    max_depth: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, max_depth: usize) -> Cursor<'a> {
        let max_depth = max_depth.min(DEEPEST);
        Cursor { text, at: 0, depth_left: max_depth, max_depth }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    /// The next byte that is not white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `byte` if it comes next.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    /// Takes `word` (`true`, `null`, …) if it comes next.
    pub fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let ends = !rest.get(word.len()).is_some_and(|&byte| byte.is_ascii_alphanumeric());
        let taken = ends && rest.starts_with(word.as_bytes());
        if taken {
            self.at += word.len();
        }
        taken
    }

    /// Takes a boolean if one comes next.
    pub fn boolean(&mut self) -> Option<bool> {
        if self.literal("true") {
            return Some(true);
        }
        self.literal("false").then_some(false)
    }

    /// Opens an array or object.
    #[inline]
    pub fn open(&mut self, bracket: u8) -> Result<(), ProtocolError> {
        if !self.eat(bracket) {
            return Err(self.unexpected(if bracket == b'[' { "an array" } else { "an object" }));
        }
        match self.depth_left.checked_sub(1) {
            Some(left) => self.depth_left = left,
            None => return Err(self.too_deep()),
        }
        Ok(())
    }

    /// Closes an array or object if its bracket comes next.
    #[inline]
    pub fn close(&mut self, bracket: u8) -> bool {
        let closed = self.eat(bracket);
        self.depth_left += usize::from(closed);
        closed
    }

    /// After an element: true at a comma, false at the closing bracket.
    #[inline]
    pub fn more(&mut self, bracket: u8) -> Result<bool, ProtocolError> {
        if self.eat(b',') {
            return Ok(true);
        }
        if self.close(bracket) {
            return Ok(false);
        }
        Err(self.unexpected(if bracket == b']' { "',' or ']'" } else { "',' or '}'" }))
    }

    /// Reads an array; `element` must read one value. Returns how many there were.
    pub fn array(
        &mut self,
        mut element: impl FnMut(&mut Cursor<'a>, usize) -> Result<(), ProtocolError>,
    ) -> Result<usize, ProtocolError> {
        self.open(b'[')?;
        let mut length = 0;
        let mut more = !self.close(b']');
        while more {
            element(self, length)?;
            length += 1;
            more = self.more(b']')?;
        }
        Ok(length)
    }

    /// Reads an object; `member` is given each key and must read its value.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Cursor<'a>, Cow<'a, str>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.open(b'{')?;
        let mut more = !self.close(b'}');
        while more {
            let key = self.string()?;
            if !self.eat(b':') {
                return Err(self.unexpected("':'"));
            }
            member(self, key)?;
            more = self.more(b'}')?;
        }
        Ok(())
    }

    /// Reads a string; borrowed unless it has escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>, ProtocolError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut end = start;
        let mut escapes = false;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    end += 2;
                }
                Some(0..=0x1f) | None => return Err(self.bad_string(end)),
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        if !escapes {
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        // Escapes are rare in names and their rules (surrogate pairs) long: serde has them.
        let quoted = &self.text[start - 1..=end];
        serde_json::from_str::<String>(quoted).map(Cow::Owned).map_err(|_| ProtocolError::Json {
            reason: format!("the string at byte {} has a wrong escape", start - 1),
        })
    }

    /// Whether a number comes next; `-Infinity` and the like are none.
    #[inline]
    pub fn at_number(&mut self) -> bool {
        match self.peek() {
            Some(b'0'..=b'9') => true,
            Some(b'-') => self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit),
            _ => false,
        }
    }

    /// Reads a number, by JSON's grammar: no leading zeros, no bare point.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, ProtocolError> {
        if !self.at_number() {
            return Err(self.unexpected("a number"));
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + usize::from(bytes[start] == b'-');
        let first = end;
        end = digits(bytes, end);
        if bytes[first] == b'0' && end > first + 1 {
            return Err(self.bad_number());
        }
        let mut integer = true;
        if bytes.get(end) == Some(&b'.') {
            integer = false;
            let fraction = end + 1;
            end = digits(bytes, fraction);
            if end == fraction {
                return Err(self.bad_number());
            }
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            integer = false;
            let sign = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
            let exponent = end + 1 + usize::from(sign);
            end = digits(bytes, exponent);
            if end == exponent {
                return Err(self.bad_number());
            }
        }
        self.at = end;
        Ok(Number { text: &self.text[start..end], integer })
    }

    /// Passes over one value of any kind.
    pub fn skip(&mut self) -> Result<(), ProtocolError> {
        match self.peek() {
            Some(b'{') => self.object(|cursor, _| cursor.skip()),
            Some(b'[') => self.array(|cursor, _| cursor.skip()).map(|_| ()),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ if self.boolean().is_some() || self.literal("null") => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Passes over one value in a text that may have the tokens `NaN`, `Infinity` and
    /// `-Infinity` where JSON has numbers.
    pub fn skip_element(&mut self) -> Result<(), ProtocolError> {
        match self.peek() {
            Some(b'[') => self.array(|cursor, _| cursor.skip_element()).map(|_| ()),
            _ if self.special().is_some() => Ok(()),
            _ => self.skip(),
        }
    }

    /// Takes a float that JSON lacks, if one comes next.
    pub fn special(&mut self) -> Option<f32> {
        if !matches!(self.peek(), Some(b'N' | b'I' | b'-')) {
            return None;
        }
        let table =
            [("NaN", f32::NAN), ("Infinity", f32::INFINITY), ("-Infinity", f32::NEG_INFINITY)];
        table.into_iter().find(|(token, _)| self.literal(token)).map(|(_, value)| value)
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), ProtocolError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    /// What comes next, for an error message: never more than a few words of it.
    #[cold]
    pub fn found(&self) -> String {
        let mut here = *self;
        let next = here.peek();
        let rest = &here.text[here.at..];
        match next {
            None => "the end of the text".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'"') => match here.string() {
                Ok(string) => format!("the string {:?}", excerpt(&string)),
                Err(_) => "a broken string".to_owned(),
            },
            Some(_) => {
                let token = |character: char| {
                    character.is_alphanumeric() || matches!(character, '+' | '-' | '.' | '_')
                };
                let end = rest.find(|character| !token(character)).unwrap_or(rest.len());
                match &rest[..end] {
                    "" => rest.chars().next().map_or_else(String::new, |odd| format!("{odd:?}")),
                    word => excerpt(word).into_owned(),
                }
            }
        }
    }

    /// The error that something else than `expected` comes next.
    #[cold]
    pub fn unexpected(&mut self, expected: &str) -> ProtocolError {
        self.peek();
        let reason = format!("expected {expected} at byte {}, got {}", self.at, self.found());
        ProtocolError::Json { reason }
    }

    #[cold]
    fn too_deep(&self) -> ProtocolError {
        let (max, at) = (self.max_depth, self.at - 1);
        ProtocolError::Json { reason: format!("nested deeper than {max} at byte {at}") }
    }

    #[cold]
    fn bad_string(&self, end: usize) -> ProtocolError {
        let start = self.at;
        let reason = match self.text.as_bytes().get(end) {
            None => format!("the string at byte {start} does not end"),
            Some(_) => format!("the string at byte {start} has a bare control character"),
        };
        ProtocolError::Json { reason }
    }

    #[cold]
    fn bad_number(&self) -> ProtocolError {
        let reason = format!("{} at byte {} is no number", self.found(), self.at);
        ProtocolError::Json { reason }
    }
}

/// Where the digits that begin at `at` end.
#[inline]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The beginning of a text from outside: error messages must not grow with the request.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<(), String> {
        let mut cursor = Cursor::new(text, 4);
        cursor.skip().and_then(|()| cursor.end()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_serde_takes_is_taken_and_what_it_refuses_is_refused() {
        let texts = r#" | 1 | -0 | 1.5e+10 | 1E5 | 01 | - | 1. | .5 | 1e | +1 | NaN | -Infinity | true
             | truex | nul | null | "a" | "a | "\u00e9\n" | "\x" | "\ud800" | "\ud83d\ude00" | "\é"
             | [] | [1,] | [1 2] | [,1] | [ 1 , {"a" : [ ] } ] | {} | {"a":1,} | {"a"} | {a:1}
             | {"a":1}} | [1"#;
        let odd = ["\"\u{1}\"", "\u{feff}1", "\t1\r"];
        for text in texts.split(" | ").chain(odd) {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            // serde passes over lone surrogates when it ignores a value; here they are refused.
            let expected = expected && text != "\"\\ud800\"";
            assert_eq!(skip(text).is_ok(), expected, "{text:?}: {:?}", skip(text));
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        assert_eq!(skip("[[[[1]]]]"), Ok(()));
        let error = "the request is not valid JSON: nested deeper than 4 at byte 4";
        assert_eq!(skip("[[[[[1]]]]]"), Err(error.to_owned()));
        let bomb = "[".repeat(1_000_000);
        let mut cursor = Cursor::new(&bomb, usize::MAX);
        assert!(cursor.skip().is_err());
    }

    #[test]
    fn errors_say_where_and_what() {
        let table = [
            ("[1 2]", "expected ',' or ']' at byte 3, got 2"),
            ("{\"a\" 1}", "expected ':' at byte 5, got 1"),
            ("[01]", "01 at byte 1 is no number"),
            ("[\"a]", "the string at byte 1 does not end"),
            ("[x@]", "expected a value at byte 1, got x"),
            ("[@]", "expected a value at byte 1, got '@'"),
            ("1 1", "expected the end of the text at byte 2, got 1"),
        ];
        for (text, reason) in table {
            let error = format!("the request is not valid JSON: {reason}");
            assert_eq!(skip(text), Err(error), "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let text = format!("\"{}\"", "é".repeat(1000));
        let found = Cursor::new(&text, 4).found();
        assert_eq!(found.chars().filter(|&character| character == 'é').count(), EXCERPT);
    }
}
