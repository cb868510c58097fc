//! Weights in files beside the model: read whole, once each, and only from within the model's own
//! folder. A model comes from elsewhere, and its word on where to read is not trusted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::OnnxError;
use super::graph::visit_tensors_mut;
use super::proto::{DataLocation, ElementType, ModelProto, StringStringEntryProto, TensorProto};
use super::weights::{self, is_external, stored_bytes, tensor_proto};
use super::write::replace_file;
use crate::tensor::Tensor;

/// Where each tensor starts in an external file: a multiple of a page, so that it can be mapped.
const ALIGNMENT: u64 = 4096;

/// The files beside one model. Each is read at most once; tensors share its memory.
#[derive(Clone, Debug)]
pub struct ExternalFiles {
    folder: PathBuf,
    files: BTreeMap<String, Bytes>,
}

impl ExternalFiles {
    /// The files of the model in this folder; nothing is read yet.
    pub fn new(folder: &Path) -> ExternalFiles {
        ExternalFiles { folder: folder.to_owned(), files: BTreeMap::new() }
    }

    /// The tensor that a message holds or points at.
    ///
    /// # Errors
    /// As [`weights::tensor`]; or the file is missing, outside the model's folder or too short.
    pub fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor, OnnxError> {
        if !is_external(proto) {
            return weights::tensor(proto);
        }
        let mut here = proto.clone();
        self.bring_in(&mut here)?;
        weights::tensor(&here)
    }

    /// Moves an external tensor's elements into the message.
    fn bring_in(&mut self, proto: &mut TensorProto) -> Result<(), OnnxError> {
        let place = Place::of(proto)?;
        let bytes = match self.files.get(&place.location) {
            Some(bytes) => bytes,
            None => {
                let bytes = read_beside(&self.folder, &place.location)
                    .map_err(|reason| place.error(proto, reason))?;
                self.files.entry(place.location.clone()).or_insert(bytes)
            }
        };
        let end = place.offset.checked_add(place.length).filter(|&end| end <= bytes.len() as u64);
        let Some(end) = end else {
            let reason = format!(
                "{} bytes at offset {} are beyond the file's {} bytes",
                place.length,
                place.offset,
                bytes.len()
            );
            return Err(place.error(proto, reason));
        };
        let within = |position: u64| usize::try_from(position).expect("within a file in memory");
        proto.raw_data = Some(bytes.slice(within(place.offset)..within(end)));
        proto.external_data.clear();
        proto.data_location = None;
        Ok(())
    }
}

/// Brings every external tensor of the model in, so that it no longer needs other files.
///
/// # Errors
/// A file is missing, outside the folder or too short, or a tensor's shape is impossible.
pub fn load_external(model: &mut ModelProto, folder: &Path) -> Result<(), OnnxError> {
    let mut files = ExternalFiles::new(folder);
    visit_tensors_mut(model, &mut |tensor| {
        if is_external(tensor) { files.bring_in(tensor) } else { Ok(()) }
    })
}

