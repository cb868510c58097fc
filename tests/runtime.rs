//! ONNX Runtime put in place from a file and picked up; devices and libraries that cannot be had
//! are a refusal to start that says why, or a fallback that is said everywhere.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::digits_model;
use crate::support::graphs;
use crate::support::repository::Repository;
use crate::support::request::{fp32, infer_json, output};

/// No machine has as many: refused whatever build of ONNX Runtime and driver is here.
const NO_SUCH_DEVICE: &str = "cuda:63";

fn library() -> &'static str {
    crate::support::onnxruntime_library().to_str().expect("a UTF-8 path")
}

/// A command that knows of no ONNX Runtime but what lies below this folder.
fn at_home(mut command: Command, home: &Path) -> Command {
    command.env_remove("ORT_DYLIB_PATH").env("XDG_DATA_HOME", home).stdin(Stdio::null());
    command
}

fn onnxd(arguments: &[&str], home: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onnxd"));
    command.args(arguments);
    at_home(command, home).output().expect("the binary was built for this test")
}

/// What the library is called in the packages.
const NAME: &str = "libonnxruntime.so.1.32.0";

/// The library in a wheel, as PyPI has them.
fn wheel(folder: &Path) -> PathBuf {
    let path = folder.join("onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl");
    let file = std::fs::File::create(&path).expect("the folder is writable");
    let mut archive = zip::ZipWriter::new(file);
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let library = std::fs::read(library()).expect("it was installed");
    let entries: [(&str, &[u8]); 3] = [
        ("onnxruntime/__init__.py", b"import this\n"),
        (&format!("onnxruntime/capi/{NAME}"), &library),
        ("onnxruntime-1.32.0.dist-info/METADATA", b"Name: onnxruntime\n"),
    ];
    for (name, content) in entries {
        archive.start_file(name, stored).expect("an entry");
        archive.write_all(content).expect("the folder is writable");
    }
    archive.finish().expect("the folder is writable");
    path
}

/// The library in a tar archive, under this folder.
fn tar(folder: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_path_with_name(library(), format!("{folder}/{NAME}")).expect("it is installed");
    builder.into_inner().expect("memory takes it")
}

/// The library as the project's own releases have it: hardly compressed, which costs less time.
fn tgz(folder: &Path) -> PathBuf {
    let path = folder.join("onnxruntime-linux-x64-1.32.0.tgz");
    let file = std::fs::File::create(&path).expect("the folder is writable");
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(&tar("onnxruntime-linux-x64-1.32.0/lib")).expect("the folder is writable");
    encoder.finish().expect("the folder is writable");
    path
}

/// The library as Debian packages have it.
fn deb(folder: &Path) -> PathBuf {
    let path = folder.join("libonnxruntime1.32_1.32.0-1_amd64.deb");
    let data = zstd::encode_all(&tar("./usr/lib/x86_64-linux-gnu")[..], 1);
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.zst", Vec::new()),
        ("data.tar.zst", data.expect("memory takes it")),
    ];
    let file = std::fs::File::create(&path).expect("the folder is writable");
    let mut builder = ar::Builder::new(file);
    for (name, content) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, &content[..]).expect("the folder is writable");
    }
    path
}

