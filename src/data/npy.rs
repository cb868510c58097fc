//! The header of one array of NumPy, and its elements.
//!
//! Formats 1.0 to 3.0. Python's objects are not read: they are programs.

use std::io::{self, Read};

use super::value::Number;
use crate::tensor::{DataType, element_count};

/// What an array says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub element: Element,
    /// Whether the first axis runs fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
}

/// How an element is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub kind: Kind,
    /// In bytes.
    pub size: usize,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number(DataType),
    /// Characters of four bytes, filled up with zeros.
    Unicode,
    /// Bytes, filled up with zeros.
    Bytes,
}

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// A header of plain elements has a few dozen bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// Reads up to the first element.
///
/// # Errors
/// It is none, or of elements that are not read; the reason is the error's text.
pub(super) fn read_header(reader: &mut impl Read) -> io::Result<Header> {
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    if start[..6] != *MAGIC {
        return Err(invalid("it is no array of NumPy".to_owned()));
    }
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            u16::from_le_bytes(length).into()
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            u32::from_le_bytes(length) as usize
        }
        other => return Err(invalid(format!("its format is {other}, expected 1, 2 or 3"))),
    };
    if length > LONGEST_HEADER {
        let reason = format!("its header has {length} bytes, expected at most {LONGEST_HEADER}");
        return Err(invalid(reason));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text)?;
    parse(&String::from_utf8_lossy(&text)).map_err(invalid)
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A header's text: a dictionary as Python writes it, of three entries.
fn parse(text: &str) -> Result<Header, String> {
    let unsound = || format!("its header is no description of an array: {:?}", text.trim());
    let mut rest = Literal { rest: text };
    let (mut element, mut fortran, mut shape) = (None, None, None);
    rest.eat("{").ok_or_else(unsound)?;
    while rest.eat("}").is_none() {
        let key = rest.string().ok_or_else(unsound)?;
        rest.eat(":").ok_or_else(unsound)?;
        match key {
            "descr" if rest.eat("[").is_some() => {
                return Err("its elements have named fields, expected numbers".to_owned());
            }
            "descr" => element = Some(Element::parse(rest.string().ok_or_else(unsound)?)?),
            "fortran_order" => fortran = Some(rest.boolean().ok_or_else(unsound)?),
            "shape" => shape = Some(rest.sizes().ok_or_else(unsound)?),
            _ => return Err(unsound()),
        }
        if rest.eat(",").is_none() {
            rest.eat("}").ok_or_else(unsound)?;
            break;
        }
    }
    match (element, fortran, shape) {
        (Some(element), Some(fortran), Some(shape)) => Ok(Header { element, fortran, shape }),
        _ => Err(unsound()),
    }
}

/// A literal of Python, read from its beginning.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.eat("'").is_some() { '\'' } else { self.eat("\"").map(|()| '"')? };
        let (string, rest) = self.rest.split_once(quote)?;
        self.rest = rest;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.eat("True").map(|()| true).or_else(|| self.eat("False").map(|()| false))
    }

    fn sizes(&mut self) -> Option<Vec<usize>> {
        self.eat("(")?;
        let (inside, rest) = self.rest.split_once(')')?;
        self.rest = rest;
        let inside = inside.trim().trim_end_matches(',');
        if inside.is_empty() {
            return Some(Vec::new());
        }
        // Python 2 wrote an L behind long numbers.
        let size = |size: &str| size.trim().trim_end_matches('L').parse().ok();
        inside.split(',').map(size).collect()
    }
}

impl Header {
    /// Bytes of all elements; `None` where there are too many to count.
    pub fn byte_count(&self) -> Option<usize> {
        element_count(&self.shape)?.checked_mul(self.element.size)
    }
}

impl Element {
    fn parse(descriptor: &str) -> Result<Element, String> {
        let unknown = || {
            format!(
                "its dtype is {descriptor:?}: expected bool, whole numbers or floats of up to 64 \
                 bits, or text for labels"
            )
        };
        let order = descriptor.chars().next().filter(|order| "<>|=".contains(*order));
        let rest = if order.is_some() { &descriptor[1..] } else { descriptor };
        let kind = rest.chars().next().filter(char::is_ascii).ok_or_else(unknown)?;
        if kind == 'O' {
            return Err("its elements are objects of Python, which are not read".to_owned());
        }
        let size: usize = rest[1..].parse().map_err(|_| unknown())?;
        let big_endian = order == Some('>');
        let data_type = match (kind, size) {
            ('b', 1) => DataType::Bool,
            ('u', 1) => DataType::Uint8,
            ('u', 2) => DataType::Uint16,
            ('u', 4) => DataType::Uint32,
            ('u', 8) => DataType::Uint64,
            ('i', 1) => DataType::Int8,
            ('i', 2) => DataType::Int16,
            ('i', 4) => DataType::Int32,
            ('i', 8) => DataType::Int64,
            ('f', 2) => DataType::Float16,
            ('f', 4) => DataType::Float32,
            ('f', 8) => DataType::Float64,
            ('U', _) => {
                let size = size.checked_mul(4).ok_or_else(unknown)?;
                return Ok(Element { kind: Kind::Unicode, size, big_endian });
            }
            ('S', _) => return Ok(Element { kind: Kind::Bytes, size, big_endian }),
            _ => return Err(unknown()),
        };
        Ok(Element { kind: Kind::Number(data_type), size, big_endian })
    }

