//! Between tensors as the file stores them and tensors as the program has them. Elements that lie
//! in another file are fetched by `external` first.

use std::fmt::Display;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::OnnxError;
use super::element::{element_type_name, element_type_of};
use super::proto::{DataLocation, ElementType, TensorProto};
use crate::tensor::{AlignedBuffer, Data, DataType, Shape, Tensor, element_count};

/// The tensor that a message holds. Raw elements share the message's memory.
///
/// # Errors
/// The element type is none of the program's, the elements are not what type and shape say, or
/// they are in another file.
pub fn tensor(proto: &TensorProto) -> Result<Tensor, OnnxError> {
    let shape = shape(proto)?;
    let element_type = proto.data_type();
    let data_type = ElementType::try_from(element_type).ok().and_then(ElementType::data_type);
    let data_type = data_type.ok_or_else(|| OnnxError::TypeUnsupported {
        name: proto.name().to_owned(),
        kind: format!("a tensor of {}", element_type_name(element_type)),
    })?;
    if is_external(proto) {
        return Err(invalid(proto, "its elements are in another file, which was not read"));
    }
    if proto.segment.is_some() {
        return Err(invalid(proto, "it is a segment of a larger tensor, which is not supported"));
    }
    if data_type == DataType::String {
        return Tensor::strings(shape, proto.string_data.clone())
            .map_err(|error| invalid(proto, error));
    }
    let bytes = match &proto.raw_data {
        Some(raw) if !raw.is_empty() => raw.clone(),
        _ => typed_bytes(proto, data_type)?,
    };
    let bytes = if data_type == DataType::Bool { normalized_bools(bytes) } else { bytes };
    Tensor::numbers(data_type, shape, bytes).map_err(|error| invalid(proto, error))
}

/// The message that holds a tensor: numbers in `raw_data`, strings in `string_data`.
pub fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(element_type_of(tensor.data_type())),
        dims: tensor.shape().iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
        ..TensorProto::default()
    };
    match tensor.data() {
        Data::Numbers(bytes) => proto.raw_data = Some(bytes.clone()),
        Data::Strings(strings) => proto.string_data = strings.clone(),
    }
    proto
}

/// Whether the elements are in another file.
pub fn is_external(proto: &TensorProto) -> bool {
    proto.data_location() == DataLocation::External
}

/// The declared shape.
pub(super) fn shape(proto: &TensorProto) -> Result<Shape, OnnxError> {
    let size = |&size: &i64| usize::try_from(size).ok();
    let shape: Option<Shape> = proto.dims.iter().map(size).collect();
    shape.ok_or_else(|| {
        invalid(proto, format_args!("its shape {:?} has a negative size", proto.dims))
    })
}

/// Elements that the declared shape has.
pub(super) fn elements(proto: &TensorProto) -> Result<u64, OnnxError> {
    element_count(&shape(proto)?).map(|count| count as u64).ok_or_else(|| {
        invalid(proto, format_args!("its shape {:?} has too many elements to count", proto.dims))
    })
}

/// Bytes that the elements take in `raw_data`; small types are packed. For strings: those of their
/// contents, as far as they are in this message.
pub(super) fn stored_bytes(proto: &TensorProto) -> Result<u64, OnnxError> {
    let element_type = ElementType::try_from(proto.data_type()).unwrap_or(ElementType::Undefined);
    if element_type == ElementType::String {
        return Ok(proto.string_data.iter().map(|string| string.len() as u64).sum());
    }
    let bits = element_type.bits().ok_or_else(|| {
        let name = element_type_name(proto.data_type());
        invalid(proto, format_args!("{name} elements have no known size"))
    })?;
    elements(proto)?.checked_mul(bits).map(|bits| bits.div_ceil(8)).ok_or_else(|| {
        invalid(proto, format_args!("its shape {:?} takes too many bytes to count", proto.dims))
    })
}

pub(super) fn invalid(proto: &TensorProto, reason: impl Display) -> OnnxError {
    OnnxError::TensorInvalid { name: proto.name().to_owned(), reason: reason.to_string() }
}

