//! A tensor's elements as JSON text. Floats are written with the fewest digits that lead back to
//! the same value of their type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use half::{bf16, f16};

use crate::tensor::{Data, DataType, Tensor};

/// How the brackets stand, and which forms elements may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One array of all elements; the shape stands beside it.
    Flat,
    /// Arrays in arrays as the shape says; byte strings in base64 where they are no UTF-8, or
    /// everywhere.
    Nested { base64: bool },
}

/// Writes a string with its quotes and escapes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every write, and a str is UTF-8");
}

/// Writes the elements.
///
/// # Errors
/// An element is a byte string that is no UTF-8, and the layout has no other form: its index.
pub fn write_elements(out: &mut Vec<u8>, tensor: &Tensor, layout: Layout) -> Result<(), usize> {
    let count = [tensor.element_count()];
    let shape = if layout == Layout::Flat { &count[..] } else { tensor.shape() };
    let bytes = match tensor.data() {
        Data::Strings(strings) => return write_strings(out, strings, shape, layout),
        Data::Numbers(bytes) => &bytes[..],
    };
    match tensor.data_type() {
        DataType::Bool => write_numbers(out, shape, bytes, |out, [byte]| {
            out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
        }),
        DataType::Uint8 => write_numbers(out, shape, bytes, |out, [byte]| write(out, byte)),
        DataType::Uint16 => integers(out, shape, bytes, u16::from_le_bytes),
        DataType::Uint32 => integers(out, shape, bytes, u32::from_le_bytes),
        DataType::Uint64 => integers(out, shape, bytes, u64::from_le_bytes),
        DataType::Int8 => integers(out, shape, bytes, i8::from_le_bytes),
        DataType::Int16 => integers(out, shape, bytes, i16::from_le_bytes),
        DataType::Int32 => integers(out, shape, bytes, i32::from_le_bytes),
        DataType::Int64 => integers(out, shape, bytes, i64::from_le_bytes),
        DataType::Float16 => write_numbers(out, shape, bytes, |out, half| {
            write_f32(out, f16::from_le_bytes(half).to_f32());
        }),
        DataType::BFloat16 => write_numbers(out, shape, bytes, |out, half| {
            write_f32(out, bf16::from_le_bytes(half).to_f32());
        }),
        DataType::Float32 => write_numbers(out, shape, bytes, |out, float| {
            write_f32(out, f32::from_le_bytes(float));
        }),
        DataType::Float64 => write_numbers(out, shape, bytes, |out, float| {
            write_f64(out, f64::from_le_bytes(float));
        }),
        DataType::String => unreachable!("strings were written above"),
    }
    Ok(())
}

fn write(out: &mut Vec<u8>, value: impl serde::Serialize) {
    serde_json::to_writer(out, &value).expect("a vector takes every write");
}

fn write_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() { write(out, value) } else { write_special(out, f64::from(value)) }
}

fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() { write(out, value) } else { write_special(out, value) }
}

/// JSON has no form for these. The tokens are what Triton and TensorFlow Serving write and what
/// their clients and Python's own `json` read; `null` would lose which of the three it was.
#[cold]
fn write_special(out: &mut Vec<u8>, value: f64) {
    let token = match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    out.extend_from_slice(token.as_bytes());
}

fn integers<const SIZE: usize, T: serde::Serialize>(
    out: &mut Vec<u8>,
    shape: &[usize],
    bytes: &[u8],
    decode: impl Fn([u8; SIZE]) -> T,
) {
    write_numbers(out, shape, bytes, |out, value| write(out, decode(value)));
}

fn write_numbers<const SIZE: usize>(
    out: &mut Vec<u8>,
    shape: &[usize],
    bytes: &[u8],
    write: impl Fn(&mut Vec<u8>, [u8; SIZE]),
) {
    let mut chunks = bytes.chunks_exact(SIZE);
    write_level(out, shape, &mut |out| {
        let chunk = chunks.next().expect("a tensor has as many elements as its shape says");
        write(out, chunk.try_into().expect("chunks are as long as asked"));
    });
}

fn write_strings(
    out: &mut Vec<u8>,
    strings: &[Bytes],
    shape: &[usize],
    layout: Layout,
) -> Result<(), usize> {
    let mut refused = None;
    let mut index = 0;
    write_level(out, shape, &mut |out| {
        let string = &strings[index];
        match (std::str::from_utf8(string), layout) {
            (Ok(text), Layout::Flat | Layout::Nested { base64: false }) => write_string(out, text),
            (_, Layout::Nested { .. }) => {
                out.extend_from_slice(b"{\"b64\":\"");
                out.extend_from_slice(STANDARD.encode(string).as_bytes());
                out.extend_from_slice(b"\"}");
            }
            (Err(_), Layout::Flat) => refused = refused.or(Some(index)),
        }
        index += 1;
    });
    refused.map_or(Ok(()), Err)
}

/// Writes the brackets and commas of the shape; recursion is as deep as the tensor has axes.
fn write_level(out: &mut Vec<u8>, shape: &[usize], element: &mut impl FnMut(&mut Vec<u8>)) {
    let Some((&length, inner)) = shape.split_first() else { return element(out) };
    out.push(b'[');
    for index in 0..length {
        if index > 0 {
            out.push(b',');
        }
        write_level(out, inner, element);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn check(tensor: &Tensor, layout: Layout, expected: &str) {
        let mut out = Vec::new();
        assert_eq!(write_elements(&mut out, tensor, layout), Ok(()));
        assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
    }

    #[test]
    fn floats_are_written_with_their_own_digits() {
        let tensor = Tensor::from_f32(&[2, 2], &[0.1, -0.0, 1e-30, 16_777_216.0]).unwrap();
        check(&tensor, Layout::Flat, "[0.1,-0.0,1e-30,16777216.0]");
        check(&tensor, Layout::Nested { base64: false }, "[[0.1,-0.0],[1e-30,16777216.0]]");
    }

    #[test]
    fn what_json_lacks_is_written_as_tokens() {
        let tensor = Tensor::from_f32(&[3], &[f32::NAN, f32::INFINITY, -f32::INFINITY]).unwrap();
        check(&tensor, Layout::Flat, "[NaN,Infinity,-Infinity]");
    }

    #[test]
    fn scalars_and_empty_axes_keep_their_form() {
        let scalar = Tensor::from_f32(&[], &[2.5]).unwrap();
        check(&scalar, Layout::Flat, "[2.5]");
        check(&scalar, Layout::Nested { base64: false }, "2.5");
        let empty = Tensor::from_f32(&[2, 0], &[]).unwrap();
        check(&empty, Layout::Flat, "[]");
        check(&empty, Layout::Nested { base64: false }, "[[],[]]");
    }

    #[test]
    fn strings_are_escaped_or_wrapped() {
        let strings = vec![Bytes::from_static(b"a\"\n"), Bytes::from_static(b"\xff")];
        let tensor = Tensor::strings(Shape::from_slice(&[2]), strings).unwrap();
        let mixed = "[\"a\\\"\\n\",{\"b64\":\"/w==\"}]";
        check(&tensor, Layout::Nested { base64: false }, mixed);
        let wrapped = "[{\"b64\":\"YSIK\"},{\"b64\":\"/w==\"}]";
        check(&tensor, Layout::Nested { base64: true }, wrapped);
        assert_eq!(write_elements(&mut Vec::new(), &tensor, Layout::Flat), Err(1));
    }
}
