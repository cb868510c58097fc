//! Whether two tensors are the same answer.
//!
//! Floats may differ by what an engine's kernels differ by for batches of different sizes; other
//! types may not differ at all.

use half::{bf16, f16};

use crate::tensor::{Data, DataType, Tensor};

/// How far floats of each type may lie apart, relative to the largest value of the tensor: small
/// values of a large sum carry the sum's rounding.
fn tolerance(data_type: DataType) -> f64 {
    match data_type {
        // Two units in the last place: the coarser types can say nothing finer.
        DataType::Float16 => 2.0 / 1024.0,
        DataType::BFloat16 => 2.0 / 128.0,
        DataType::Float32 | DataType::Float64 => 1e-5,
        _ => 0.0,
    }
}

/// The largest difference between two tensors, relative to the largest value in them, where it is
/// more than rounding; `None` where they are the same answer. Infinite where they cannot be
/// compared: other shapes, other strings, a NaN on one side only.
pub(super) fn difference(one: &Tensor, other: &Tensor) -> Option<f64> {
    if one == other {
        return None;
    }
    if one.data_type() != other.data_type() || one.shape() != other.shape() {
        return Some(f64::INFINITY);
    }
    let (Some(one_values), Some(other_values)) = (values(one), values(other)) else {
        return Some(f64::INFINITY);
    };
    let finite = |values: &[f64]| {
        values.iter().filter(|value| value.is_finite()).fold(0.0f64, |most, v| most.max(v.abs()))
    };
    let scale = finite(&one_values).max(finite(&other_values));
    let tolerance = tolerance(one.data_type());
    let mut worst: Option<f64> = None;
    for (&a, &b) in one_values.iter().zip(&other_values) {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let apart = (a - b).abs();
        if !apart.is_finite() {
            return Some(f64::INFINITY);
        }
        if apart > tolerance * scale {
            let relative = apart / scale;
            worst = Some(worst.map_or(relative, |worst| worst.max(relative)));
        }
    }
    // The tensors are not equal: where that is all that is allowed, even neighbours that 64-bit
    // floats cannot tell apart are a difference.
    if tolerance == 0.0 { worst.or(Some(f64::EPSILON)) } else { worst }
}

/// The elements as 64-bit floats; `None` for strings. 64-bit integers lose their last bits, but
/// equal tensors never come here.
#[allow(clippy::cast_precision_loss)]
fn values(tensor: &Tensor) -> Option<Vec<f64>> {
    let Data::Numbers(bytes) = tensor.data() else { return None };
    macro_rules! decode {
        ($kind:ty, $convert:expr) => {
            bytes
                .chunks_exact(size_of::<$kind>())
                .map(|chunk| {
                    let array = chunk.try_into().expect("the chunk has the type's size");
                    $convert(<$kind>::from_le_bytes(array))
                })
                .collect()
        };
    }
    Some(match tensor.data_type() {
        DataType::Bool | DataType::Uint8 => decode!(u8, f64::from),
        DataType::Uint16 => decode!(u16, f64::from),
        DataType::Uint32 => decode!(u32, f64::from),
        DataType::Uint64 => decode!(u64, |value| value as f64),
        DataType::Int8 => decode!(i8, f64::from),
        DataType::Int16 => decode!(i16, f64::from),
        DataType::Int32 => decode!(i32, f64::from),
        DataType::Int64 => decode!(i64, |value| value as f64),
        DataType::Float16 => decode!(f16, f64::from),
        DataType::BFloat16 => decode!(bf16, f64::from),
        DataType::Float32 => decode!(f32, f64::from),
        DataType::Float64 => decode!(f64, f64::from),
        DataType::String => return None,
    })
}

/// Of pairs of the same outputs, run alone and together: the one that differs most, by its place,
/// and by how much; `None` where all are the same answers.
pub(super) fn worst_difference<'t>(
    pairs: impl Iterator<Item = (&'t [Tensor], &'t [Tensor])>,
) -> Option<(usize, f64)> {
    let mut worst: Option<(usize, f64)> = None;
    for (output, (alone, together)) in pairs.flat_map(|(a, b)| a.iter().zip(b).enumerate()) {
        let Some(found) = difference(together, alone) else { continue };
        if worst.is_none_or(|(_, most)| found > most) {
            worst = Some((output, found));
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn check(one: &[f32], other: &[f32], expected: Option<f64>) {
        let tensor = |values: &[f32]| Tensor::from_f32(&[values.len()], values).expect("a vector");
        let found = difference(&tensor(one), &tensor(other));
        match (found, expected) {
            (Some(found), Some(expected)) if found.is_finite() => {
                assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
            }
            _ => assert_eq!(found, expected),
        }
    }

    #[test]
    fn rounding_is_no_difference_and_more_is() {
        check(&[1.0, 2.0], &[1.0, 2.0], None);
        check(&[1.0, 100.0], &[1.00001, 100.0005], None);
        check(&[1.0, 2.0], &[1.0, 2.5], Some(0.2));
        check(&[f32::NAN, 1.0], &[f32::NAN, 1.0], None);
        check(&[f32::NAN, 1.0], &[2.0, 1.0], Some(f64::INFINITY));
        check(&[f32::INFINITY], &[f32::INFINITY], None);
        check(&[f32::INFINITY], &[f32::NEG_INFINITY], Some(f64::INFINITY));
        check(&[1.0], &[1.0, 2.0], Some(f64::INFINITY));
    }

    #[test]
    fn integers_and_strings_are_compared_exactly() {
        let whole = |value: i64| {
            let bytes = bytes::Bytes::copy_from_slice(&value.to_le_bytes());
            Tensor::numbers(DataType::Int64, Shape::new(), bytes).expect("one integer")
        };
        assert_eq!(difference(&whole(1000), &whole(1001)), Some(1.0 / 1001.0));
        // Neighbours that 64-bit floats cannot tell apart.
        assert!(difference(&whole(i64::MAX), &whole(i64::MAX - 1)).is_some());
        let text = |text: &'static str| {
            Tensor::strings(Shape::new(), vec![text.into()]).expect("one string")
        };
        assert_eq!(difference(&text("a"), &text("a")), None);
        assert_eq!(difference(&text("a"), &text("b")), Some(f64::INFINITY));
    }
}
