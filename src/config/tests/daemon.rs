//! The daemon's file and the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::*;
use super::parse;
use crate::engine::{Device, DeviceChoice, EngineChoice};
use crate::lifecycle::NamedModel;
use crate::telemetry::logging::LogFormat;

#[test]
fn a_file_is_read_whole() {
    let settings = parse(
        "repositories = ['models', '/srv/more']
        [server]
        listen = ['0.0.0.0:80', 'unix:run/onnxd.sock']
        max_body = '1GiB'
        max_inflight = '4GiB'
        header_timeout = '500ms'
        allow_repository_control = true
        [engine]
        name = 'onnxruntime'
        device = 'cuda:1'
        onnxruntime.library = 'lib/libonnxruntime.so'
        [model_defaults]
        max_batch_size = 8
        instances.count = 2
        [loading]
        retries = 3
        [logging]
        format = 'json'
        level = 'warn,onnxd=debug'
        [traces]
        endpoint = 'http://collector:4318'
        sample_ratio = 0.1
        [shutdown]
        grace = '5s'",
    )
    .expect("a sound file");
    let below = |path: &str| Path::new("/etc/onnxd").join(path);
    assert_eq!(settings.repositories, [below("models"), PathBuf::from("/srv/more")]);
    let listen: Vec<String> = settings.server.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:80", "unix:/etc/onnxd/run/onnxd.sock"]);
    assert_eq!(settings.server.max_body_bytes, 1 << 30);
    assert_eq!(settings.server.max_inflight_bytes, 4 << 30);
    assert_eq!(settings.server.header_timeout, Duration::from_millis(500));
    assert!(settings.server.allow_repository_control);
    assert_eq!(settings.engine.engine, EngineChoice::OnnxRuntime);
    assert_eq!(settings.engine.onnxruntime_library, Some(below("lib/libonnxruntime.so")));
    assert_eq!(settings.model_defaults.engine, EngineChoice::OnnxRuntime);
    let device = DeviceChoice::Named(Device::Cuda(1));
    assert_eq!(settings.model_defaults.session.device, device);
    assert_eq!(settings.model_defaults.batching.max_batch_size, Some(8));
    assert_eq!(settings.model_defaults.batching.instances, Some(2));
    assert_eq!(settings.loading.retry.retries, 3);
    assert_eq!(settings.logging.format, LogFormat::Json);
    assert_eq!(settings.logging.level, "warn,onnxd=debug");
    assert_eq!(settings.traces.map(|traces| traces.sample_ratio), Some(0.1));
    assert_eq!(settings.shutdown.grace, Duration::from_secs(5));
}

#[test]
fn every_problem_of_the_daemons_file_is_told_at_once() {
    let text = "repositories = 'models'
        retries = 1
        [server]
        listen = ['everywhere']
        max_conections = 5
        max_body = 64
        header_timeout = '0s'
        triton_metrics = 'yes'
        [engine]
        name = 'torch'
        device = 'gpu'
        onnxruntime = 1
        [model_defaults]
        device = 'cpu'
        batching = 'on'
        axes = { x = 1 }
        [loading]
        retry_delay = '2min'
        [logging]
        format = 'xml'
        level = 'loud'
        [traces]
        endpoint = 'https://x'
        sample_ratio = 2
        [shutdown]
        grace = '1min'
        [[models]]
        name = 'x'";
    let expected = [
        "onnxd.toml: shutdown.grace: grace 1min leaves nothing of the deadline 25s",
        "onnxd.toml:1: repositories: expected a list, got \"models\"",
        "onnxd.toml:2: retries: unknown key",
        "onnxd.toml:4: server.listen: cannot listen on \"everywhere\": expected ADDRESS:PORT, \
         [IPV6]:PORT or unix:/path",
        "onnxd.toml:5: server.max_conections: unknown key, did you mean max_connections?",
        "onnxd.toml:6: server.max_body: expected a size such as 64MiB (B, KB, MB, GB, KiB, MiB or \
         GiB), got 64",
        "onnxd.toml:7: server.header_timeout: expected a duration from 1ms to 24h, got \"0s\"",
        "onnxd.toml:8: server.triton_metrics: expected true or false, got \"yes\"",
        "onnxd.toml:10: engine.name: unknown engine \"torch\": expected auto, onnxruntime or tract",
        "onnxd.toml:11: engine.device: unknown device \"gpu\": expected auto, cpu, cuda, cuda:N, \
         tensorrt or tensorrt:N",
        "onnxd.toml:12: engine.onnxruntime: expected a table, got 1",
        "onnxd.toml:14: model_defaults.device: unknown key",
        "onnxd.toml:15: model_defaults.batching: expected \"proven\", \"force\" or \"off\", got \
         \"on\"",
        "onnxd.toml:16: model_defaults.axes: unknown key",
        "onnxd.toml:18: loading.retry_delay: is longer than retry_delay_max",
        "onnxd.toml:20: logging.format: unknown log format \"xml\": expected text or json",
        "onnxd.toml:24: traces.sample_ratio: expected a number from 0 to 1, got 2",
        "onnxd.toml:27: models.path: missing: expected a model's file or folder",
    ];
    let actual = parse(text).expect_err("nothing in it is right");
    // The parts' own sentences may change without this test.
    let borrowed = |sentence: &&String| {
        !sentence.contains("logging.level") && !sentence.contains("traces.endpoint")
    };
    assert_eq!(actual.iter().filter(borrowed).collect::<Vec<_>>(), expected);
    assert_eq!(actual.len(), expected.len() + 2);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let path = "x".repeat(120);
    let table = [
        ("[server]\nlisten = ['[::1]:80', '[::1]:80']", "server.listen: [::1]:80 is there twice"),
        (
            "[engine]\nname = 'tract'\ndevice = 'cuda'",
            "engine.device: engine tract runs on the CPU only: cuda:0 needs engine onnxruntime",
        ),
        (
            "[server]\nmax_body = '1GiB'\nmax_inflight = '1GiB'",
            "server.max_inflight: 1GiB is less than twice max_body 1GiB: one body may take that \
             much, compressed and decompressed",
        ),
        (
            &format!("[server]\nlisten = ['unix:/{path}']"),
            &format!(
                "server.listen: unix:/{path} is too long for a unix socket: expected at most 107 \
                 bytes of path, got 121"
            ),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text), Err(vec![format!("onnxd.toml: {expected}")]), "{text}");
    }
    // Port 0 is a free port each time.
    parse("[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']").expect("two free ports");
}

