//! Wheels, tarballs, Debian packages and bare libraries to library files in a folder.
//!
//! Only the files that ONNX Runtime consists of are taken, by their names; an entry's folders
//! mean nothing here, so an archive cannot write anywhere else.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

/// The library's name in the installed folder, whatever version its own name carries.
pub(super) const LIBRARY: &str = "libonnxruntime.so";

/// Files that the library loads itself, from beside it.
const PROVIDERS: [&str; 3] = [
    "libonnxruntime_providers_shared.so",
    "libonnxruntime_providers_cuda.so",
    "libonnxruntime_providers_tensorrt.so",
];

/// More than any build has, and less than fills a disk when an archive is made to.
const MAX_BYTES: u64 = 4 << 30;

/// Puts the library files of `archive` into `folder`; the file's content says what it is.
///
/// # Errors
/// It cannot be read, is of no known kind, or has no ONNX Runtime in it.
pub(super) fn extract(archive: &Path, folder: &Path, progress: &ProgressBar) -> Result<()> {
    let reading = || format!("reading {}", archive.display());
    let mut file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut magic = Vec::new();
    (&file).take(8).read_to_end(&mut magic).with_context(reading)?;
    file.seek(SeekFrom::Start(0)).with_context(reading)?;
    let mut target = Target { folder, progress, left: MAX_BYTES, has_library: false };
    let file = BufReader::new(file);
    match magic.as_slice() {
        [b'P', b'K', 3, 4, ..] => from_zip(file, &mut target),
        [0x1f, 0x8b, ..] => from_tar(flate2::read::GzDecoder::new(file), &mut target),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n'] => from_deb(file, &mut target),
        [0x7f, b'E', b'L', b'F', ..] => from_library(archive, file, &mut target),
        _ => bail!("it is neither a wheel, a .tgz, a .deb nor a shared library"),
    }
    .with_context(reading)?;
    if !target.has_library {
        bail!("{}: there is no {LIBRARY} in it", archive.display());
    }
    Ok(())
}

/// Where the files go.
struct Target<'a> {
    folder: &'a Path,
    progress: &'a ProgressBar,
    /// Bytes that may still be written.
    left: u64,
    has_library: bool,
}

impl Target<'_> {
    /// Takes an entry if it is one of ONNX Runtime's files.
    fn offer(&mut self, entry_name: &Path, content: &mut dyn Read) -> Result<()> {
        let Some(name) = entry_name.file_name().and_then(|name| name.to_str()) else {
            return Ok(());
        };
        let Some(name) = installed_name(name) else { return Ok(()) };
        if name == LIBRARY {
            if self.has_library {
                bail!("it has more than one {LIBRARY}");
            }
            self.has_library = true;
        }
        let path = self.folder.join(name);
        self.progress.set_message(name);
        let writing = || format!("writing {}", path.display());
        let mut file = File::create(&path).with_context(writing)?;
        let mut limited = content.take(self.left + 1);
        let count = io::copy(&mut limited, &mut Counting { file: &mut file, bar: self.progress })
            .with_context(writing)?;
        if count > self.left {
            bail!("it unpacks to more than {MAX_BYTES} bytes");
        }
        self.left -= count;
        file.sync_all().with_context(writing)
    }
}

/// The name in the installed folder of a file of ONNX Runtime, or `None` for anything else.
fn installed_name(name: &str) -> Option<&'static str> {
    if let Some(provider) = PROVIDERS.into_iter().find(|&provider| provider == name) {
        return Some(provider);
    }
    let version = name.strip_prefix(LIBRARY)?;
    let is_version = version.is_empty()
        || (version.starts_with('.') && version.bytes().all(|b| b == b'.' || b.is_ascii_digit()));
    is_version.then_some(LIBRARY)
}

/// Moves the progress bar by what is written.
struct Counting<'a> {
    file: &'a mut File,
    bar: &'a ProgressBar,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bar.inc(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn from_zip(file: BufReader<File>, target: &mut Target<'_>) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if !entry.is_file() || entry.is_symlink() {
            continue;
        }
        let name = entry.name()?.into_owned();
        target.offer(Path::new(&name), &mut entry)?;
    }
    Ok(())
}

fn from_tar(content: impl Read, target: &mut Target<'_>) -> Result<()> {
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries()? {
        let mut entry = entry?;
        // The plain names are links to the file whose name has the whole version.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path()?.into_owned();
        target.offer(&name, &mut entry)?;
    }
    Ok(())
}

/// A Debian package is an `ar` archive with the files in `data.tar`, compressed in one of several
/// ways.
fn from_deb(file: BufReader<File>, target: &mut Target<'_>) -> Result<()> {
    let mut archive = ar::Archive::new(file);
    while let Some(entry) = archive.next_entry() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        match name.trim_end_matches('/') {
            "data.tar" => return from_tar(entry, target),
            "data.tar.gz" => return from_tar(flate2::read::GzDecoder::new(entry), target),
            "data.tar.xz" => return from_tar(liblzma::read::XzDecoder::new(entry), target),
            "data.tar.zst" => return from_tar(zstd::stream::read::Decoder::new(entry)?, target),
            _ => {}
        }
    }
    bail!("it has no data.tar: not a Debian package")
}

/// A bare library brings along the providers beside it.
fn from_library(path: &Path, mut file: BufReader<File>, target: &mut Target<'_>) -> Result<()> {
    target.offer(Path::new(LIBRARY), &mut file)?;
    for provider in PROVIDERS {
        let beside = path.with_file_name(provider);
        if beside.is_file() {
            let mut content =
                File::open(&beside).with_context(|| format!("opening {}", beside.display()))?;
            target.offer(Path::new(provider), &mut content)?;
        }
    }
    Ok(())
}
