//! One number of a JSON text, straight into its type; and what errors say of one that does not
//! fit. How an element may be written depends on the protocol.

use super::super::ProtocolError;
use super::cursor::{Cursor, Number};
use crate::tensor::DataType;

/// Which forms an element may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Open Inference Protocol: plain JSON.
    Inference,
    /// TensorFlow Serving: the tokens `NaN`, `Infinity` and `-Infinity`, half floats as numbers,
    /// and `{"b64": …}` for byte strings.
    Predict,
}

/// Why an element was refused.
pub enum Wrong {
    Json(ProtocolError),
    /// A value, but none of the type; it begins here.
    Value,
}

impl From<ProtocolError> for Wrong {
    fn from(error: ProtocolError) -> Wrong {
        Wrong::Json(error)
    }
}

/// Reads with `read`; where the value is not the type's, the cursor stays before it, so that the
/// error can name it.
#[inline]
fn number<'t, T>(
    cursor: &mut Cursor<'t>,
    read: impl FnOnce(Number<'t>) -> Option<T>,
) -> Result<T, Wrong> {
    if !cursor.at_number() {
        return Err(not_a_number(cursor));
    }
    let start = *cursor;
    match read(cursor.number()?) {
        Some(value) => Ok(value),
        None => {
            *cursor = start;
            Err(Wrong::Value)
        }
    }
}

#[cold]
fn not_a_number(cursor: &mut Cursor<'_>) -> Wrong {
    match cursor.peek() {
        // `[1,]` and a text that stops are broken JSON rather than a wrong element.
        None | Some(b',' | b']' | b'}') => Wrong::Json(cursor.unexpected("a number")),
        Some(_) => Wrong::Value,
    }
}

#[inline]
pub fn integer<T: std::str::FromStr>(cursor: &mut Cursor<'_>) -> Result<T, Wrong> {
    number(cursor, |number| if number.integer { number.text.parse().ok() } else { None })
}

/// Floats of both sizes; the standard library rounds correctly, straight to the type.
pub trait Float: std::str::FromStr + From<f32> + Copy {
    fn is_finite(self) -> bool;
}

impl Float for f32 {
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Float for f64 {
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

#[inline]
pub fn float<T: Float>(cursor: &mut Cursor<'_>, dialect: Dialect) -> Result<T, Wrong> {
    let finite = |number: Number<'_>| number.text.parse::<T>().ok();
    match number(cursor, |number| finite(number).filter(|value| value.is_finite())) {
        Err(Wrong::Value) if dialect == Dialect::Predict => {
            cursor.special().map(T::from).ok_or(Wrong::Value)
        }
        result => result,
    }
}

/// Half floats go through `f64`: the second rounding can only matter to a number written with
/// more than 16 digits that lies on the middle between two halves.
pub fn half_float<T: Copy + Into<f64>>(
    cursor: &mut Cursor<'_>,
    round: impl Fn(f64) -> T,
) -> Result<T, Wrong> {
    let start = *cursor;
    let value = float::<f64>(cursor, Dialect::Predict)?;
    let rounded = round(value);
    if value.is_finite() && !rounded.into().is_finite() {
        *cursor = start;
        return Err(Wrong::Value);
    }
    Ok(rounded)
}

/// What an error says was expected.
pub fn expected_element(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "true or false (BOOL)",
        DataType::Uint8 => "an integer from 0 to 255 (UINT8)",
        DataType::Uint16 => "an integer from 0 to 65535 (UINT16)",
        DataType::Uint32 => "an integer from 0 to 4294967295 (UINT32)",
        DataType::Uint64 => "an integer from 0 to 18446744073709551615 (UINT64)",
        DataType::Int8 => "an integer from -128 to 127 (INT8)",
        DataType::Int16 => "an integer from -32768 to 32767 (INT16)",
        DataType::Int32 => "an integer from -2147483648 to 2147483647 (INT32)",
        DataType::Int64 => "an integer from -9223372036854775808 to 9223372036854775807 (INT64)",
        DataType::Float16 => "a number within FP16's range",
        DataType::BFloat16 => "a number within BF16's range",
        DataType::Float32 => "a number within FP32's range",
        DataType::Float64 => "a number within FP64's range",
        DataType::String => "a string (BYTES)",
    }
}
