//! Whether a file is a library that this program can use, and what must be so before one is.

use std::env;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Official libraries since 1.29 send telemetry unless this is 1 before they are loaded.
const TELEMETRY_VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

#[expect(
    clippy::disallowed_methods,
    reason = "the library reads the variable itself; the caller promises that no thread runs"
)]
/// Turns ONNX Runtime's telemetry off for this process and its children.
///
/// The first thing in `main`: no library is loaded without it.
///
/// # Safety
/// No other thread runs yet: writing the environment beside a thread that reads it is undefined.
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller promises that the process has one thread.
    unsafe { env::set_var(TELEMETRY_VARIABLE, "1") }
}

/// The version of the library at `path`, which may be a bare name that the system's loader knows.
///
/// Everything that `ort` would panic at is checked here: a file that is no library, a library
/// that is not ONNX Runtime, one for another processor, one that is too old.
///
/// # Errors
/// Why this program cannot use it.
pub fn version_of(path: &Path) -> Result<String, String> {
    if env::var_os(TELEMETRY_VARIABLE).is_none_or(|value| value != "1") {
        return Err(format!("{TELEMETRY_VARIABLE} is not 1: it would send telemetry"));
    }
    if path.is_file() {
        check_header(path)?;
    }
    // SAFETY: a library's initialisers run, which is what loading a library means that the
    // operator named or installed; nothing of it is used before it has been checked.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("the loader refuses it: {}", detail_of(&error)))?;
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: the symbol has had this signature since ONNX Runtime 1.0.
    let base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| "it has no OrtGetApiBase: not ONNX Runtime".to_owned())?;
    // SAFETY: as above; the base and its version are static data of the library.
    let version = unsafe {
        let base = base();
        if base.is_null() {
            return Err("its OrtGetApiBase answers nothing".to_owned());
        }
        CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    // A library that has threads of its own must not be unloaded: this handle is never closed.
    std::mem::forget(library);
    check_version(&version)?;
    Ok(version)
}

/// What the loader says itself, which is beneath the error.
fn detail_of(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split('.');
    let minor: Option<u32> = match (parts.next(), parts.next()) {
        (Some("1"), Some(minor)) => minor.parse().ok(),
        _ => None,
    };
    let needed = ort::MINOR_VERSION;
    match minor {
        None => Err(format!("its version {version:?} is not that of ONNX Runtime 1.x")),
        Some(minor) if minor < needed => {
            Err(format!("version {version} is too old: 1.{needed} or newer is needed"))
        }
        Some(_) => Ok(()),
    }
}

/// Refuses what is no library of this machine's kind. The loader would say of a library for
/// another processor only that there is no such file.
fn check_header(path: &Path) -> Result<(), String> {
    let mut header = [0u8; 20];
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    if file.read_exact(&mut header).is_err() || header[..4] != *b"\x7fELF" {
        return Err("it is not a shared library".to_owned());
    }
    let machine = u16::from_le_bytes([header[18], header[19]]);
    let wanted = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    if header[4] != 2 || header[5] != 1 || machine != wanted {
        let name = match machine {
            3 => "32-bit x86",
            40 => "32-bit ARM",
            62 => "x86_64",
            183 => "aarch64",
            243 => "RISC-V",
            _ => "another processor",
        };
        return Err(format!("it is for {name}, this machine is {}", env::consts::ARCH));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_own_words_are_passed_on() {
        crate::engine::onnxruntime::testing::allow_loading();
        let error = version_of(Path::new("libthere-is-no-such-library.so")).expect_err("no such");
        assert!(error.contains("No such file or directory"), "{error}");
    }

    #[test]
    fn versions_below_the_api_are_too_old() {
        assert_eq!(check_version("1.24.0"), Ok(()));
        assert_eq!(check_version("1.32.0"), Ok(()));
        let error = check_version("1.23.2").expect_err("1.23 lacks the API");
        assert_eq!(error, "version 1.23.2 is too old: 1.24 or newer is needed");
        assert!(check_version("2.0").is_err());
        assert!(check_version("").is_err());
    }
}
