//! The wire format of protobuf, as far as it is read before anything is decoded.

/// What a field is followed by; the lowest three bits of its key.
pub(super) const VARINT: u64 = 0;
pub(super) const EIGHT_BYTES: u64 = 1;
pub(super) const LENGTH_DELIMITED: u64 = 2;
pub(super) const START_GROUP: u64 = 3;
pub(super) const END_GROUP: u64 = 4;
pub(super) const FOUR_BYTES: u64 = 5;

/// A number and the bytes that it takes.
pub(super) enum Varint {
    Value { value: u64, length: u64 },
    Cut,
    TooLong,
}

/// The number at the start of `bytes`: seven bits a byte, lowest first, ten bytes at most.
pub(super) fn varint(bytes: &[u8]) -> Varint {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Varint::Value { value, length: index as u64 + 1 };
        }
    }
    if bytes.len() < 10 { Varint::Cut } else { Varint::TooLong }
}
