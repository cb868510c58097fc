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
    let size = model.encoded_len() as u64;
    if size > MAX_MODEL_BYTES {
        return Err(OnnxError::TooLarge { path: path.to_owned(), size, limit: MAX_MODEL_BYTES });
    }
    replace_file(path, |file| file.write_all(&model.encode_to_vec()))
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
