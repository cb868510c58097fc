//! The files of a version's golden samples, as bytes: what they say is not this part's to know.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::manifest::is_inside;
use super::{Golden, MANIFEST_FILE, Manifest, RepositoryError};

/// Each sample is a run before the version serves: these are proofs, not a test set.
const MAX_SAMPLES: usize = 64;
/// A sample is a request: it is not larger than one may be.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// One golden sample.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenFiles {
    /// Where the inputs lie, by which the sample is called.
    pub path: PathBuf,
    pub inputs: Vec<u8>,
    pub outputs: Vec<u8>,
    pub relative_tolerance: f64,
    pub absolute_tolerance: f64,
}

/// Reads the samples that the manifest names.
///
/// # Errors
/// A file is missing or too large, or the manifest names one outside of the version's folder, too
/// many, or a tolerance that is none.
pub fn read_golden(
    version_folder: &Path,
    manifest: &Manifest,
) -> Result<Vec<GoldenFiles>, RepositoryError> {
    let invalid = |reason: String| RepositoryError::ManifestInvalid {
        path: version_folder.join(MANIFEST_FILE),
        reason,
    };
    let count = manifest.golden.len();
    if count > MAX_SAMPLES {
        return Err(invalid(format!(
            "golden: expected {MAX_SAMPLES} samples at most, got {count}"
        )));
    }
    let mut samples = Vec::with_capacity(count);
    for (index, golden) in manifest.golden.iter().enumerate() {
        let Golden { inputs, outputs, relative_tolerance, absolute_tolerance, .. } = golden;
        if let Some(outside) = [inputs, outputs].into_iter().find(|file| !is_inside(file)) {
            let reason =
                format!("golden[{index}]: expected a path inside the folder, got {outside:?}");
            return Err(invalid(reason));
        }
        let tolerances = [*relative_tolerance, *absolute_tolerance];
        let is_tolerance = |value: &f64| value.is_finite() && *value >= 0.0;
        if let Some(wrong) = tolerances.iter().find(|value| !is_tolerance(value)) {
            let reason = format!("golden[{index}]: expected a tolerance of 0 or more, got {wrong}");
            return Err(invalid(reason));
        }
        let path = version_folder.join(inputs);
        samples.push(GoldenFiles {
            inputs: read(&path)?,
            outputs: read(&version_folder.join(outputs))?,
            path,
            relative_tolerance: *relative_tolerance,
            absolute_tolerance: *absolute_tolerance,
        });
    }
    Ok(samples)
}

fn read(path: &Path) -> Result<Vec<u8>, RepositoryError> {
    let failed = |error: std::io::Error| RepositoryError::from_io(path, &error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("expected at most {MAX_FILE_BYTES} bytes of a golden sample");
        return Err(RepositoryError::Unreadable { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(golden: &str) -> Manifest {
        toml::from_str(golden).unwrap()
    }

    #[test]
    fn samples_are_read_with_their_tolerance() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in"), b"1").unwrap();
        std::fs::write(folder.path().join("out"), b"2").unwrap();
        let text = "[[golden]]\ninputs = \"in\"\noutputs = \"out\"\nrelative_tolerance = 0.5";
        let samples = read_golden(folder.path(), &manifest(text)).unwrap();
        assert_eq!(samples.len(), 1);
        assert_eq!((&*samples[0].inputs, &*samples[0].outputs), (&b"1"[..], &b"2"[..]));
        assert_eq!(samples[0].relative_tolerance, 0.5);
        assert_eq!(read_golden(folder.path(), &Manifest::default()), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in"), b"1").unwrap();
        let error = |more: &str| {
            let text = format!("[[golden]]\ninputs = \"in\"\n{more}");
            read_golden(folder.path(), &manifest(&text)).unwrap_err().to_string()
        };
        let missing = error("outputs = \"none\"");
        assert!(missing.ends_with("none: no such file or folder"), "{missing}");
        let outside = error("outputs = \"../in\"");
        assert!(outside.contains("golden[0]: expected a path inside the folder"), "{outside}");
        let wrong = error("outputs = \"in\"\nabsolute_tolerance = -1.0");
        assert!(wrong.contains("expected a tolerance of 0 or more, got -1"), "{wrong}");
        let sample = "[[golden]]\ninputs = \"in\"\noutputs = \"in\"\n";
        let many = read_golden(folder.path(), &manifest(&sample.repeat(65))).unwrap_err();
        assert!(many.to_string().contains("expected 64 samples at most, got 65"), "{many}");
    }
}
