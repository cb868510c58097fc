//! A folder of models, made in code or out of fixtures, and the daemon that serves it.

use std::path::{Path, PathBuf};

use onnxd::onnx::proto::ModelProto;

use super::daemon::Daemon;
use super::python::root;

/// A layout that needs no measurement: the model is ready at once, and its requests are run one
/// batch at a time, on a thread of their own.
pub const ONE_THREAD: &str =
    "[instances]\ncount = 1\nthreads = 1\nlayout = \"threads\"\ncache = \"off\"\n";

/// Both engines, for tests that hold of either.
pub const ENGINES: [&str; 2] = ["onnxruntime", "tract"];

pub struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Repository {
        Repository { folder: tempfile::tempdir().expect("a folder of the test's own") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn text(&self) -> &str {
        self.path().to_str().expect("a UTF-8 path")
    }

    /// Writes a file of the repository, its folders included.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        let folder = path.parent().expect("it is below the repository's folder");
        std::fs::create_dir_all(folder).expect("the folder is writable");
        std::fs::write(&path, content).expect("the folder is writable");
        path
    }

    /// Adds a version of a model.
    pub fn version(&self, name: &str, version: u64, model: &ModelProto) -> PathBuf {
        let path = self.write(&format!("{name}/{version}/model.onnx"), "");
        onnxd::onnx::write(&path, model).expect("the model is small and the folder writable");
        path
    }

    /// Adds a model of one version, with [`ONE_THREAD`] and these lines before it.
    pub fn model(&self, name: &str, model: &ModelProto, settings: &str) -> PathBuf {
        self.write(&format!("{name}/model.toml"), format!("{settings}\n{ONE_THREAD}"));
        self.version(name, 1, model)
    }

    /// The same with a model file's content.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>, settings: &str) -> PathBuf {
        self.write(&format!("{name}/model.toml"), format!("{settings}\n{ONE_THREAD}"));
        self.write(&format!("{name}/1/model.onnx"), content)
    }

    /// Adds one of the engines' fixtures under its own name.
    pub fn fixture(&self, name: &str) -> PathBuf {
        let path = root().join(format!("tests/data/engine/{name}.onnx"));
        self.file(name, std::fs::read(path).expect("it is there"), "")
    }

    /// Serves all of it, and waits until everything has been loaded or refused.
    pub fn serve(&self, engine: &str, more: &[&str]) -> Daemon {
        let library = super::onnxruntime_library().to_str().expect("a UTF-8 path");
        let arguments = ["--repository", self.text(), "--engine", engine, "--onnxruntime", library];
        Daemon::start(&[&arguments[..], more].concat())
    }
}