/// Starts the daemon as this command and waits until it is ready.
fn start(command: Command) -> Daemon {
    let daemon = Daemon::launch(command);
    let begin = Instant::now();
    while daemon.get("/v2/health/ready").status != 200 {
        assert!(begin.elapsed() < PATIENCE, "it is not ready:\n{}", daemon.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    daemon
}

#[test]
fn a_wheel_is_installed_and_the_same_serve_picks_it_up() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let home = folder.path().join("data");
    let wheel = wheel(folder.path());
    let wheel = wheel.to_str().expect("a UTF-8 path");
    let installed = onnxd(&["runtime", "install", "--from", wheel], &home);
    let said = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert_eq!(installed.status.code(), Some(0), "{said}");
    assert!(said.contains("installed ONNX Runtime "), "{said}");
    let place = String::from_utf8_lossy(&installed.stdout).trim().to_owned();
    assert!(place.starts_with(home.to_str().expect("UTF-8")), "{place}");
    assert!(place.ends_with("/libonnxruntime.so") && Path::new(&place).is_file(), "{place}");

    let shown = onnxd(&["runtime", "show", "--json"], &home);
    let places: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let used: Vec<&Value> =
        places.as_array().expect("a list").iter().filter(|row| row["used"] == true).collect();
    assert_eq!(used.len(), 1, "{places}");
    assert_eq!(
        (&used[0]["place"], &used[0]["path"]),
        (&json!("onnxd runtime install"), &json!(place),)
    );

    let daemon = start(at_home(Daemon::command(&["--model", digits_model()]), &home));
    let parameters = daemon.get("/v2/models/digits").json()["parameters"].clone();
    assert_eq!(parameters["engine"], "onnxruntime");
    assert_eq!(parameters["engine_version"], used[0]["version"]);
    assert!(parameters["nodes"]["CPUExecutionProvider"].as_u64().is_some_and(|it| it > 0));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", daemon.id())).expect("it runs");
    assert!(maps.contains(&place), "it runs from another library");
    let labels = [("engine", "onnxruntime"), ("device", "cpu")];
    assert_eq!(daemon.metric("onnxd_engine_info", &labels), 1.0);
    let again = onnxd(&["runtime", "install", "--from", wheel], &home);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("is already installed"), "{said}");
}

#[test]
fn every_other_kind_of_package_is_installed_and_picked_up_as_well() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let packages = [tgz(folder.path()), deb(folder.path()), PathBuf::from(library())];
    for (index, package) in packages.iter().enumerate() {
        let home = folder.path().join(index.to_string());
        let package = package.to_str().expect("a UTF-8 path");
        let installed = onnxd(&["runtime", "install", "--from", package], &home);
        let said = String::from_utf8_lossy(&installed.stderr).into_owned();
        assert_eq!(installed.status.code(), Some(0), "{package}: {said}");
        let place = String::from_utf8_lossy(&installed.stdout).trim().to_owned();
        assert!(place.starts_with(home.to_str().expect("UTF-8")), "{package}: {place}");
        let same = std::fs::read(&place).expect("it is there")
            == std::fs::read(library()).expect("it is there");
        assert!(same, "{package}: another library");
        let daemon = start(at_home(Daemon::command(&["--model", digits_model()]), &home));
        let parameters = daemon.get("/v2/models/digits").json()["parameters"].clone();
        assert_eq!(parameters["engine"], "onnxruntime", "{package}");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", daemon.id()));
        assert!(maps.expect("it runs").contains(&place), "{package}: another library runs");
    }
}

#[test]
fn what_is_no_runtime_is_not_installed() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let file = folder.path().join("notes.whl");
    std::fs::write(&file, "not a wheel").expect("the folder is writable");
    let file = file.to_str().expect("a UTF-8 path");
    for (file, why) in [(file, "neither a wheel"), ("/no/such/file.whl", "No such file")] {
        let output = onnxd(&["runtime", "install", "--from", file], folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(file) && said.contains(why), "{said}");
    }
}

/// The daemon refuses to start; what it says.
fn refusal(command: &mut Command, code: i32) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the binary was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn a_library_that_is_named_or_broken_and_cannot_be_used_is_a_refusal_to_start() {
    let home = tempfile::tempdir().expect("a folder of the test's own");
    let digits = digits_model();
    let missing = ["--model", digits, "--onnxruntime", "/no/such/libonnxruntime.so"];
    for engine in ["auto", "onnxruntime"] {
        let mut command = Daemon::command(&missing);
        let said = refusal(command.args(["--engine", engine]), 1);
        assert!(said.contains("/no/such/libonnxruntime.so"), "{said}");
        assert!(said.contains("not there"), "{said}");
    }
    // Installed once, and damaged since: something slower without a word would be worse.
    let place = home.path().join("onnxd/onnxruntime/1.32.0/libonnxruntime.so");
    std::fs::create_dir_all(place.parent().expect("it has one")).expect("writable");
    std::fs::write(&place, "damaged").expect("writable");
    let mut command = at_home(Daemon::command(&["--model", digits]), home.path());
    let said = refusal(&mut command, 1);
    assert!(said.contains(place.to_str().expect("UTF-8")), "{said}");
}