#[test]
fn the_command_line_goes_before_the_file() {
    let named = |name: &str| NamedModel { name: Some(name.to_owned()), path: PathBuf::from("m") };
    let file = "repositories = ['/a']\n[server]\nnetwork_threads = 2\nmax_connections = 9\n\
                [engine]\nname = 'tract'\n[traces]\nendpoint = 'http://a'\nsample_ratio = 0.5";
    let overrides = Overrides {
        models: vec![named("one")],
        repositories: vec![PathBuf::from("/b")],
        network_threads: Some(4),
        engine: Some(EngineChoice::OnnxRuntime),
        device: Some(DeviceChoice::Named(Device::Cpu)),
        trace_endpoint: Some("http://b".to_owned()),
        triton_metrics: true,
        ..Overrides::default()
    };
    let settings = assemble(Some((Path::new("f.toml"), file)), &overrides).expect("sound");
    assert_eq!(settings.repositories, [PathBuf::from("/b")]);
    assert_eq!(settings.models, [named("one")]);
    assert_eq!((settings.server.network_threads, settings.server.max_connections), (4, 9));
    assert_eq!(settings.engine.engine, EngineChoice::OnnxRuntime);
    assert_eq!(settings.model_defaults.engine, EngineChoice::OnnxRuntime);
    assert_eq!(settings.model_defaults.session.device, DeviceChoice::Named(Device::Cpu));
    let traces = settings.traces.expect("both name a collector");
    assert_eq!((traces.endpoint.as_str(), traces.sample_ratio), ("http://b", 0.5));
    assert!(settings.server.triton_metrics);

    let twice = Overrides { models: vec![named("m"), named("m")], ..Overrides::default() };
    let problems = assemble(None, &twice).expect_err("one name for two");
    assert_eq!(problems.to_string(), "command line: models: two models are called \"m\"");
    let nothing = assemble(None, &Overrides::default()).expect_err("no model");
    assert!(nothing.to_string().starts_with("command line: models: nothing to serve"));
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("onnxd.toml");
    let read = || {
        let overrides = Overrides { config: Some(path.clone()), ..Overrides::default() };
        let problems = load(&overrides).expect_err("unreadable").to_string();
        let start = format!("{}: cannot be read: ", path.display());
        problems.strip_prefix(&start).unwrap_or(&problems).to_owned()
    };
    assert_eq!(read(), "no such file");
    fs::write(&path, [0xff, 0xfe]).expect("written");
    assert_eq!(read(), "not UTF-8 text");
    fs::write(&path, " ".repeat(1024 * 1024 + 1)).expect("written");
    assert_eq!(read(), "larger than 1048576 bytes");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder instead");
    assert!(!read().is_empty());
}
