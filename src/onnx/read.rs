//! A model file into memory: bounded, and with an error for each way in which a file is no model.
//! External data stays where it is; see `external`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::proto::ModelProto;
use super::wire::{EIGHT_BYTES, FOUR_BYTES, LENGTH_DELIMITED, VARINT, Varint, varint};
use super::{OnnxError, footprint};

/// The format's own limit: a protobuf message has less than 2 GiB. Nesting is bounded too: the
/// decoder refuses more than 100 messages within each other, some 30 subgraphs.
pub const MAX_MODEL_BYTES: u64 = i32::MAX as u64;

/// What a text file that stands in for a large one begins with.
const LARGE_FILE_POINTER: &[u8] = b"version https://git-lfs";

/// Reads the model in a file.
///
/// # Errors
/// The file is missing, unreadable, too large (also once decoded), truncated or no usable model;
/// each names the file.
pub fn read(path: &Path) -> Result<ModelProto, OnnxError> {
    let bytes = read_file(path)?;
    read_bytes(path, bytes)
}

/// Reads the model in these bytes; `path` is only for messages. Weights share the bytes: nothing
/// is copied.
///
/// # Errors
/// As [`read`], for whatever the bytes are.
pub fn read_bytes(path: &Path, bytes: Bytes) -> Result<ModelProto, OnnxError> {
    let size = bytes.len() as u64;
    if size == 0 {
        return Err(OnnxError::Empty { path: path.to_owned() });
    }
    if size > MAX_MODEL_BYTES {
        return Err(OnnxError::TooLarge { path: path.to_owned(), size, limit: MAX_MODEL_BYTES });
    }
    let not_onnx = |reason: String| OnnxError::NotOnnx { path: path.to_owned(), reason };
    if bytes.starts_with(LARGE_FILE_POINTER) {
        return Err(not_onnx("it is a pointer to a file in Git LFS, not the file".to_owned()));
    }
    match outline(&bytes) {
        Outline::Whole => {}
        Outline::Cut { expected } => {
            let path = path.to_owned();
            return Err(OnnxError::Truncated { path, expected, actual: size });
        }
        Outline::Foreign { reason } => return Err(not_onnx(reason)),
    }
    let (estimate, limit) = (footprint::estimate(&bytes), footprint::limit(size));
    if estimate > limit {
        return Err(OnnxError::TooLargeDecoded { path: path.to_owned(), size, estimate, limit });
    }
    let model = ModelProto::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
    if model.graph.is_none() {
        return Err(OnnxError::NoGraph { path: path.to_owned() });
    }
    if model.opset_import.is_empty() {
        return Err(OnnxError::NoOpset { path: path.to_owned() });
    }
    Ok(model)
}

fn read_file(path: &Path) -> Result<Bytes, OnnxError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => OnnxError::Missing { path: path.to_owned() },
        _ => OnnxError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // Asked before opening: opening a pipe would wait for a writer.
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a folder" } else { "not a regular file" };
        return Err(OnnxError::Unreadable {
            path: path.to_owned(),
            reason: format!("it is {kind}, expected a file"),
        });
    }
    let size = metadata.len();
    if size > MAX_MODEL_BYTES {
        return Err(OnnxError::TooLarge { path: path.to_owned(), size, limit: MAX_MODEL_BYTES });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).expect("2 GiB fit in memory's range"));
    // The file may grow meanwhile: one byte over the limit is enough to tell.
    let mut limited = File::open(path).map_err(failed)?.take(MAX_MODEL_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Bytes::from(bytes))
}

/// What the outermost fields say, before anything is decoded. The decoder alone cannot tell a
/// truncated model from a file that never was one.
enum Outline {
    Whole,
    /// A model up to the last field, which ends beyond the file.
    Cut {
        expected: u64,
    },
    Foreign {
        reason: String,
    },
}

/// How `ModelProto` stores a field, or `None` for one that it does not have (yet).
fn model_wire_type(field: u64) -> Option<u64> {
    match field {
        1 | 5 => Some(VARINT),
        2..=4 | 6..=8 | 14 | 20 | 25 | 26 => Some(LENGTH_DELIMITED),
        _ => None,
    }
}