/// The elements from the typed field that the type belongs to, as little-endian bytes.
fn typed_bytes(proto: &TensorProto, data_type: DataType) -> Result<Bytes, OnnxError> {
    let size = data_type.size().expect("the caller took strings before");
    Ok(match data_type {
        DataType::Float32 => gather(&proto.float_data, size, f32::to_le_bytes),
        DataType::Float64 => gather(&proto.double_data, size, f64::to_le_bytes),
        DataType::Int64 => gather(&proto.int64_data, size, i64::to_le_bytes),
        DataType::Uint64 | DataType::Uint32 => {
            let largest = if size == 4 { u64::from(u32::MAX) } else { u64::MAX };
            in_range(proto, data_type, "uint64_data", &proto.uint64_data, 0..=largest)?;
            gather(&proto.uint64_data, size, u64::to_le_bytes)
        }
        _ => {
            let range = match data_type {
                DataType::Int16 => i32::from(i16::MIN)..=i32::from(i16::MAX),
                // Half-precision floats are stored as their bits.
                DataType::Uint16 | DataType::Float16 | DataType::BFloat16 => 0..=0xffff,
                DataType::Int8 => i32::from(i8::MIN)..=i32::from(i8::MAX),
                DataType::Uint8 => 0..=0xff,
                DataType::Bool => {
                    return Ok(gather(&proto.int32_data, size, |value| [u8::from(value != 0)]));
                }
                _ => i32::MIN..=i32::MAX,
            };
            in_range(proto, data_type, "int32_data", &proto.int32_data, range)?;
            gather(&proto.int32_data, size, i32::to_le_bytes)
        }
    })
}

/// Refuses values that the type does not have, instead of cutting them off.
fn in_range<T: PartialOrd + Display>(
    proto: &TensorProto,
    data_type: DataType,
    field: &str,
    values: &[T],
    range: RangeInclusive<T>,
) -> Result<(), OnnxError> {
    match values.iter().position(|value| !range.contains(value)) {
        None => Ok(()),
        Some(index) => {
            let value = &values[index];
            let reason = format!("{field}[{index}] is {value}, outside {data_type}");
            Err(invalid(proto, reason))
        }
    }
}

/// The `kept` low-order bytes of each value, aligned for whoever reads them as values again.
fn gather<T: Copy, const N: usize>(
    values: &[T],
    kept: usize,
    bytes_of: impl Fn(T) -> [u8; N],
) -> Bytes {
    let mut buffer = AlignedBuffer::zeroed(values.len() * kept);
    for (bytes, &value) in buffer.as_mut_slice().chunks_exact_mut(kept).zip(values) {
        bytes.copy_from_slice(&bytes_of(value)[..kept]);
    }
    buffer.into_bytes()
}

