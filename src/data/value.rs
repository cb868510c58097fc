//! One value, of text or of an array's element, as the bytes that a model takes.
//!
//! Nothing is rounded but what a floating-point type cannot hold exactly in the first place: a
//! fraction, or a number written as text. What is not finite is no value.

use std::fmt;

use crate::tensor::DataType;

/// A number as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Every whole number of up to 64 bits, with a sign or without.
    Whole(i128),
    Real(f64),
}

impl Number {
    /// As near as a float comes.
    pub fn value(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Real(real) => real,
        }
    }

    /// The whole number that this is, where it is one.
    pub fn whole(self) -> Option<i128> {
        match self {
            Number::Whole(whole) => Some(whole),
            // Not a number has a fraction that is not zero; infinity is out of every range.
            Number::Real(real) => (real.fract() == 0.0).then_some(real as i128),
        }
    }

    /// The class or label that this is, where it is one.
    pub fn class(self) -> Option<i64> {
        self.whole().and_then(|whole| i64::try_from(whole).ok())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(whole) => whole.fmt(formatter),
            // With an exponent where that is shorter.
            Number::Real(real) => write!(formatter, "{real:?}"),
        }
    }
}

/// Whether there are values of this type in data.
pub(super) fn is_known(data_type: DataType) -> bool {
    limits(data_type).is_some() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// What `is_known` holds of, in words.
pub(super) const KNOWN: &str = "data is read as BOOL, whole numbers, FP32 or FP64";

/// The number that text is; blanks around it do not count.
pub(super) fn number(field: &[u8]) -> Option<Number> {
    let text = trimmed(field)?;
    match text.parse::<i128>() {
        Ok(whole) => Some(Number::Whole(whole)),
        Err(_) => text.parse().ok().map(Number::Real),
    }
}

/// Whether text is a truth value, in letters.
pub(super) fn truth(field: &[u8]) -> Option<bool> {
    let text = trimmed(field)?;
    match (text.eq_ignore_ascii_case("true"), text.eq_ignore_ascii_case("false")) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Text in UTF-8 without the blanks around it.
pub(super) fn trimmed(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok().map(str::trim)
}

/// Writes what text says and tells the value, or what was expected instead.
///
/// # Panics
/// `into` is shorter than an element, or the type is not known.
pub(super) fn put_text(data_type: DataType, field: &[u8], into: &mut [u8]) -> Result<f64, String> {
    match data_type {
        // Straight to the type: rounding to 64 bits first may round the other way.
        DataType::Float32 => {
            let single = trimmed(field).and_then(|text| text.parse::<f32>().ok());
            match single.filter(|single| single.is_finite()) {
                Some(single) => {
                    into[..4].copy_from_slice(&single.to_le_bytes());
                    Ok(single.into())
                }
                None => {
                    Err(number(field).map_or_else(finite, |number| not_held(data_type, number)))
                }
            }
        }
        DataType::Bool if let Some(truth) = truth(field) => {
            into[0] = truth.into();
            Ok(into[0].into())
        }
        DataType::Bool => match number(field) {
            Some(number) => put_number(data_type, number, into),
            None => Err("true, false, 1 or 0".to_owned()),
        },
        DataType::Float64 => match trimmed(field).and_then(|text| text.parse().ok()) {
            Some(double) => put_number(data_type, Number::Real(double), into),
            None => Err(finite()),
        },
        _ => match number(field) {
            Some(number) => put_number(data_type, number, into),
            None => Err(range(data_type)),
        },
    }
}

/// Writes a number and tells its value, or what was expected instead.
///
/// # Panics
/// `into` is shorter than an element, or the type is not known.
#[inline]
pub(super) fn put_number(
    data_type: DataType,
    number: Number,
    into: &mut [u8],
) -> Result<f64, String> {
    let value = number.value();
    let held = match data_type {
        DataType::Float64 => {
            into[..8].copy_from_slice(&value.to_le_bytes());
            value.is_finite().then_some(value)
        }
        DataType::Float32 => {
            let single = value as f32;
            into[..4].copy_from_slice(&single.to_le_bytes());
            single.is_finite().then_some(f64::from(single))
        }
        _ => {
            let (least, most) = limits(data_type).expect("the caller asked whether it is known");
            let size = data_type.size().expect("whole numbers have a size");
            let whole = number.whole().filter(|whole| (least..=most).contains(whole));
            let whole = whole.ok_or_else(|| range(data_type))?;
            // Of a number in two's complement the lower bytes are the number in a smaller type.
            into[..size].copy_from_slice(&whole.to_le_bytes()[..size]);
            return Ok(whole as f64);
        }
    };
    match (held, number) {
        (Some(held), Number::Whole(whole)) if held as i128 != whole => {
            Err(format!("a whole number that {data_type} holds exactly"))
        }
        (Some(held), _) => Ok(held),
        (None, _) => Err(not_held(data_type, number)),
    }
}

fn finite() -> String {
    "a finite number".to_owned()
}

fn not_held(data_type: DataType, number: Number) -> String {
    if number.value().is_finite() { format!("a number that {data_type} holds") } else { finite() }
}

fn range(data_type: DataType) -> String {
    match (data_type, limits(data_type)) {
        (DataType::Bool, _) => "true, false, 1 or 0".to_owned(),
        (_, Some((least, most))) => format!("a whole number from {least} to {most}"),
        (_, None) => finite(),
    }
}

/// The least and the greatest of a type of whole numbers.
fn limits(data_type: DataType) -> Option<(i128, i128)> {
    Some(match data_type {
        DataType::Bool => (0, 1),
        DataType::Uint8 => (0, u8::MAX.into()),
        DataType::Uint16 => (0, u16::MAX.into()),
        DataType::Uint32 => (0, u32::MAX.into()),
        DataType::Uint64 => (0, u64::MAX.into()),
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::Float16
        | DataType::BFloat16
        | DataType::Float32
        | DataType::Float64
        | DataType::String => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_value_of_the_type_or_says_what_was_expected() {
        let check = |data_type: DataType, text: &str, expected: Result<&[u8], &str>| {
            let mut bytes = vec![0; data_type.size().expect("a size")];
            let result = put_text(data_type, text.as_bytes(), &mut bytes);
            let result = result.as_ref().map(|_| bytes.as_slice()).map_err(String::as_str);
            assert_eq!(result, expected, "{data_type} {text:?}");
        };
        let number = "a finite number";
        check(DataType::Float32, " 1.5 ", Ok(&1.5f32.to_le_bytes()));
        check(DataType::Float32, "-1e-50", Ok(&(-0.0f32).to_le_bytes()));
        check(DataType::Float32, "1e39", Err("a number that FP32 holds"));
        check(DataType::Float32, "inf", Err(number));
        check(DataType::Float32, "one", Err(number));
        check(DataType::Float32, "1,5", Err(number));
        check(DataType::Float64, "1e39", Ok(&1e39f64.to_le_bytes()));
        check(DataType::Float64, "9007199254740993", Ok(&9007199254740992f64.to_le_bytes()));
        check(DataType::Float64, "-0", Ok(&(-0f64).to_le_bytes()));
        check(DataType::Float64, "NaN", Err(number));
        check(DataType::Float64, "", Err(number));
        check(DataType::Int64, "9223372036854775807", Ok(&i64::MAX.to_le_bytes()));
        check(DataType::Int32, "-7.0", Ok(&(-7i32).to_le_bytes()));
        check(DataType::Int8, "128", Err("a whole number from -128 to 127"));
        check(DataType::Int8, "0.5", Err("a whole number from -128 to 127"));
        check(DataType::Uint64, "18446744073709551615", Ok(&u64::MAX.to_le_bytes()));
        check(DataType::Uint8, "-1", Err("a whole number from 0 to 255"));
        check(DataType::Uint8, "inf", Err("a whole number from 0 to 255"));
        check(DataType::Bool, "True", Ok(&[1]));
        check(DataType::Bool, "0", Ok(&[0]));
        check(DataType::Bool, "yes", Err("true, false, 1 or 0"));
        check(DataType::Bool, "2", Err("true, false, 1 or 0"));
    }

    #[test]
    fn a_whole_number_that_a_float_would_change_is_refused() {
        let mut bytes = [0; 8];
        let mut put = |data_type, whole| put_number(data_type, Number::Whole(whole), &mut bytes);
        assert_eq!(put(DataType::Float32, 1 << 24), Ok(16_777_216.0));
        let expected = Err("a whole number that FP32 holds exactly".to_owned());
        assert_eq!(put(DataType::Float32, (1 << 24) + 1), expected);
        assert_eq!(put(DataType::Float64, (1 << 24) + 1), Ok(16_777_217.0));
    }
}
