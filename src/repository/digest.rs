//! SHA-256 of a file: how a manifest names content.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::RepositoryError;

/// Read at a time: large enough that the hash, not the system call, is what takes the time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A SHA-256 digest. Its text is 64 lower-case hexadecimal digits; `sha256:` may stand before.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{self}")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        let invalid = || format!("{text:?} is no SHA-256 digest: expected 64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |text: u8| char::from(text).to_digit(16).ok_or_else(invalid);
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            *byte = u8::try_from(value).expect("two hexadecimal digits are below 256");
        }
        Ok(Digest(bytes))
    }
}

/// Digest of a file's content.
///
/// # Errors
/// The file cannot be read.
pub fn digest_file(path: &Path) -> Result<Digest, RepositoryError> {
    let failed = |error: std::io::Error| RepositoryError::from_io(path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(Digest(hasher.finalize().into())),
            Ok(count) => hasher.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_has_the_digest_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(digest_file(&path).unwrap().to_string(), ABC);
        assert_eq!(digest_file(&path).unwrap(), Digest::of(b"abc"));
        let missing = folder.path().join("missing");
        assert_eq!(digest_file(&missing), Err(RepositoryError::Missing { path: missing }));
    }

    #[test]
    fn text_leads_back_to_the_digest_and_nonsense_is_refused() {
        assert_eq!(ABC.parse(), Ok(Digest::of(b"abc")));
        assert_eq!(format!("sha256:{ABC}").parse(), Ok(Digest::of(b"abc")));
        assert_eq!(ABC.to_uppercase().parse(), Ok(Digest::of(b"abc")));
        for wrong in ["", "sha256:", &ABC[1..], &ABC.replace('b', "g"), &"é".repeat(32)] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
        }
    }
}