/// Tensors have 0 and 1 only; some writers use other values for true.
fn normalized_bools(bytes: Bytes) -> Bytes {
    if bytes.iter().all(|&byte| byte <= 1) {
        return bytes;
    }
    bytes.iter().map(|&byte| u8::from(byte != 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_typed(element_type: ElementType, fill: impl FnOnce(&mut TensorProto), raw: &[u8]) {
        let mut typed = TensorProto {
            name: Some("w".to_owned()),
            dims: vec![2],
            data_type: Some(element_type as i32),
            ..TensorProto::default()
        };
        let from_raw = TensorProto { raw_data: Some(Bytes::copy_from_slice(raw)), ..typed.clone() };
        fill(&mut typed);
        let typed = tensor(&typed).expect("the typed field holds two elements");
        assert_eq!(typed.bytes().expect("numbers").as_ref(), raw, "{element_type:?}");
        assert_eq!(tensor(&from_raw).expect("so do the raw bytes"), typed, "{element_type:?}");
    }

    #[test]
    fn typed_fields_and_raw_bytes_give_the_same_tensor() {
        use ElementType as E;
        check_typed(E::Float, |t| t.float_data = vec![1.0, -2.0], &[0, 0, 128, 63, 0, 0, 0, 192]);
        check_typed(
            E::Double,
            |t| t.double_data = vec![1.0, 0.0],
            &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        check_typed(E::Int32, |t| t.int32_data = vec![-1, 7], &[255, 255, 255, 255, 7, 0, 0, 0]);
        check_typed(E::Int16, |t| t.int32_data = vec![-2, 300], &[254, 255, 44, 1]);
        check_typed(E::Uint16, |t| t.int32_data = vec![65535, 1], &[255, 255, 1, 0]);
        check_typed(E::Float16, |t| t.int32_data = vec![0x3c00, 0xc000], &[0, 0x3c, 0, 0xc0]);
        check_typed(E::Bfloat16, |t| t.int32_data = vec![0x3f80, 0], &[0x80, 0x3f, 0, 0]);
        check_typed(E::Int8, |t| t.int32_data = vec![-128, 127], &[128, 127]);
        check_typed(E::Uint8, |t| t.int32_data = vec![255, 0], &[255, 0]);
        check_typed(E::Bool, |t| t.int32_data = vec![1, 0], &[1, 0]);
        check_typed(
            E::Uint32,
            |t| t.uint64_data = vec![4294967295, 1],
            &[255, 255, 255, 255, 1, 0, 0, 0],
        );
        check_typed(
            E::Uint64,
            |t| t.uint64_data = vec![u64::MAX, 1],
            &[255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0],
        );
        check_typed(
            E::Int64,
            |t| t.int64_data = vec![-1, 1],
            &[255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0],
        );
    }

    #[test]
    fn what_is_written_comes_back() {
        let floats = Tensor::from_f32(&[1, 2], &[0.5, f32::NAN]).expect("two values");
        let strings = vec![Bytes::from_static(b"a"), Bytes::from_static(&[0, 255])];
        let strings = Tensor::strings(Shape::from_slice(&[2]), strings).expect("two strings");
        let scalar = Tensor::zeros(DataType::Bool, Shape::new()).expect("one element");
        let empty = Tensor::zeros(DataType::Int64, Shape::from_slice(&[0, 3])).expect("none");
        for original in [floats, strings, scalar, empty] {
            let proto = tensor_proto("w", &original);
            assert_eq!(tensor(&proto).expect("just written"), original);
        }
    }

    fn check_refused(proto: TensorProto, expected: &str) {
        let named = TensorProto { name: Some("w".to_owned()), ..proto };
        assert_eq!(tensor(&named).expect_err("must be refused").to_string(), expected);
    }

    #[test]
    fn tensors_that_cannot_be_are_refused_with_what_is_wrong() {
        let of = |element_type: ElementType, dims: &[i64]| TensorProto {
            data_type: Some(element_type as i32),
            dims: dims.to_vec(),
            ..TensorProto::default()
        };
        check_refused(
            TensorProto { int32_data: vec![1, 300], ..of(ElementType::Uint8, &[2]) },
            "tensor \"w\": int32_data[1] is 300, outside UINT8",
        );
        check_refused(
            TensorProto { uint64_data: vec![1 << 32], ..of(ElementType::Uint32, &[1]) },
            "tensor \"w\": uint64_data[0] is 4294967296, outside UINT32",
        );
        check_refused(
            of(ElementType::Float, &[3]),
            "tensor \"w\": a FP32 tensor of shape [3] takes 12 bytes, 0 came",
        );
        check_refused(
            of(ElementType::Float, &[2, -1]),
            "tensor \"w\": its shape [2, -1] has a negative size",
        );
        check_refused(
            of(ElementType::Float, &[i64::MAX, i64::MAX]),
            "tensor \"w\": a tensor of shape [9223372036854775807, 9223372036854775807] has too \
             many elements to count",
        );
        check_refused(
            of(ElementType::Float4e2m1, &[2]),
            "\"w\" is a tensor of FLOAT4E2M1; only tensors of the protocol's types can be served",
        );
        check_refused(
            TensorProto { data_location: Some(1), ..of(ElementType::Float, &[2]) },
            "tensor \"w\": its elements are in another file, which was not read",
        );
    }

    #[test]
    fn any_nonzero_byte_is_true() {
        let proto = TensorProto {
            data_type: Some(ElementType::Bool as i32),
            dims: vec![3],
            raw_data: Some(Bytes::from_static(&[0, 2, 255])),
            ..TensorProto::default()
        };
        let tensor = tensor(&proto).expect("three bytes");
        assert_eq!(tensor.bytes().expect("numbers").as_ref(), [0, 1, 1]);
    }
}