fn outline(bytes: &[u8]) -> Outline {
    let size = bytes.len() as u64;
    let mut position = 0u64;
    let mut known_fields = 0usize;
    while position < size {
        let start = position;
        let foreign = |what: &str| Outline::Foreign { reason: format!("{what} at byte {start}") };
        let rest = |from: u64| &bytes[usize::try_from(from).expect("within the file")..];
        let (key, length) = match varint(rest(position)) {
            Varint::Value { value, length } => (value, length),
            Varint::Cut => return cut_or_foreign(known_fields, size + 1),
            Varint::TooLong => return foreign("no protobuf field"),
        };
        position += length;
        let (field, wire_type) = (key >> 3, key & 7);
        if field == 0 || field > 0x1fff_ffff {
            return foreign("no protobuf field");
        }
        match model_wire_type(field) {
            Some(expected) if expected != wire_type => {
                return foreign(&format!("field {field} of another type than a model's"));
            }
            Some(_) => known_fields += 1,
            None => {}
        }
        let content = match (wire_type, varint(rest(position))) {
            (EIGHT_BYTES, _) => 8,
            (FOUR_BYTES, _) => 4,
            (VARINT, Varint::Value { length, .. }) => length,
            (LENGTH_DELIMITED, Varint::Value { value, length }) => value.saturating_add(length),
            (VARINT | LENGTH_DELIMITED, Varint::Cut) => {
                return cut_or_foreign(known_fields, size + 1);
            }
            _ => return foreign("no protobuf field"),
        };
        position = position.saturating_add(content);
    }
    if known_fields == 0 {
        return Outline::Foreign { reason: "it has no field of a model".to_owned() };
    }
    if position > size { Outline::Cut { expected: position } } else { Outline::Whole }
}

/// A file that ends within a field was a model only if something in it is a model's.
fn cut_or_foreign(known_fields: usize, expected: u64) -> Outline {
    if known_fields == 0 {
        return Outline::Foreign { reason: "it has no field of a model".to_owned() };
    }
    Outline::Cut { expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::mlp;

    fn check_refused(bytes: &[u8], expected: &str) {
        let error = read_bytes(Path::new("m.onnx"), Bytes::copy_from_slice(bytes));
        assert_eq!(error.expect_err("no model").to_string(), expected);
    }

    #[test]
    fn what_is_no_model_is_told_apart() {
        check_refused(b"", "m.onnx: the file is empty");
        check_refused(b"hello world", "m.onnx: not an ONNX model: no protobuf field at byte 2");
        check_refused(
            b"version https://git-lfs.github.com/spec/v1",
            "m.onnx: not an ONNX model: it is a pointer to a file in Git LFS, not the file",
        );
        check_refused(
            b"\x0a\x01x",
            "m.onnx: not an ONNX model: field 1 of another type than a model's at byte 0",
        );
        check_refused(b"\x50\x01", "m.onnx: not an ONNX model: it has no field of a model");
        check_refused(b"\x08\x08", "m.onnx: the model has no graph");
        check_refused(
            b"\x08\x08\x3a\x00",
            "m.onnx: the model imports no operator set (opset_import is empty)",
        );
        check_refused(b"\x08\x08\x3a\x05\x0a", "m.onnx: truncated: needs at least 9 bytes, has 5");
        // A length of 2^64 - 1 must not wrap around.
        check_refused(
            b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "m.onnx: truncated: needs at least 18446744073709551615 bytes, has 13",
        );
    }

    #[test]
    fn missing_files_and_folders_are_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("none.onnx");
        let error = read(&missing).expect_err("no such file");
        assert_eq!(error, OnnxError::Missing { path: missing });
        let error = read(folder.path()).expect_err("a folder");
        assert!(error.to_string().ends_with("it is a folder, expected a file"), "{error}");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_unread() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        // Sparse: takes no space.
        file.as_file().set_len(MAX_MODEL_BYTES + 1).expect("a sparse file");
        let error = read(file.path()).expect_err("too large");
        assert!(matches!(error, OnnxError::TooLarge { size, .. } if size == MAX_MODEL_BYTES + 1));
    }

    #[test]
    fn weights_share_the_files_memory() {
        let bytes = Bytes::from(mlp(64, &[], 10).encode_to_vec());
        let range = bytes.as_ptr_range();
        let model = read_bytes(Path::new("m.onnx"), bytes.clone()).expect("a model");
        let weight = &model.graph.expect("has one").initializer[0];
        let raw = weight.raw_data.as_ref().expect("raw");
        assert!(range.contains(&raw.as_ptr()));
    }
}