    /// Whether the lowest byte comes first, as in tensors.
    pub fn is_native(&self) -> bool {
        !self.big_endian || self.size == 1
    }

    /// The number that an element of this type is.
    ///
    /// # Panics
    /// The element is longer than eight bytes: it is text.
    #[inline]
    pub fn number(&self, data_type: DataType, bytes: &[u8]) -> Number {
        let size = bytes.len();
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes);
        if self.big_endian {
            word[..size].reverse();
        }
        let word = u64::from_le_bytes(word);
        match data_type {
            DataType::Float64 => Number::Real(f64::from_bits(word)),
            DataType::Float32 => Number::Real(f32::from_bits(word as u32).into()),
            DataType::Float16 => Number::Real(half::f16::from_bits(word as u16).to_f64()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                let unused = 64 - 8 * size;
                Number::Whole((((word << unused) as i64) >> unused).into())
            }
            _ => Number::Whole(word.into()),
        }
    }

    /// The text that an element is, in UTF-8; of bytes nobody knows what they are.
    pub fn text(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = match self.kind {
            Kind::Unicode => {
                let character = |bytes: &[u8; 4]| {
                    let code = if self.big_endian {
                        u32::from_be_bytes(*bytes)
                    } else {
                        u32::from_le_bytes(*bytes)
                    };
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                };
                let text: String = bytes.as_chunks::<4>().0.iter().map(character).collect();
                text.into_bytes()
            }
            Kind::Number(_) | Kind::Bytes => bytes.to_vec(),
        };
        let length = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, String> {
        parse(text)
    }

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }      \n";
        let read = header(text).expect("sound");
        assert_eq!(read.element.kind, Kind::Number(DataType::Float64));
        assert_eq!((read.fortran, read.shape.as_slice()), (false, [3, 4].as_slice()));
        let text = "{\"shape\":(7L,),'fortran_order':True,'descr':'>i2'}";
        let read = header(text).expect("sound");
        assert_eq!((read.element.kind, read.shape), (Kind::Number(DataType::Int16), vec![7]));
        assert!(read.element.big_endian && read.fortran);
        let text = "{'descr': '<U5', 'fortran_order': False, 'shape': ()}";
        let read = header(text).expect("sound");
        assert_eq!((read.element.size, read.shape), (20, vec![]));
    }

    #[test]
    fn what_is_no_plain_array_is_refused_by_what_it_is() {
        let with = |descriptor: &str| {
            let text = format!("{{'descr': {descriptor}, 'fortran_order': False, 'shape': (3,)}}");
            header(&text).expect_err("it is not read")
        };
        assert_eq!(with("'|O'"), "its elements are objects of Python, which are not read");
        let fields = "its elements have named fields, expected numbers";
        assert_eq!(with("[('x', '<f4'), ('y', '<f4')]"), fields);
        assert!(with("'<c16'").starts_with("its dtype is \"<c16\": expected bool"));
        assert!(with("'<M8[ns]'").starts_with("its dtype is \"<M8[ns]\": expected bool"));
        assert!(with("'<f16'").starts_with("its dtype"));
        assert!(with("'é4'").starts_with("its dtype"));
        assert!(with("''").starts_with("its dtype"));
        for text in ["", "{", "{}", "{'descr': '<f4'}", "{'shape': (3,", "{'shape': (-1,), }"] {
            let error = header(text).expect_err("unsound");
            assert!(error.starts_with("its header is no description of an array"), "{error}");
        }
    }

    #[test]
    fn elements_are_numbers_in_both_byte_orders() {
        let check = |descriptor: &str, bytes: &[u8], expected: Number| {
            let element = Element::parse(descriptor).expect("known");
            let Kind::Number(data_type) = element.kind else { panic!("no number") };
            assert_eq!(element.number(data_type, bytes), expected, "{descriptor}");
        };
        check("|b1", &[1], Number::Whole(1));
        check("|i1", &[0xff], Number::Whole(-1));
        check("|u1", &[0xff], Number::Whole(255));
        check("<i2", &(-2i16).to_le_bytes(), Number::Whole(-2));
        check(">i4", &(-3i32).to_be_bytes(), Number::Whole(-3));
        check("<i8", &i64::MIN.to_le_bytes(), Number::Whole(i64::MIN.into()));
        check("<u8", &u64::MAX.to_le_bytes(), Number::Whole(u64::MAX.into()));
        check("<f2", &half::f16::from_f32(1.5).to_le_bytes(), Number::Real(1.5));
        check(">f4", &0.25f32.to_be_bytes(), Number::Real(0.25));
        check(">f8", &(-0.1f64).to_be_bytes(), Number::Real(-0.1));
    }

    #[test]
    fn elements_are_text_without_the_zeros_behind_it() {
        let element = Element::parse("<U3").expect("known");
        let bytes: Vec<u8> = ['é' as u32, 'x' as u32, 0].map(u32::to_le_bytes).concat();
        assert_eq!(element.text(&bytes), "éx".as_bytes());
        assert_eq!(Element::parse("|S4").expect("known").text(b"ab\0\0"), b"ab");
    }
}
