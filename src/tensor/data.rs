//! A tensor's bytes, and how they are held.

use bytes::Bytes;

use super::{DataType, Shape, element_count};

/// What a tensor must satisfy and did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error("a tensor of shape {shape:?} has too many elements to count")]
    TooLarge { shape: Vec<usize> },
    #[error("a {data_type} tensor of shape {shape:?} takes {expected} bytes, {actual} came")]
    ByteCount { data_type: DataType, shape: Vec<usize>, expected: usize, actual: usize },
    #[error("a tensor of shape {shape:?} takes {expected} strings, {actual} came")]
    StringCount { shape: Vec<usize>, expected: usize, actual: usize },
}

/// The elements, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Fixed-size elements, little-endian, without padding; BOOL is one byte, 0 or 1. The bytes
    /// may be a slice of something larger (a request's body, a batch's output) and need not be
    /// aligned: whoever wants typed access checks, and copies if it must.
    Numbers(Bytes),
    /// One byte string per element.
    Strings(Vec<Bytes>),
}

/// A type, a shape and its elements. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    data_type: DataType,
    shape: Shape,
    data: Data,
}

impl Tensor {
    /// A tensor of fixed-size elements.
    ///
    /// # Errors
    /// The byte count is not what type and shape say.
    ///
    /// # Panics
    /// `data_type` is `String`: use [`Tensor::strings`].
    pub fn numbers(data_type: DataType, shape: Shape, bytes: Bytes) -> Result<Tensor, TensorError> {
        let size = data_type.size().expect("strings are made by Tensor::strings");
        let expected = element_count(&shape)
            .and_then(|count| count.checked_mul(size))
            .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
        if bytes.len() != expected {
            let shape = shape.to_vec();
            return Err(TensorError::ByteCount { data_type, shape, expected, actual: bytes.len() });
        }
        Ok(Tensor { data_type, shape, data: Data::Numbers(bytes) })
    }

    /// A tensor of byte strings.
    ///
    /// # Errors
    /// The count of strings is not what the shape says.
    pub fn strings(shape: Shape, strings: Vec<Bytes>) -> Result<Tensor, TensorError> {
        let expected =
            element_count(&shape).ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
        if strings.len() != expected {
            let shape = shape.to_vec();
            return Err(TensorError::StringCount { shape, expected, actual: strings.len() });
        }
        Ok(Tensor { data_type: DataType::String, shape, data: Data::Strings(strings) })
    }

    /// A tensor of 32-bit floats: what tests and tools make most.
    ///
    /// # Errors
    /// The count of values is not what the shape says.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Tensor, TensorError> {
        let mut buffer = AlignedBuffer::zeroed(values.len() * 4);
        for (bytes, value) in buffer.as_mut_slice().chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Tensor::numbers(DataType::Float32, Shape::from_slice(shape), buffer.into_bytes())
    }

    /// All-zero numbers or empty strings.
    ///
    /// # Errors
    /// The shape has too many elements to count.
    pub fn zeros(data_type: DataType, shape: Shape) -> Result<Tensor, TensorError> {
        let too_large = || TensorError::TooLarge { shape: shape.to_vec() };
        let count = element_count(&shape).ok_or_else(too_large)?;
        match data_type.size() {
            None => Tensor::strings(shape, vec![Bytes::new(); count]),
            Some(size) => {
                let length = count.checked_mul(size).ok_or_else(too_large)?;
                Tensor::numbers(data_type, shape, AlignedBuffer::zeroed(length).into_bytes())
            }
        }
    }

    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The raw bytes, or `None` for strings.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Numbers(bytes) => Some(bytes),
            Data::Strings(_) => None,
        }
    }

    /// The values as 32-bit floats, or `None` where the tensor has another type.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        if self.data_type != DataType::Float32 {
            return None;
        }
        let bytes = self.bytes()?;
        let value = |chunk: &[u8]| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        Some(bytes.chunks_exact(4).map(value).collect())
    }

    /// Elements in the tensor.
    pub fn element_count(&self) -> usize {
        element_count(&self.shape).expect("the constructors counted the elements")
    }

    /// Bytes the elements take in memory, string contents included.
    pub fn byte_size(&self) -> usize {
        match &self.data {
            Data::Numbers(bytes) => bytes.len(),
            Data::Strings(strings) => strings.iter().map(Bytes::len).sum(),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// The new shape has another number of elements.
    pub fn with_shape(self, shape: Shape) -> Result<Tensor, TensorError> {
        match self.data {
            Data::Numbers(bytes) => Tensor::numbers(self.data_type, shape, bytes),
            Data::Strings(strings) => Tensor::strings(shape, strings),
        }
    }
}

/// Zeroed memory whose start is aligned for every element type, so that an engine can take it
/// as typed values without a copy.
#[derive(Debug)]
pub struct AlignedBuffer {
    words: Vec<u64>,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zero bytes.
    pub fn zeroed(length: usize) -> AlignedBuffer {
        AlignedBuffer { words: vec![0; length.div_ceil(8)], length }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the vector owns at least `length` bytes, every bit pattern is a valid u8, and
        // the exclusive borrow of self covers the slice's life.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.length) }
    }

    /// Hands the memory over without copying it; the alignment stays.
    pub fn into_bytes(self) -> Bytes {
        if self.length == 0 {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `as_mut_slice`, with a shared borrow.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_are_checked() {
        let wrong = Tensor::numbers(DataType::Int16, Shape::from_slice(&[3]), Bytes::new());
        let error = wrong.expect_err("six bytes are missing").to_string();
        assert_eq!(error, "a INT16 tensor of shape [3] takes 6 bytes, 0 came");
    }

    #[test]
    fn a_buffer_keeps_its_alignment_as_bytes() {
        let bytes = AlignedBuffer::zeroed(13).into_bytes();
        assert_eq!(bytes.len(), 13);
        assert_eq!(bytes.as_ptr() as usize % 8, 0);
    }

    #[test]
    fn floats_come_back() {
        let tensor = Tensor::from_f32(&[2, 1], &[1.5, -2.0]).expect("two values fit");
        assert_eq!(tensor.to_f32(), Some(vec![1.5, -2.0]));
        assert_eq!(tensor.byte_size(), 8);
    }
}
