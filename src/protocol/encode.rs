//! An [`InferResponse`] to the body that goes to the socket.

use bytes::Bytes;

use super::ProtocolError;
use super::binary::encoded_size;
use super::infer::{Body, InferResponse, OutputTensor};
use super::json::{Layout, write_elements, write_string};
use crate::tensor::{Data, DataType, Tensor};

/// A tensor of at least this many bytes becomes a part of its own: below, one more part in the
/// socket's vector costs more than the copy.
const OWN_PART_BYTES: usize = 4096;
/// JSON around the outputs, and around each one; guesses that spare the buffer from growing.
const RESPONSE_JSON_BYTES: usize = 96;
const OUTPUT_JSON_BYTES: usize = 96;
/// JSON of one number.
const NUMBER_JSON_BYTES: usize = 12;

/// Encodes a response.
///
/// NaN and the infinities are written into JSON as the tokens `NaN`, `Infinity` and `-Infinity`:
/// JSON has no form for them, and these are what Triton writes, and what its clients and Python
/// read. A client with a stricter parser asks for binary.
///
/// # Errors
/// An output has no JSON form (FP16, BF16, byte strings that are no UTF-8) and was not asked for
/// in binary.
pub fn encode_infer(response: InferResponse<'_>) -> Result<Body, ProtocolError> {
    let mut json = Vec::with_capacity(size_guess(&response));
    json.extend_from_slice(b"{\"model_name\":");
    write_string(&mut json, response.model_name);
    json.extend_from_slice(b",\"model_version\":\"");
    json.extend_from_slice(itoa::Buffer::new().format(response.model_version).as_bytes());
    json.push(b'"');
    if let Some(id) = response.id {
        json.extend_from_slice(b",\"id\":");
        write_string(&mut json, id);
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_output(&mut json, index, output)?;
    }
    json.extend_from_slice(b"]}");
    if !response.outputs.iter().any(|output| output.binary) {
        let mut body = Body::default();
        body.parts.push(json.into());
        return Ok(body);
    }
    let binary = response.outputs.iter().filter(|output| output.binary);
    Ok(behind(json, binary.map(|output| &output.tensor)))
}

/// The body of a response whose JSON is known, with these tensors in binary behind it. None of
/// them has a string of 4 GiB or more.
pub fn encode_behind<'t>(json: &[u8], tensors: impl Iterator<Item = &'t Tensor> + Clone) -> Body {
    let small = tensors.clone().map(Tensor::byte_size).filter(|&size| size < OWN_PART_BYTES);
    let mut buffer = Vec::with_capacity(json.len() + small.sum::<usize>());
    buffer.extend_from_slice(json);
    behind(buffer, tensors)
}

fn behind<'t>(json: Vec<u8>, tensors: impl Iterator<Item = &'t Tensor>) -> Body {
    let header_length = Some(json.len());
    let mut parts = Parts { body: Body { header_length, ..Body::default() }, buffer: json };
    tensors.for_each(|tensor| parts.tensor(tensor));
    parts.flush();
    parts.body
}

/// Refuses an output whose type has no JSON form, unless it goes out in binary.
pub fn check_output_form(
    field: &dyn Fn() -> String,
    data_type: DataType,
    binary: bool,
) -> Result<(), ProtocolError> {
    if binary || !matches!(data_type, DataType::Float16 | DataType::BFloat16) {
        return Ok(());
    }
    Err(no_json_form(field, data_type.protocol_name()))
}

#[cold]
fn no_json_form(field: &dyn Fn() -> String, what: &str) -> ProtocolError {
    let reason = format!(
        "{what} has no JSON form: ask for the output in binary (\"parameters\": {{\"binary_data\": \
         true}}) or for all of them (\"binary_data_output\": true on the request)"
    );
    ProtocolError::unsupported(field(), reason)
}

fn size_guess(response: &InferResponse<'_>) -> usize {
    let output = |output: &OutputTensor<'_>| {
        let tensor = &output.tensor;
        let data = match (output.binary, tensor.data()) {
            (false, Data::Numbers(_)) => tensor.element_count().saturating_mul(NUMBER_JSON_BYTES),
            (true, Data::Numbers(bytes)) if bytes.len() >= OWN_PART_BYTES => 0,
            _ => tensor.byte_size(),
        };
        output.name.len() + OUTPUT_JSON_BYTES + data
    };
    let texts = response.model_name.len() + response.id.map_or(0, str::len);
    RESPONSE_JSON_BYTES + texts + response.outputs.iter().map(output).sum::<usize>()
}

fn write_output(
    json: &mut Vec<u8>,
    index: usize,
    output: &OutputTensor<'_>,
) -> Result<(), ProtocolError> {
    let OutputTensor { name, tensor, binary } = output;
    let field = || format!("outputs[{index}] {name:?}");
    check_output_form(&field, tensor.data_type(), *binary)?;
    json.extend_from_slice(b"{\"name\":");
    write_string(json, name);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(tensor.data_type().protocol_name().as_bytes());
    json.extend_from_slice(b"\",\"shape\":");
    serde_json::to_writer(&mut *json, tensor.shape()).expect("a vector takes every write");
    if *binary {
        let size = encoded_size(tensor).ok_or_else(|| {
            let reason = "a string of 4 GiB or more has no binary form";
            ProtocolError::unsupported(field(), reason)
        })?;
        json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        json.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        json.extend_from_slice(b"}}");
        return Ok(());
    }
    json.extend_from_slice(b",\"data\":");
    write_elements(json, tensor, Layout::Flat)
        .map_err(|index| no_json_form(&field, &format!("string {index}, which is no UTF-8,")))?;
    json.push(b'}');
    Ok(())
}

/// Collects the binary tensors: small ones behind the JSON in its own buffer, large ones as parts.
struct Parts {
    body: Body,
    buffer: Vec<u8>,
}

impl Parts {
    fn tensor(&mut self, tensor: &Tensor) {
        match tensor.data() {
            Data::Numbers(bytes) => self.push(bytes),
            Data::Strings(strings) => {
                for string in strings {
                    let length = u32::try_from(string.len()).expect("encoded_size checked it");
                    self.buffer.extend_from_slice(&length.to_le_bytes());
                    self.push(string);
                }
            }
        }
    }

    fn push(&mut self, bytes: &Bytes) {
        if bytes.len() < OWN_PART_BYTES {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.flush();
            self.body.parts.push(bytes.clone());
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.body.parts.push(std::mem::take(&mut self.buffer).into());
        }
    }
}