/// Moves the graph's initializers of at least `threshold` bytes into the file `name` beside the
/// model at `path`, which is to be written after this. Small ones and strings stay.
///
/// # Errors
/// A tensor is invalid, or the file system refuses.
pub fn save_external(
    model: &mut ModelProto,
    path: &Path,
    name: &str,
    threshold: u64,
) -> Result<(), OnnxError> {
    let target = path.with_file_name(name);
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let mut moved = Vec::new();
    let mut end = 0u64;
    for (index, tensor) in graph.initializer.iter().enumerate() {
        let is_string = tensor.data_type() == ElementType::String as i32;
        if is_external(tensor) || is_string || stored_bytes(tensor)? < threshold {
            continue;
        }
        let bytes = stored(tensor)?;
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + bytes.len() as u64;
        moved.push((index, offset, bytes));
    }
    replace_file(&target, |file| {
        for (_, offset, bytes) in &moved {
            // What is skipped reads as zeros.
            file.seek(SeekFrom::Start(*offset))?;
            file.write_all(bytes)?;
        }
        Ok(())
    })?;
    for (index, offset, bytes) in moved {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        let tensor = &mut graph.initializer[index];
        *tensor = TensorProto {
            name: tensor.name.take(),
            dims: std::mem::take(&mut tensor.dims),
            data_type: tensor.data_type,
            doc_string: tensor.doc_string.take(),
            metadata_props: std::mem::take(&mut tensor.metadata_props),
            external_data: vec![
                entry("location", name.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", bytes.len().to_string()),
            ],
            data_location: Some(DataLocation::External as i32),
            ..TensorProto::default()
        };
    }
    Ok(())
}

/// The elements as they are stored raw.
fn stored(proto: &TensorProto) -> Result<Bytes, OnnxError> {
    match &proto.raw_data {
        // Also types that tensors do not have, such as INT4.
        Some(raw) if raw.len() as u64 == stored_bytes(proto)? => Ok(raw.clone()),
        _ => {
            let tensor = weights::tensor(proto)?;
            let raw = tensor_proto(proto.name(), &tensor).raw_data;
            Ok(raw.expect("strings were left out by the caller, all else is raw"))
        }
    }
}

/// Where a tensor's elements are.
struct Place {
    location: String,
    offset: u64,
    length: u64,
}

impl Place {
    fn of(proto: &TensorProto) -> Result<Place, OnnxError> {
        let value = |key: &str| {
            proto.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
        };
        let location = value("location").unwrap_or_default().to_owned();
        let mut place = Place { location, offset: 0, length: stored_bytes(proto)? };
        let number = |key: &str| match value(key).map(|text| (text, text.parse::<u64>())) {
            None => Ok(None),
            Some((_, Ok(number))) => Ok(Some(number)),
            Some((text, Err(_))) => {
                Err(place.error(proto, format!("{key} is {text:?}, expected a count of bytes")))
            }
        };
        let offset = number("offset")?;
        let length = number("length")?;
        if proto.data_type() == ElementType::String as i32 {
            return Err(place.error(proto, "strings cannot be stored outside the model".to_owned()));
        }
        if length.is_some_and(|length| length != place.length) {
            let reason = format!(
                "length is {}, expected {} for its type and shape",
                length.unwrap_or_default(),
                place.length
            );
            return Err(place.error(proto, reason));
        }
        place.offset = offset.unwrap_or(0);
        Ok(place)
    }

    fn error(&self, proto: &TensorProto, reason: String) -> OnnxError {
        OnnxError::ExternalData {
            name: proto.name().to_owned(),
            location: self.location.clone(),
            reason,
        }
    }
}

/// Reads a file that must lie in the folder or below, whatever links are on the way.
fn read_beside(folder: &Path, location: &str) -> Result<Bytes, String> {
    let relative = Path::new(location);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err("expected a path relative to the model's folder, without `..`".to_owned());
    }
    let text = |error: std::io::Error| error.to_string();
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = folder.canonicalize().map_err(text)?;
    let file = folder.join(relative).canonicalize().map_err(text)?;
    if !file.starts_with(&folder) {
        return Err(format!("it is a link to {}, outside the model's folder", file.display()));
    }
    let metadata = file.metadata().map_err(text)?;
    // Asked before opening: opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let size = usize::try_from(metadata.len()).map_err(|_| "it is too large".to_owned())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| format!("no memory for its {size} bytes"))?;
    File::open(&file)
        .and_then(|file| file.take(size as u64).read_to_end(&mut bytes))
        .map_err(text)?;
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::mlp;
    use crate::onnx::{read, write};

    fn pointing(location: &str, entries: &[(&str, &str)]) -> TensorProto {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        TensorProto {
            name: Some("w".to_owned()),
            data_type: Some(ElementType::Float as i32),
            dims: vec![2],
            data_location: Some(DataLocation::External as i32),
            external_data: [("location", location)].iter().chain(entries).map(entry).collect(),
            ..TensorProto::default()
        }
    }

    /// A model's folder with a file of 12 bytes in it, a secret beside it and a link to that.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let outside = tempfile::tempdir().expect("a temporary folder");
        let inside = outside.path().join("model");
        std::fs::create_dir(&inside).expect("the folder is writable");
        std::fs::write(outside.path().join("secret"), [7; 64]).expect("the folder is writable");
        std::fs::write(inside.join("weights"), [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64])
            .expect("the folder is writable");
        std::os::unix::fs::symlink("../secret", inside.join("link")).expect("links work");
        (outside, inside)
    }

    #[test]
    fn offset_and_length_are_honoured() {
        let (_keep, folder) = folder();
        let mut files = ExternalFiles::new(&folder);
        for (entries, expected) in
            [(&[][..], [0.0, 1.0]), (&[("offset", "4"), ("length", "8")][..], [1.0, 2.0])]
        {
            let tensor = files.tensor(&pointing("./weights", entries)).expect("within the file");
            assert_eq!(tensor.to_f32().expect("floats"), expected);
        }
    }

    fn check_refused(location: &str, entries: &[(&str, &str)], expected: &str) {
        let (_keep, folder) = folder();
        let error = ExternalFiles::new(&folder).tensor(&pointing(location, entries));
        let text = error.expect_err("must be refused").to_string();
        let start = format!("tensor \"w\": external data {location:?}: {expected}");
        assert!(text.starts_with(&start), "{text}");
    }

    #[test]
    fn a_model_cannot_read_outside_its_folder() {
        let outside = "expected a path relative to the model's folder, without `..`";
        check_refused("../secret", &[], outside);
        check_refused("/etc/passwd", &[], outside);
        check_refused("a/../../secret", &[], outside);
        check_refused("", &[], outside);
        check_refused("link", &[], "it is a link to ");
        check_refused(".", &[], "it is no regular file");
        check_refused("none", &[], "No such file");
    }

    #[test]
    fn ranges_beyond_the_file_are_refused() {
        check_refused(
            "weights",
            &[("offset", "8")],
            "8 bytes at offset 8 are beyond the file's 12 bytes",
        );
        check_refused("weights", &[("offset", &u64::MAX.to_string())], "8 bytes at offset 18446");
        check_refused(
            "weights",
            &[("offset", "-4")],
            "offset is \"-4\", expected a count of bytes",
        );
        check_refused(
            "weights",
            &[("length", "4")],
            "length is 4, expected 8 for its type and shape",
        );
    }

    #[test]
    fn weights_go_out_and_come_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.onnx");
        let original = mlp(16, &[32], 4);
        let mut model = original.clone();
        save_external(&mut model, &path, "model.onnx.data", 256).expect("the folder is writable");
        write(&path, &model).expect("the folder is writable");

        let mut back = read(&path).expect("just written");
        let initializers = &back.graph.as_ref().expect("has one").initializer;
        let external: Vec<bool> = initializers.iter().map(is_external).collect();
        assert_eq!(external, [true, false, true, false]);
        let data = folder.path().join("model.onnx.data").metadata().expect("just written");
        assert_eq!(data.len(), ALIGNMENT + 32 * 4 * 4);
        load_external(&mut back, folder.path()).expect("both files are there");
        assert_eq!(back, original);
    }
}