#[test]
fn a_device_that_is_named_and_cannot_be_used_is_a_refusal_to_start_that_says_why() {
    let digits = digits_model();
    let arguments = ["--model", digits, "--engine", "onnxruntime", "--onnxruntime", library()];
    let mut command = Daemon::command(&arguments);
    let said = refusal(command.args(["--device", NO_SUCH_DEVICE]), 1);
    assert!(said.contains("device cuda:63 cannot be used: "), "{said}");
    // Also where no model was named: none of the repository's could be served.
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let arguments = ["--repository", repository.text(), "--onnxruntime", library()];
    let mut command = Daemon::command(&arguments);
    let said = refusal(command.args(["--device", NO_SUCH_DEVICE]), 1);
    assert!(said.contains("device cuda:63 cannot be used: "), "{said}");
    let mut command = Daemon::command(&["--engine", "tract", "--model", digits]);
    let said = refusal(command.args(["--device", "cuda"]), 2);
    assert!(said.contains("engine tract runs on the CPU only"), "{said}");
}

#[test]
fn a_device_that_one_model_names_for_itself_is_that_models_failure() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    let device = format!("device = \"{NO_SUCH_DEVICE}\"\n");
    repository.model("elsewhere", &graphs::affine(), &device);
    let daemon = repository.serve("onnxruntime", &[]);
    let refused = infer_json(&daemon, "elsewhere", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("device cuda:63 cannot be used: "), "{}", refused.text());
    let answer = infer_json(&daemon, "affine", &[fp32("x", &[1, 4], &[1.0; 4])]);
    assert_eq!(output(&answer, "y"), json!(vec![3.0; 4]));
}

/// A driver that is there and drives nothing: enough to make a better device look possible.
fn fake_driver(folder: &Path) {
    let source = folder.join("driver.c");
    std::fs::write(&source, "int cuInit(unsigned f) { (void)f; return 100; }\n").expect("writable");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([folder.join("libcuda.so.1"), source])
        .status()
        .expect("a C compiler, which building this project needs too");
    assert!(status.success());
}

#[test]
fn auto_falls_back_and_log_metadata_and_metrics_say_what_really_runs_and_why() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    fake_driver(folder.path());
    let mut command = Daemon::command(&[
        "--model",
        digits_model(),
        "--device",
        "auto",
        "--onnxruntime",
        library(),
    ]);
    command.env("LD_LIBRARY_PATH", folder.path());
    let daemon = start(command);
    let parameters = daemon.get("/v2/models/digits").json()["parameters"].clone();
    assert_eq!(parameters["device"], "cpu");
    let reason = parameters["fallback_reason"].as_str().expect("why it is not the GPU");
    assert!(reason.starts_with("cuda:0: "), "{reason}");
    let events = daemon.events("model fell back to another device");
    assert_eq!(events.len(), 1, "{}", daemon.log());
    assert_eq!((&events[0]["level"], &events[0]["device"]), (&json!("WARN"), &json!("cpu")));
    assert_eq!(events[0]["reason"], reason);
    assert_eq!(daemon.metric("onnxd_device_fallbacks_total", &[("model", "digits")]), 1.0);
    assert_eq!(daemon.metric("onnxd_engine_info", &[("device", "cpu")]), 1.0);
    let ready = daemon.events("model ready");
    assert_eq!((&ready[0]["device"], &ready[0]["engine"]), (&json!("cpu"), &json!("onnxruntime")));
}
