//! A measured layout, kept beside the model between starts.
//!
//! A cache that cannot be read, or that was measured for something else, is as good as none: the
//! measurement is made again. Nothing here ever keeps a model from loading.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Layout;

/// What a measurement depends on: where any of it changes, the measurement is made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circumstances {
    /// What tells the model file from any other.
    pub model: String,
    pub engine: String,
    pub engine_version: String,
    /// As settings spell it, such as `cpu` or `cuda:0`.
    pub device: String,
    pub cores: usize,
    /// What configuration fixes, as text: 0 where it leaves the choice.
    pub wanted_instances: usize,
    pub wanted_threads: usize,
    pub wanted_max_batch_size: usize,
    pub batched: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    instances: usize,
    threads: usize,
    max_batch_size: usize,
}

impl From<Chosen> for Layout {
    fn from(chosen: Chosen) -> Layout {
        let Chosen { instances, threads, max_batch_size } = chosen;
        Layout { inline: false, instances, threads, max_batch_size, origin: "cached" }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheFile {
    measured_for: Circumstances,
    layout: Chosen,
}

/// No cached number beyond this is believed.
const MAX_BELIEVED: usize = 4096;

/// The layout that is kept at `path`, and what it was measured for: to be shown, not to be used.
/// `None` where there is none that can be read.
pub fn kept_layout(path: &Path) -> Option<(Layout, Circumstances)> {
    let file: CacheFile = toml::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    Some((file.layout.into(), file.measured_for))
}

/// The layout that was measured in the same circumstances; `None` where there is none yet.
///
/// # Errors
/// Why the cache cannot be read, in words.
pub(super) fn read(path: &Path, circumstances: &Circumstances) -> Result<Option<Layout>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("unreadable: {error}")),
    };
    let file: CacheFile =
        toml::from_str(&text).map_err(|error| format!("unreadable: {}", error.message()))?;
    if file.measured_for != *circumstances {
        return Ok(None);
    }
    let Chosen { instances, threads, max_batch_size } = file.layout;
    let believed = |number: usize| (1..=MAX_BELIEVED).contains(&number);
    if ![instances, threads, max_batch_size].into_iter().all(believed) {
        return Err(format!("its numbers must be from 1 to {MAX_BELIEVED}"));
    }
    Ok(Some(file.layout.into()))
}

/// Keeps a layout: the file is replaced whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn write(
    path: &Path,
    circumstances: &Circumstances,
    layout: &Layout,
) -> std::io::Result<()> {
    let file = CacheFile {
        measured_for: circumstances.clone(),
        layout: Chosen {
            instances: layout.instances,
            threads: layout.threads,
            max_batch_size: layout.max_batch_size,
        },
    };
    let text = toml::to_string(&file).map_err(std::io::Error::other)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut temporary = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    writeln!(temporary, "# Measured by onnxd at load; delete it to measure again.\n{text}")?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances() -> Circumstances {
        Circumstances {
            model: "sha256:1".to_owned(),
            engine: "scripted".to_owned(),
            engine_version: "1".to_owned(),
            device: "cpu".to_owned(),
            cores: 2,
            wanted_instances: 0,
            wanted_threads: 0,
            wanted_max_batch_size: 0,
            batched: true,
        }
    }

    fn measured() -> Layout {
        Layout { inline: false, instances: 2, threads: 1, max_batch_size: 8, origin: "measured" }
    }

    #[test]
    fn a_layout_comes_back_in_the_same_circumstances_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("layout.toml");
        assert_eq!(read(&path, &circumstances()), Ok(None));
        let layout = measured();
        write(&path, &circumstances(), &layout).expect("written");
        let cached = Layout { origin: "cached", ..layout };
        assert_eq!(kept_layout(&path), Some((cached.clone(), circumstances())));
        assert_eq!(read(&path, &circumstances()), Ok(Some(cached)));
        for other in [
            Circumstances { cores: 4, ..circumstances() },
            Circumstances { device: "cuda:0".to_owned(), ..circumstances() },
        ] {
            assert_eq!(read(&path, &other), Ok(None), "{other:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_spoilt_cache_is_no_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("layout.toml");
        let layout = measured();
        write(&path, &circumstances(), &layout).expect("written");
        let text = std::fs::read_to_string(&path).expect("readable");
        for (from, to) in [("instances = 2", "instances = 0"), ("[layout]", "[lay"), ("8", "-8")] {
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replace(from, to)).expect("written");
            assert!(read(&path, &circumstances()).is_err(), "{from} → {to}");
        }
        std::fs::write(&path, [0xff, 0xfe]).expect("written");
        assert!(read(&path, &circumstances()).is_err());
    }
}
