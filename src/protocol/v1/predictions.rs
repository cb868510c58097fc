//! A model's outputs to the answer of a predict request.

use bytes::Bytes;

use super::super::ProtocolError;
use super::super::json::{Layout, write_elements, write_string};
use super::PredictFormat;
use crate::tensor::{Data, DataType, Shape, Tensor};

/// Encodes the outputs in the form that the request had: one bare, several as objects. Byte
/// strings are wrapped in base64 where the output's name ends in `_bytes`, and where they are no
/// UTF-8 and could not be written otherwise.
///
/// # Errors
/// The row form was asked for, and the outputs have no common number of rows.
pub fn encode_predictions(
    format: PredictFormat,
    outputs: &[(&str, Tensor)],
) -> Result<Bytes, ProtocolError> {
    let mut json = Vec::with_capacity(64);
    match format {
        PredictFormat::Row => {
            json.extend_from_slice(b"{\"predictions\":");
            let rows = common_rows(outputs)?;
            match outputs {
                [(name, tensor)] => write(&mut json, name, tensor),
                _ => write_list(&mut json, 0..rows, |json, row| {
                    write_object(json, outputs, |tensor| row_of(tensor, row));
                }),
            }
        }
        PredictFormat::Column => {
            json.extend_from_slice(b"{\"outputs\":");
            match outputs {
                [(name, tensor)] => write(&mut json, name, tensor),
                _ => write_object(&mut json, outputs, Tensor::clone),
            }
        }
    }
    json.push(b'}');
    Ok(json.into())
}

fn common_rows(outputs: &[(&str, Tensor)]) -> Result<usize, ProtocolError> {
    let mut rows = None;
    for (name, tensor) in outputs {
        let own = tensor.shape().first().copied();
        if own.is_none() || rows.is_some_and(|rows| Some(rows) != own) {
            let field = format!("output {name:?}");
            let expected = match rows {
                Some(rows) => format!("{rows} rows, as the outputs before it have"),
                None => "rows".to_owned(),
            };
            let shape = tensor.shape();
            let actual = format!("shape {shape:?}; ask in the column form (\"inputs\") instead");
            return Err(ProtocolError::field(field, expected, actual));
        }
        rows = own;
    }
    Ok(rows.unwrap_or(0))
}

/// One row along the first axis; shares the bytes.
fn row_of(tensor: &Tensor, row: usize) -> Tensor {
    let (rows, shape) = tensor.shape().split_first().expect("every output has rows");
    let shape = Shape::from_slice(shape);
    let result = match tensor.data() {
        Data::Numbers(bytes) => {
            let size = bytes.len() / rows;
            let bytes = bytes.slice(row * size..(row + 1) * size);
            Tensor::numbers(tensor.data_type(), shape, bytes)
        }
        Data::Strings(strings) => {
            let count = strings.len() / rows;
            Tensor::strings(shape, strings[row * count..(row + 1) * count].to_vec())
        }
    };
    result.expect("a row is the tensor's part of that shape")
}

fn write_object(json: &mut Vec<u8>, outputs: &[(&str, Tensor)], part: impl Fn(&Tensor) -> Tensor) {
    json.push(b'{');
    for (index, (name, tensor)) in outputs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_string(json, name);
        json.push(b':');
        write(json, name, &part(tensor));
    }
    json.push(b'}');
}

fn write_list(
    json: &mut Vec<u8>,
    rows: std::ops::Range<usize>,
    mut write: impl FnMut(&mut Vec<u8>, usize),
) {
    json.push(b'[');
    for row in rows {
        if row > 0 {
            json.push(b',');
        }
        write(json, row);
    }
    json.push(b']');
}

fn write(json: &mut Vec<u8>, name: &str, tensor: &Tensor) {
    let base64 = tensor.data_type() == DataType::String && name.ends_with("_bytes");
    write_elements(json, tensor, Layout::Nested { base64 })
        .expect("nested, every byte string has a form");
}
