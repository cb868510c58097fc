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
        _ => bail!(
            "{}: it is neither a wheel, a .tgz, a .deb nor a shared library",
            archive.display()
        ),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Entries of a test archive: name and content.
    type Entries<'a> = &'a [(&'a str, &'a [u8])];

    const USUAL: Entries<'_> = &[
        ("top/readme.txt", b"nothing"),
        ("top/capi/libonnxruntime.so.1.32.0", b"\x7fELF the library"),
        ("top/capi/libonnxruntime_providers_shared.so", b"\x7fELF shared"),
        ("top/capi/libonnxruntime_providers_openvino.so", b"\x7fELF unknown"),
        ("top/capi/libonnxruntime.so.sig", b"a signature"),
    ];

    fn zip_of(entries: Entries<'_>) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(*name, options).expect("the entry begins");
            writer.write_all(content).expect("the entry is written");
        }
        writer.finish().expect("the archive ends").into_inner()
    }

    fn tar_of(entries: Entries<'_>) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Written into the header itself: `set_path` refuses what a hostile archive has.
            header.as_gnu_mut().expect("a GNU header").name[..name.len()]
                .copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).expect("the entry is written");
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder
            .append_link(&mut link, "top/capi/libonnxruntime.so", "libonnxruntime.so.1.32.0")
            .expect("the link is written");
        builder.into_inner().expect("the archive ends")
    }

    fn gzip_of(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn deb_of(data_name: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, content) in [("debian-binary", b"2.0\n".as_slice()), (data_name, data)] {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            builder.append(&header, content).expect("the entry is written");
        }
        builder.into_inner().expect("memory takes it")
    }

    /// Extracts an archive of that content; answers the names of the files that came out.
    fn extracted(content: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let archive = folder.path().join("archive");
        std::fs::write(&archive, content).expect("the folder is writable");
        let target = folder.path().join("inner/target");
        std::fs::create_dir_all(&target).expect("the folder is writable");
        extract(&archive, &target, &ProgressBar::hidden())?;
        let library = std::fs::read(target.join(LIBRARY)).expect("it was extracted");
        assert_eq!(library, b"\x7fELF the library");
        let outside: Vec<PathBuf> = [folder.path(), &folder.path().join("inner")]
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).expect("it is there"))
            .map(|entry| entry.expect("it is readable").path())
            .collect();
        assert_eq!(outside.len(), 3, "something was written outside: {outside:?}");
        let entries = std::fs::read_dir(target).expect("it is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it is readable").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn every_kind_of_package_gives_the_library_and_its_providers() {
        let tar = tar_of(USUAL);
        let xz = {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(&tar).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        };
        let zst = zstd::stream::encode_all(tar.as_slice(), 1).expect("memory takes it");
        let packages = [
            zip_of(USUAL),
            gzip_of(&tar),
            deb_of("data.tar", &tar),
            deb_of("data.tar.gz", &gzip_of(&tar)),
            deb_of("data.tar.xz", &xz),
            deb_of("data.tar.zst", &zst),
        ];
        for (index, package) in packages.iter().enumerate() {
            let names = extracted(package).unwrap_or_else(|e| panic!("package {index}: {e:#}"));
            assert_eq!(names, [LIBRARY, PROVIDERS[0]], "package {index}");
        }
        assert_eq!(extracted(b"\x7fELF the library").expect("a bare library"), [LIBRARY]);
    }

    #[test]
    fn entries_cannot_be_written_elsewhere() {
        let hostile: Entries<'_> = &[
            ("../../libonnxruntime.so.1.32.0", b"\x7fELF the library"),
            ("../libonnxruntime_providers_shared.so", b"\x7fELF shared"),
            ("../../escaped", b"outside"),
        ];
        for package in [zip_of(hostile), gzip_of(&tar_of(hostile))] {
            assert_eq!(extracted(&package).expect("names count only"), [LIBRARY, PROVIDERS[0]]);
        }
    }

    #[test]
    fn what_is_no_package_is_refused_with_a_reason() {
        let without: Entries<'_> = &[("top/readme.txt", b"nothing")];
        let twice: Entries<'_> =
            &[("a/libonnxruntime.so", b"\x7fELF the library"), ("b/libonnxruntime.so.1", b"other")];
        let whole = zip_of(USUAL);
        let table: [(&[u8], &str); 6] = [
            (b"", "neither a wheel"),
            (b"plain text", "neither a wheel"),
            (&zip_of(without), "there is no libonnxruntime.so in it"),
            (&zip_of(twice), "more than one"),
            (&deb_of("control.tar", b""), "no data.tar"),
            (&whole[..whole.len() / 2], "reading"),
        ];
        for (content, reason) in table {
            let error = format!("{:#}", extracted(content).expect_err(reason));
            assert!(error.contains(reason), "{error:?} says nothing of {reason:?}");
        }
    }
}
