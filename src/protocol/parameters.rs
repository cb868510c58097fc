//! The `parameters` of requests, inputs and outputs: which have a meaning, and which are refused
//! because ignoring them would give another answer than was asked for.

use std::borrow::Cow;

use super::ProtocolError;
use super::infer::{InferRequest, ParameterValue};
use super::json::{Cursor, excerpt};

/// Parameters that a request may have: each is kept, at many times the bytes that it came in.
const MAX_PARAMETERS: usize = 1024;

/// Reads one parameter of a request and what follows from it.
pub fn read_request_parameter(
    cursor: &mut Cursor<'_>,
    key: Cow<'_, str>,
    request: &mut InferRequest,
) -> Result<(), ProtocolError> {
    let place = || format!("parameters.{}", excerpt(&key));
    if cursor.peek() == Some(b'n') && cursor.literal("null") {
        return Ok(());
    }
    match &*key {
        // Triton's clients write 0 for "none".
        "timeout" => {
            let start = *cursor;
            let timeout = read_size(cursor, &place)? as u64;
            request.timeout_us = (timeout > 0).then_some(timeout);
            *cursor = start;
        }
        "priority" => {
            let start = *cursor;
            let priority = read_size(cursor, &place)?;
            request.priority = u32::try_from(priority).map_err(|_| {
                ProtocolError::field(place(), "an integer below 4294967296", start.found())
            })?;
            *cursor = start;
        }
        "binary_data_output" => {
            let start = *cursor;
            request.binary_data_output = read_bool(cursor, &place)?;
            *cursor = start;
        }
        _ => {}
    }
    let value = read_value(cursor, &place)?;
    match &*key {
        "sequence_id" | "sequence_start" | "sequence_end" => {
            let none = match &value {
                ParameterValue::Bool(flag) => !flag,
                ParameterValue::Integer(id) => *id == 0,
                ParameterValue::String(id) => id.is_empty(),
                ParameterValue::Float(_) => false,
            };
            if none {
                return Ok(());
            }
            let reason = "sequences are not supported: send the model's state as its inputs";
            Err(ProtocolError::unsupported(place(), reason))
        }
        "headers" => {
            let reason = "this name is reserved; choose another for a parameter of your own";
            Err(ProtocolError::unsupported(place(), reason))
        }
        name if name.starts_with("triton_") => {
            let reason = "names that begin with triton_ are reserved";
            Err(ProtocolError::unsupported(place(), reason))
        }
        _ if request.parameters.len() == MAX_PARAMETERS => {
            let expected = format!("at most {MAX_PARAMETERS} parameters");
            Err(ProtocolError::field("parameters", expected, "more"))
        }
        _ => {
            request.parameters.push((key.into_owned(), value));
            Ok(())
        }
    }
}

/// Refuses what would need memory shared with the client.
pub fn refuse_shared_memory(key: &str, place: &dyn Fn() -> String) -> Result<(), ProtocolError> {
    if !key.starts_with("shared_memory_") {
        return Ok(());
    }
    let reason = "shared memory is not supported: send and take tensors in the bodies";
    Err(ProtocolError::unsupported(place(), reason))
}

fn read_value(
    cursor: &mut Cursor<'_>,
    place: &dyn Fn() -> String,
) -> Result<ParameterValue, ProtocolError> {
    match cursor.peek() {
        Some(b'"') => Ok(ParameterValue::String(cursor.string()?.into_owned())),
        Some(b'-' | b'0'..=b'9') => {
            let number = cursor.number()?;
            let integer = number.integer.then(|| number.text.parse().ok()).flatten();
            Ok(match integer {
                Some(integer) => ParameterValue::Integer(integer),
                None => {
                    let float = number.text.parse();
                    ParameterValue::Float(float.expect("JSON's numbers are Rust's too"))
                }
            })
        }
        Some(b'{' | b'[') => {
            Err(ProtocolError::field(place(), "a string, number or boolean", cursor.found()))
        }
        _ => match cursor.boolean() {
            Some(flag) => Ok(ParameterValue::Bool(flag)),
            None => Err(cursor.unexpected("a string, number or boolean")),
        },
    }
}

/// A count or size: an integer of at least 0.
pub fn read_size(
    cursor: &mut Cursor<'_>,
    place: &dyn Fn() -> String,
) -> Result<usize, ProtocolError> {
    let start = *cursor;
    if cursor.at_number() {
        let number = cursor.number()?;
        if number.integer {
            match number.text.parse() {
                Ok(size) => return Ok(size),
                Err(_) if number.text.starts_with('-') => {}
                Err(_) => {
                    let expected = format!("an integer of at most {}", usize::MAX);
                    return Err(ProtocolError::field(place(), expected, start.found()));
                }
            }
        }
    } else if cursor.peek().is_none() {
        return Err(cursor.unexpected("a number"));
    }
    Err(ProtocolError::field(place(), "an integer of at least 0", start.found()))
}

pub fn read_bool(
    cursor: &mut Cursor<'_>,
    place: &dyn Fn() -> String,
) -> Result<bool, ProtocolError> {
    cursor.boolean().ok_or_else(|| ProtocolError::field(place(), "true or false", cursor.found()))
}
