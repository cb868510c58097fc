//! The systemd units, as `systemd-analyze` sees them.

use std::path::Path;
use std::process::Command;

use crate::support::debian::{installed_program, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What systemd before 253 says of the service, three times over.
const NOTIFY_RELOAD_IS_UNKNOWN: &str = "Failed to parse service type, ignoring: notify-reload";
const FIRST_WITH_NOTIFY_RELOAD: u32 = 253;

/// Tenths of the exposure that `systemd-analyze security` counts from 0 to 100. What remains is
/// the network and its own /proc, which serving needs.
const MOST_EXPOSURE: &str = "15";
/// With the drop-in for CUDA.
const MOST_EXPOSURE_WITH_DEVICES: &str = "25";

fn analyze() -> Command {
    Command::new(installed_program("systemd", "systemd-analyze"))
}

fn version() -> u32 {
    let output = run(analyze().arg("--version")).expect("it says its version");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let number = text.split_whitespace().nth(1).expect("systemd NUMBER (...)");
    number.split(['.', '~']).next().unwrap_or_default().parse().expect("a number")
}

/// The units in a folder of their own, with the binary under test in the place of the installed
/// one, and the service changed by a drop-in where there is one.
fn units(drop_in: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    for unit in ["onnxd.service", "onnxd.socket"] {
        let text = std::fs::read_to_string(Path::new(ROOT).join("systemd").join(unit))
            .expect("the file ships");
        let text = text.replace("/usr/bin/onnxd", env!("CARGO_BIN_EXE_onnxd"));
        std::fs::write(folder.path().join(unit), text).expect("the folder is writable");
    }
    if let Some(text) = drop_in {
        let drop_ins = folder.path().join("onnxd.service.d");
        std::fs::create_dir(&drop_ins).expect("the folder is writable");
        std::fs::write(drop_ins.join("local.conf"), text).expect("the folder is writable");
    }
    folder
}

/// What `verify` complains of.
fn complaints(folder: &Path) -> Vec<String> {
    let mut verify = analyze();
    // Manual pages are installed with a package, not in a build folder.
    verify.args(["verify", "--man=no"]);
    verify.args([folder.join("onnxd.service"), folder.join("onnxd.socket")]);
    let output = verify.output().expect("it runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !output.status.success() {
        lines.push(format!("verify ended with {}", output.status));
    }
    lines
}

/// The lines of the service's comments that begin at this one, without the comment signs.
fn commented_drop_in(first: &str) -> String {
    let service = std::fs::read_to_string(Path::new(ROOT).join("systemd/onnxd.service"))
        .expect("the file ships");
    let (_, rest) = service.split_once(first).unwrap_or_else(|| panic!("{first:?} is there"));
    let lines = rest.lines().skip(1).map_while(|line| line.strip_prefix("#   "));
    let text: Vec<&str> = lines.collect();
    assert!(!text.is_empty(), "a drop-in follows {first:?}");
    text.join("\n") + "\n"
}

#[test]
fn the_units_are_valid() {
    let folder = units(None);
    let known = |line: &String| {
        version() < FIRST_WITH_NOTIFY_RELOAD && line.ends_with(NOTIFY_RELOAD_IS_UNKNOWN)
    };
    let complaints: Vec<String> =
        complaints(folder.path()).into_iter().filter(|line| !known(line)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_drop_in_for_an_older_systemd_is_valid_everywhere() {
    let drop_in = commented_drop_in("# systemd before 253");
    assert!(drop_in.contains("Type=notify\n"), "{drop_in}");
    let folder = units(Some(&drop_in));
    let mut complaints = complaints(folder.path());
    // The main file is still read, and its type still unknown to an older one.
    complaints.retain(|line| !line.ends_with(NOTIFY_RELOAD_IS_UNKNOWN));
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn assert_exposure(drop_in: Option<&str>, most: &str) {
    let folder = units(None);
    let service = folder.path().join("onnxd.service");
    if let Some(drop_in) = drop_in {
        // Offline, `security` reads one file and no drop-ins.
        let text = std::fs::read_to_string(&service).expect("the file ships");
        std::fs::write(&service, format!("{text}\n{drop_in}")).expect("the folder is writable");
    }
    let mut security = analyze();
    security.args(["security", "--offline=true", "--no-pager"]);
    security.arg(format!("--threshold={most}")).arg(&service);
    if let Err(report) = run(&mut security) {
        let exposed: Vec<&str> = report.lines().filter(|line| !line.starts_with('✓')).collect();
        panic!("more exposed than {most}:\n{}", exposed.join("\n"));
    }
}

#[test]
fn the_service_is_hardened() {
    assert_exposure(None, MOST_EXPOSURE);
}

#[test]
fn devices_cost_little_of_the_hardening() {
    let drop_in = commented_drop_in("# CUDA and TensorRT need");
    assert!(drop_in.contains("PrivateDevices=no\n"), "{drop_in}");
    assert_exposure(Some(&drop_in), MOST_EXPOSURE_WITH_DEVICES);
}
