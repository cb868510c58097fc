//! `onnxd runtime`: puts ONNX Runtime in place, and shows where it is looked for.
//!
//! Reading order: `install` (from nothing to a library in place), `package` (which packages are
//! pinned, and `pip`), `archive` (wheels, tarballs, Debian packages to library files), `show`.

mod archive;
/// What the tests that call `pip` need is fetched as the integration tests fetch it.
#[cfg(test)]
#[path = "../../../tests/support/debian.rs"]
pub mod debian;
mod install;
mod package;
mod show;

pub use install::{InstallOptions, install, install_library};
pub use package::pip_download;
pub use show::show;
