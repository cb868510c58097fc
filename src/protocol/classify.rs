//! The classification extension: an output's highest values as strings instead of the tensor.

use std::cmp::Ordering;
use std::fmt::Debug;

use bytes::Bytes;
use half::{bf16, f16};

use super::ProtocolError;
use crate::tensor::{DataType, Shape, Tensor, element_count};

/// The `classes` highest values of each row, highest first, as BYTES `value:index` or
/// `value:index:label`; of equal values the first index goes first, NaN goes last.
///
/// The first of several axes is the batch and stays; all others together are the classes. A
/// tensor of one axis or none is one row. Where there are fewer values than `classes`, all are
/// given.
///
/// # Errors
/// The tensor holds strings.
pub fn classify(
    tensor: &Tensor,
    classes: usize,
    labels: Option<&[String]>,
) -> Result<Tensor, ProtocolError> {
    let (mut shape, row) = match tensor.shape() {
        [rows, classes @ ..] if !classes.is_empty() => {
            (Shape::from_slice(&[*rows]), element_count(classes).unwrap_or(usize::MAX))
        }
        vector => (Shape::new(), element_count(vector).unwrap_or(usize::MAX)),
    };
    let kept = classes.min(row);
    shape.push(kept);
    let Some(bytes) = tensor.bytes() else {
        let reason = format!("cannot be classified: its type is {}", tensor.data_type());
        return Err(ProtocolError::unsupported("the output", reason));
    };
    let rank = Rank { row, kept, labels: labels.unwrap_or_default() };
    let strings = match tensor.data_type() {
        DataType::Bool | DataType::Uint8 => rank.rows(bytes, u8::from_le_bytes),
        DataType::Uint16 => rank.rows(bytes, u16::from_le_bytes),
        DataType::Uint32 => rank.rows(bytes, u32::from_le_bytes),
        DataType::Uint64 => rank.rows(bytes, u64::from_le_bytes),
        DataType::Int8 => rank.rows(bytes, i8::from_le_bytes),
        DataType::Int16 => rank.rows(bytes, i16::from_le_bytes),
        DataType::Int32 => rank.rows(bytes, i32::from_le_bytes),
        DataType::Int64 => rank.rows(bytes, i64::from_le_bytes),
        DataType::Float16 => rank.rows(bytes, |half| f16::from_le_bytes(half).to_f32()),
        DataType::BFloat16 => rank.rows(bytes, |half| bf16::from_le_bytes(half).to_f32()),
        DataType::Float32 => rank.rows(bytes, f32::from_le_bytes),
        DataType::Float64 => rank.rows(bytes, f64::from_le_bytes),
        DataType::String => unreachable!("strings have no bytes"),
    };
    Ok(Tensor::strings(shape, strings).expect("each row gave as many strings as it keeps"))
}

struct Rank<'l> {
    /// Values in a row.
    row: usize,
    kept: usize,
    labels: &'l [String],
}

impl Rank<'_> {
    fn rows<const SIZE: usize, T: PartialOrd + Copy + Debug>(
        &self,
        bytes: &[u8],
        decode: impl Fn([u8; SIZE]) -> T,
    ) -> Vec<Bytes> {
        if bytes.is_empty() || self.kept == 0 {
            return Vec::new();
        }
        let decode = |chunk: &[u8]| decode(chunk.try_into().expect("chunks are as long as asked"));
        let mut strings = Vec::new();
        for row in bytes.chunks_exact(self.row * SIZE) {
            let values: Vec<T> = row.chunks_exact(SIZE).map(decode).collect();
            let mut order: Vec<usize> = (0..values.len()).collect();
            let before =
                |a: &usize, b: &usize| descending(values[*a], values[*b]).then_with(|| a.cmp(b));
            if self.kept < order.len() {
                order.select_nth_unstable_by(self.kept, before);
                order.truncate(self.kept);
            }
            order.sort_unstable_by(before);
            strings.extend(order.into_iter().map(|index| self.text(values[index], index)));
        }
        strings
    }

    fn text<T: Debug>(&self, value: T, index: usize) -> Bytes {
        // Debug is the shortest text that leads back to the value, with an exponent where that
        // is shorter; for integers it is the plain one.
        Bytes::from(match self.labels.get(index) {
            Some(label) => format!("{value:?}:{index}:{label}"),
            None => format!("{value:?}:{index}"),
        })
    }
}

/// Highest first; what equals nothing, not even itself, last.
fn descending<T: PartialOrd>(a: T, b: T) -> Ordering {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    b.partial_cmp(&a).unwrap_or_else(|| is_nan(&a).cmp(&is_nan(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn check(tensor: &Tensor, classes: usize, shape: &[usize], expected: &[&str]) {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let classified = classify(tensor, classes, Some(&labels)).unwrap();
        assert_eq!(classified.shape(), shape);
        let Data::Strings(strings) = classified.data() else { panic!("BYTES come back") };
        assert_eq!(strings, expected);
    }

    #[test]
    fn each_row_gives_its_highest_with_index_and_label() {
        let tensor = Tensor::from_f32(&[2, 3], &[0.1, 0.7, 0.2, 3.0, 1.0, 2.0]).unwrap();
        check(&tensor, 2, &[2, 2], &["0.7:1:dog", "0.2:2", "3.0:0:cat", "2.0:2"]);
    }

    #[test]
    fn one_axis_is_one_row_and_more_axes_are_classes_together() {
        let vector = Tensor::from_f32(&[3], &[1.0, 3.0, 2.0]).unwrap();
        check(&vector, 9, &[3], &["3.0:1:dog", "2.0:2", "1.0:0:cat"]);
        let image = Tensor::from_f32(&[1, 2, 2], &[1.0, 3.0, 2.0, 4.0]).unwrap();
        check(&image, 1, &[1, 1], &["4.0:3"]);
        let scalar = Tensor::from_f32(&[], &[7.5]).unwrap();
        check(&scalar, 1, &[1], &["7.5:0:cat"]);
    }

    #[test]
    fn equal_values_keep_their_order_and_nan_goes_last() {
        let values = [f32::NAN, 1.0, 2.0, 1.0, f32::NEG_INFINITY];
        let tensor = Tensor::from_f32(&[5], &values).unwrap();
        check(&tensor, 5, &[5], &["2.0:2", "1.0:1:dog", "1.0:3", "-inf:4", "NaN:0:cat"]);
    }

    #[test]
    fn large_integers_keep_every_digit() {
        let values = [9_007_199_254_740_993_i64, 9_007_199_254_740_992];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor =
            Tensor::numbers(DataType::Int64, Shape::from_slice(&[1, 2]), bytes.into()).unwrap();
        check(&tensor, 1, &[1, 1], &["9007199254740993:0:cat"]);
    }

    #[test]
    fn empty_rows_and_no_rows_give_empty_tensors() {
        for shape in [[0, 3], [2, 0]] {
            let tensor = Tensor::from_f32(&shape, &[]).unwrap();
            check(&tensor, 2, &[shape[0], shape[1].min(2)], &[]);
        }
    }

    #[test]
    fn every_number_type_can_be_classified_and_strings_cannot() {
        for data_type in DataType::ALL {
            let tensor = Tensor::zeros(data_type, Shape::from_slice(&[1, 2])).unwrap();
            assert_eq!(classify(&tensor, 1, None).is_ok(), data_type != DataType::String);
        }
    }
}
