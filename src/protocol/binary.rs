//! Tensors as raw bytes behind the JSON, or as the whole body.

use bytes::Bytes;

use super::ProtocolError;
use super::infer::{InferInput, InferRequest};
use super::terms::{ANY_ROOM, Room, take_room};
use crate::tensor::{Data, DataType, Dimension, Shape, Tensor, TensorSpec, element_count};

/// What is left of a request's body once the JSON is read.
pub struct Tail {
    body: Bytes,
    at: usize,
}

impl Tail {
    pub fn new(body: Bytes, header_length: usize) -> Tail {
        Tail { body, at: header_length }
    }

    /// The next `size` bytes, shared with the body.
    pub fn take(
        &mut self,
        size: usize,
        field: &dyn Fn() -> String,
    ) -> Result<Bytes, ProtocolError> {
        let left = self.body.len() - self.at;
        if size > left {
            let actual = format!("{left} ({} additional bytes are missing)", size - left);
            let expected = format!("{size} bytes of binary data behind the JSON");
            return Err(ProtocolError::field(field(), expected, actual));
        }
        let bytes = self.body.slice(self.at..self.at + size);
        self.at += size;
        Ok(bytes)
    }

    /// Checks that every byte belonged to a tensor.
    pub fn finish(self) -> Result<(), ProtocolError> {
        match self.body.len() - self.at {
            0 => Ok(()),
            surplus => {
                let actual = format!("{surplus} additional bytes");
                Err(ProtocolError::field("the body", "no bytes behind the last tensor", actual))
            }
        }
    }
}

/// The tensor of this type and shape in `bytes`.
pub fn decode_tensor(
    data_type: DataType,
    shape: Shape,
    bytes: Bytes,
    room: Room<'_>,
    field: &dyn Fn() -> String,
) -> Result<Tensor, ProtocolError> {
    let count = countable(&shape, field)?;
    let Some(size) = data_type.size() else {
        let strings = decode_strings(&bytes, count, room, field)?;
        return Ok(Tensor::strings(shape, strings).expect("the strings were counted"));
    };
    if count.checked_mul(size) != Some(bytes.len()) {
        let bytes_expected =
            count.checked_mul(size).map_or("too many".to_owned(), |n| n.to_string());
        let expected = format!("{bytes_expected} bytes ({data_type} of shape {shape:?})");
        return Err(ProtocolError::field(field(), expected, format!("{} bytes", bytes.len())));
    }
    // A boolean that is neither 0 nor 1 would be undefined behaviour in an engine's kernels.
    if data_type == DataType::Bool
        && let Some(index) = bytes.iter().position(|&byte| byte > 1)
    {
        let place = format!("{} byte {index}", field());
        return Err(ProtocolError::field(place, "0 or 1 (BOOL)", bytes[index].to_string()));
    }
    Ok(Tensor::numbers(data_type, shape, bytes).expect("the bytes were counted"))
}

/// The element count, or an error that names the shape.
pub fn countable(shape: &[usize], field: &dyn Fn() -> String) -> Result<usize, ProtocolError> {
    element_count(shape)
        .ok_or_else(|| ProtocolError::field(field(), "fewer elements", format!("{shape:?}")))
}

/// Byte strings, each behind its length in four bytes.
fn decode_strings(
    bytes: &Bytes,
    count: usize,
    room: Room<'_>,
    field: &dyn Fn() -> String,
) -> Result<Vec<Bytes>, ProtocolError> {
    // Each takes four bytes at least: a shape that claims more takes no memory.
    let capacity = count.min(bytes.len() / 4);
    take_room(room, capacity, field)?;
    let mut strings = Vec::with_capacity(capacity);
    let mut at = 0;
    while at < bytes.len() {
        let index = strings.len();
        let wrong = |expected: String, actual: usize| {
            let place = format!("{} string {index}", field());
            ProtocolError::field(place, expected, format!("{actual} bytes"))
        };
        if index == count {
            let expected = format!("{count} strings (its shape)");
            let actual = format!("{} more bytes", bytes.len() - at);
            return Err(ProtocolError::field(field(), expected, actual));
        }
        let rest = &bytes[at..];
        let Some((prefix, rest)) = rest.split_first_chunk::<4>() else {
            return Err(wrong("a length of 4 bytes".to_owned(), rest.len()));
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > rest.len() {
            return Err(wrong(format!("{length} bytes, as its length says"), rest.len()));
        }
        at += 4;
        strings.push(bytes.slice(at..at + length));
        at += length;
    }
    if strings.len() != count {
        let expected = format!("{count} strings (its shape)");
        return Err(ProtocolError::field(field(), expected, strings.len().to_string()));
    }
    Ok(strings)
}

/// Bytes that a tensor takes in binary, or `None` where a string is too long for its prefix.
pub fn encoded_size(tensor: &Tensor) -> Option<usize> {
    match tensor.data() {
        Data::Numbers(bytes) => Some(bytes.len()),
        Data::Strings(strings) => strings.iter().try_fold(0usize, |size, string| {
            u32::try_from(string.len()).ok()?;
            size.checked_add(4 + string.len())
        }),
    }
}

/// A request whose body is nothing but the model's one input; all outputs are wanted in binary.
pub fn decode_raw(body: Bytes, inputs: &[TensorSpec]) -> Result<InferRequest, ProtocolError> {
    let [spec] = inputs else {
        let reason = format!(
            "a raw request (Inference-Header-Content-Length: 0) needs a model with exactly one \
             input, this one has {}",
            inputs.len()
        );
        return Err(ProtocolError::unsupported("the body", reason));
    };
    let field = || format!("input {:?}", spec.name);
    let unsupported = |reason: &str| {
        let reason = format!("a raw request {reason}; its shape is {}", spec.shape_text());
        Err(ProtocolError::unsupported(field(), reason))
    };
    let Some(dimensions) = &spec.shape else {
        return unsupported("cannot tell the shape of an input whose rank is open");
    };
    let open = |dimension: &&Dimension| !matches!(dimension, Dimension::Fixed(_));
    let mut shape = spec.shape_with(1);
    let tensor = if spec.data_type == DataType::String {
        if element_count(&shape) != Some(1) {
            return unsupported("carries one string, and this input takes more");
        }
        Tensor::strings(shape, vec![body]).expect("one element, one string")
    } else {
        let open_axes = dimensions.iter().filter(open).count();
        // A first axis that is open beside another one is the batch, and the batch is one.
        let skipped = usize::from(open_axes == 2 && dimensions.first().is_some_and(|d| open(&d)));
        if open_axes - skipped > 1 {
            return unsupported(
                "can leave one axis to be told from its size, here several are open",
            );
        }
        if let Some(axis) = (skipped..dimensions.len()).find(|&axis| open(&&dimensions[axis])) {
            let size = spec.data_type.size().expect("strings were taken above");
            let row = countable(&shape, &field)?.saturating_mul(size);
            if !body.len().is_multiple_of(row) {
                let expected = format!("a multiple of {row} bytes (shape {})", spec.shape_text());
                return Err(ProtocolError::field(field(), expected, body.len().to_string()));
            }
            shape[axis] = body.len().checked_div(row).unwrap_or(0);
        }
        decode_tensor(spec.data_type, shape, body, ANY_ROOM, &field)?
    };
    let input = InferInput { name: spec.name.as_str().into(), tensor };
    Ok(InferRequest { inputs: vec![input], binary_data_output: true, ..InferRequest::default() })
}
