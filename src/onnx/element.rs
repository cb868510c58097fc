//! The format's element types: how large they are, and which of them tensors can have.

use super::proto::ElementType;
use crate::tensor::DataType;

impl ElementType {
    /// The tensor type of the same elements, or `None` for what cannot be served.
    pub fn data_type(self) -> Option<DataType> {
        Some(match self {
            ElementType::Bool => DataType::Bool,
            ElementType::Uint8 => DataType::Uint8,
            ElementType::Uint16 => DataType::Uint16,
            ElementType::Uint32 => DataType::Uint32,
            ElementType::Uint64 => DataType::Uint64,
            ElementType::Int8 => DataType::Int8,
            ElementType::Int16 => DataType::Int16,
            ElementType::Int32 => DataType::Int32,
            ElementType::Int64 => DataType::Int64,
            ElementType::Float16 => DataType::Float16,
            ElementType::Bfloat16 => DataType::BFloat16,
            ElementType::Float => DataType::Float32,
            ElementType::Double => DataType::Float64,
            ElementType::String => DataType::String,
            _ => return None,
        })
    }

    /// Bits of one element, or `None` for strings and the undefined type.
    pub fn bits(self) -> Option<u64> {
        Some(match self {
            ElementType::Undefined | ElementType::String => return None,
            ElementType::Uint2 | ElementType::Int2 => 2,
            ElementType::Uint4 | ElementType::Int4 | ElementType::Float4e2m1 => 4,
            ElementType::Float6e2m3 | ElementType::Float6e3m2 => 6,
            ElementType::Uint8
            | ElementType::Int8
            | ElementType::Bool
            | ElementType::Float8e4m3fn
            | ElementType::Float8e4m3fnuz
            | ElementType::Float8e5m2
            | ElementType::Float8e5m2fnuz
            | ElementType::Float8e8m0 => 8,
            ElementType::Uint16
            | ElementType::Int16
            | ElementType::Float16
            | ElementType::Bfloat16 => 16,
            ElementType::Int32 | ElementType::Uint32 | ElementType::Float => 32,
            ElementType::Int64
            | ElementType::Uint64
            | ElementType::Double
            | ElementType::Complex64 => 64,
            ElementType::Complex128 => 128,
        })
    }
}

impl From<DataType> for ElementType {
    fn from(data_type: DataType) -> ElementType {
        match data_type {
            DataType::Bool => ElementType::Bool,
            DataType::Uint8 => ElementType::Uint8,
            DataType::Uint16 => ElementType::Uint16,
            DataType::Uint32 => ElementType::Uint32,
            DataType::Uint64 => ElementType::Uint64,
            DataType::Int8 => ElementType::Int8,
            DataType::Int16 => ElementType::Int16,
            DataType::Int32 => ElementType::Int32,
            DataType::Int64 => ElementType::Int64,
            DataType::Float16 => ElementType::Float16,
            DataType::BFloat16 => ElementType::Bfloat16,
            DataType::Float32 => ElementType::Float,
            DataType::Float64 => ElementType::Double,
            DataType::String => ElementType::String,
        }
    }
}

/// The number that the format has for a tensor's type.
pub fn element_type_of(data_type: DataType) -> i32 {
    ElementType::from(data_type) as i32
}

/// The element type of that number, named as a person reads it: `FLOAT8E4M3FN`, or the number
/// where it is of no known type.
pub fn element_type_name(number: i32) -> String {
    match ElementType::try_from(number) {
        Ok(element_type) => format!("{element_type:?}").to_uppercase(),
        Err(_) => format!("unknown element type {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_type_leads_back_and_has_its_size() {
        for data_type in DataType::ALL {
            let element_type = ElementType::from(data_type);
            assert_eq!(element_type.data_type(), Some(data_type));
            let bytes = element_type.bits().map(|bits| bits / 8);
            assert_eq!(bytes, data_type.size().map(|size| size as u64));
        }
    }

    #[test]
    fn names_are_the_formats_own() {
        assert_eq!(element_type_name(17), "FLOAT8E4M3FN");
        assert_eq!(element_type_name(28), "FLOAT6E3M2");
        assert_eq!(element_type_name(99), "unknown element type 99");
    }
}
