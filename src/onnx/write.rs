//! A model into a file, whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use prost::Message;

use super::OnnxError;
use super::proto::ModelProto;
use super::read::MAX_MODEL_BYTES;

/// Writes the model to `path`. Readers see the old file or the new one, never a part: the bytes go
/// to a temporary file in the same folder, reach the disk, and then take the name.
///
/// # Errors
/// The model has 2 GiB or more (see [`save_external`](super::external::save_external)), or the
/// file system refuses.
pub fn write(path: &Path, model: &ModelProto) -> Result<(), OnnxError> {
    let bytes = encode(path, model)?;
    replace_file(path, |file| file.write_all(&bytes))
}

/// The bytes of a model file; `path` is only for messages.
///
/// # Errors
/// The model has 2 GiB or more.
pub fn encode(path: &Path, model: &ModelProto) -> Result<Vec<u8>, OnnxError> {
    let size = model.encoded_len() as u64;
    if size > MAX_MODEL_BYTES {
        return Err(OnnxError::TooLarge { path: path.to_owned(), size, limit: MAX_MODEL_BYTES });
    }
    Ok(model.encode_to_vec())
}

/// Puts a file in place in one step, with what `fill` writes.
pub(super) fn replace_file(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), OnnxError> {
    let put = || -> std::io::Result<()> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The process's umask applies; without this only the owner could read a published model.
        let mut temporary = tempfile::Builder::new()
            .prefix(".onnxd-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        fill(temporary.as_file_mut())?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        // The rename itself is on disk only once the folder is.
        File::open(folder)?.sync_all()
    };
    put()
        .map_err(|error| OnnxError::Unwritable { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::onnx::read::read;
    use crate::onnx::samples::mlp;

    #[test]
    fn a_written_model_comes_back_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.onnx");
        for model in [mlp(4, &[3], 2), mlp(4, &[], 2)] {
            write(&path, &model).expect("the folder is writable");
            assert_eq!(read(&path).expect("just written"), model);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
        // As readable as any file that is created there.
        std::fs::write(folder.path().join("plain"), "").expect("the folder is writable");
        let mode = |name: &str| folder.path().join(name).metadata().expect("exists").mode();
        assert_eq!(mode("model.onnx"), mode("plain"));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, "old").expect("the folder is writable");
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = replace_file(&path, |file| {
            file.write_all(b"ne")?;
            Err(full())
        });
        let expected = OnnxError::Unwritable { path: path.clone(), reason: full().to_string() };
        assert_eq!(error, Err(expected));
        assert_eq!(std::fs::read(&path).expect("still there"), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
