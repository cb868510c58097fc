//! The element types that both the Open Inference Protocol and the engines have.

use std::fmt;

/// Type of one element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    BFloat16,
    Float32,
    Float64,
    /// Byte strings of any length; ONNX calls them `string`, the protocol `BYTES`.
    String,
}

impl DataType {
    /// Every type, in the order of the protocol's table.
    pub const ALL: [DataType; 14] = [
        DataType::Bool,
        DataType::Uint8,
        DataType::Uint16,
        DataType::Uint32,
        DataType::Uint64,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float16,
        DataType::BFloat16,
        DataType::Float32,
        DataType::Float64,
        DataType::String,
    ];

    /// Bytes of one element, or `None` where elements have no fixed size.
    pub const fn size(self) -> Option<usize> {
        match self {
            DataType::Bool | DataType::Uint8 | DataType::Int8 => Some(1),
            DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::BFloat16 => Some(2),
            DataType::Uint32 | DataType::Int32 | DataType::Float32 => Some(4),
            DataType::Uint64 | DataType::Int64 | DataType::Float64 => Some(8),
            DataType::String => None,
        }
    }

    /// The name in the Open Inference Protocol, version 2.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            DataType::Bool => "BOOL",
            DataType::Uint8 => "UINT8",
            DataType::Uint16 => "UINT16",
            DataType::Uint32 => "UINT32",
            DataType::Uint64 => "UINT64",
            DataType::Int8 => "INT8",
            DataType::Int16 => "INT16",
            DataType::Int32 => "INT32",
            DataType::Int64 => "INT64",
            DataType::Float16 => "FP16",
            DataType::BFloat16 => "BF16",
            DataType::Float32 => "FP32",
            DataType::Float64 => "FP64",
            DataType::String => "BYTES",
        }
    }

    /// The type of that protocol name, exactly as written there.
    pub fn from_protocol_name(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|data_type| data_type.protocol_name() == name)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.protocol_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_type() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::from_protocol_name(data_type.protocol_name()), Some(data_type));
        }
        assert_eq!(DataType::from_protocol_name("fp32"), None);
    }
}
