//! Promises about the files that ship, and about files, command line and folders together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::known_keys;
use super::model::known_model_keys;
use super::*;
use crate::batching::{BatchAxes, BatchingMode, LayoutChoice, PaddedAxis};
use crate::engine::{Device, DeviceChoice, EngineChoice, Precision};
use crate::lifecycle::{ModelSettings, NamedModel, VersionPolicy, WarmUp};
use crate::telemetry::logging::LogFormat;

const ONNXD_TOML: &str = include_str!("../../config/onnxd.toml");
const EXAMPLE_MODEL_TOML: &str = include_str!("../../config/model.toml");

/// The text with its examples (`#key = …`) turned into keys.
fn with_examples(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if example.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[') => {
            format!("{example}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Every key in a TOML text, as `section.key`; the user's own names below `open` left out.
fn written_keys(text: &str, open: &[&str]) -> BTreeSet<String> {
    fn walk(prefix: &str, value: &toml::Value, open: &[&str], keys: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) if !open.contains(&prefix) => {
                for (key, value) in table {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    let key = format!("{prefix}{dot}{key}");
                    walk(&key, value, open, keys);
                    keys.insert(key);
                }
            }
            toml::Value::Array(entries) if entries.iter().all(toml::Value::is_table) => {
                entries.iter().for_each(|entry| walk(prefix, entry, open, keys));
            }
            _ => (),
        }
    }
    let mut keys = BTreeSet::new();
    walk("", &toml::Value::Table(toml::from_str(text).expect("TOML")), open, &mut keys);
    keys
}

fn parse(text: &str) -> Result<Settings, Vec<String>> {
    let models = vec![NamedModel { name: None, path: PathBuf::from("m") }];
    let overrides = Overrides { models, ..Overrides::default() };
    assemble(Some((Path::new("/etc/onnxd/onnxd.toml"), text)), &overrides)
        .map_err(|problems| sentences(&problems))
}

fn sentences(problems: &ConfigProblems) -> Vec<String> {
    let short = |problem: &Problem| problem.to_string().replace("/etc/onnxd/", "");
    problems.list().iter().map(short).collect()
}

fn model(text: &str) -> Result<ModelSettings, Vec<String>> {
    parse_model_toml("model.toml", text, &standard_model_settings())
        .map_err(|problems| sentences(&problems))
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let mut expected = Settings::standard();
    expected.models = vec![NamedModel { name: None, path: PathBuf::from("m") }];
    assert_eq!(parse(ONNXD_TOML), Ok(expected));
    assert_eq!(model(EXAMPLE_MODEL_TOML), Ok(standard_model_settings()));
}

#[test]
fn the_shipped_files_have_every_key() {
    let text = with_examples(ONNXD_TOML);
    assert_eq!(written_keys(&text, &[]), known_keys(&text));
    let text = with_examples(EXAMPLE_MODEL_TOML);
    let open = ["axes", "padding", "labels", "sample_shapes", "warm_up.shapes"];
    let known = known_model_keys(&text);
    let is_own = |key: &&String| !open.iter().any(|open| key.starts_with(&format!("{open}.")));
    assert_eq!(written_keys(&text, &open), known.iter().filter(is_own).cloned().collect());
}

#[test]
fn the_examples_in_the_shipped_files_are_sound() {
    // The example of `versions.numbers` does not go with the default policy beside it.
    let text = |text: &str| with_examples(text).replace("numbers = [1, 2]", "");
    parse(&text(ONNXD_TOML)).expect("the examples of onnxd.toml");
    let settings = model(&text(EXAMPLE_MODEL_TOML)).expect("the examples of model.toml");
    assert_eq!(settings.batching.axes.len(), 3);
    assert_eq!(settings.session.tensorrt.profile_shapes.len(), 1);
}

#[test]
fn a_file_is_read_whole() {
    let settings = parse(
        "repositories = ['models', '/srv/more']
        [server]
        listen = ['0.0.0.0:80', 'unix:run/onnxd.sock']
        max_body = '1GiB'
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
fn a_models_file_is_read_whole() {
    let actual = model(
        "engine = 'tract'
        model_file = 'net.onnx'
        device = 'cpu'
        batching = 'force'
        max_batch_size = 64
        preferred_batch_sizes = [8, 64]
        max_queue_delay_ms = 1.5
        max_queue_size = 10
        default_timeout_ms = 200
        allow_timeout_override = false
        priority_levels = 3
        [instances]
        count = 2
        threads = 4
        layout = 'threads'
        cache = 'off'
        [axes]
        state = 1
        rate = 'none'
        [padding]
        ids.1 = 0
        'a.b'.2 = -1.5
        [versions]
        policy = 'specific'
        numbers = [2, 4]
        [sample_shapes]
        ids = [16]
        [labels]
        y = 'labels.txt'
        [cuda]
        memory_limit = '2GiB'
        tf32 = true
        [tensorrt]
        precision = 'float16'
        engine_cache = '/var/cache/trt'
        [[warm_up]]
        batch_size = 4
        shapes = { ids = [32] }
        [[warm_up]]
        count = 2",
    )
    .expect("a sound file");
    let mut expected = standard_model_settings();
    expected.engine = EngineChoice::Tract;
    expected.model_file = Some("net.onnx".to_owned());
    expected.session.device = DeviceChoice::Named(Device::Cpu);
    let batching = &mut expected.batching;
    batching.mode = BatchingMode::Force;
    batching.max_batch_size = Some(64);
    batching.preferred_batch_sizes = vec![8, 64];
    batching.max_queue_delay = Duration::from_micros(1500);
    batching.max_queue_size = 10;
    batching.default_timeout = Some(Duration::from_millis(200));
    batching.allow_timeout_override = false;
    (batching.priority_levels, batching.default_priority) = (3, 3);
    (batching.instances, batching.threads) = (Some(2), Some(4));
    batching.layout = LayoutChoice::Threads;
    batching.layout_cache = None;
    batching.axes = vec![
        BatchAxes { tensor: "rate".to_owned(), axis: None },
        BatchAxes { tensor: "state".to_owned(), axis: Some(1) },
    ];
    batching.padding = vec![
        PaddedAxis { input: "a.b".to_owned(), axis: 2, value: -1.5 },
        PaddedAxis { input: "ids".to_owned(), axis: 1, value: 0.0 },
    ];
    batching.sample_shapes.insert("ids".to_owned(), vec![16]);
    expected.versions = VersionPolicy::Specific(vec![2, 4]);
    expected.labels.insert("y".to_owned(), PathBuf::from("labels.txt"));
    expected.session.cuda.memory_limit_bytes = Some(2 << 30);
    expected.session.cuda.tf32 = true;
    expected.session.tensorrt.precision = Precision::Float16;
    expected.session.tensorrt.engine_cache = Some(PathBuf::from("/var/cache/trt"));
    let shapes = [("ids".to_owned(), vec![32])].into();
    expected.warm_up = vec![
        WarmUp { batch_size: 4, count: 1, shapes },
        WarmUp { batch_size: 1, count: 2, shapes: Default::default() },
    ];
    assert_eq!(actual, expected);
}

#[test]
fn every_problem_of_a_models_file_has_its_sentence() {
    let table = [
        ("max_batchsize = 1", "max_batchsize: unknown key, did you mean max_batch_size?"),
        (
            "max_batch_size = 0",
            "max_batch_size: expected a whole number from 1 to 65536, or \"auto\", got 0",
        ),
        (
            "max_batch_size = 4\npreferred_batch_sizes = [8]",
            "preferred_batch_sizes: preferred batch size 8 is above max_batch_size 4",
        ),
        (
            "max_queue_delay_ms = '5ms'",
            "max_queue_delay_ms: expected a number of milliseconds from 0, at most a year, got \
             \"5ms\"",
        ),
        (
            "default_priority = 2",
            "default_priority: default priority 2 is beyond the 0 priority_levels",
        ),
        (
            "engine = 'tract'\ndevice = 'tensorrt:1'",
            "device: engine tract runs on the CPU only: tensorrt:1 needs engine onnxruntime",
        ),
        (
            "axes.x = 'first'",
            "axes.x: expected a whole number from 0 to 63, or \"none\", got \"first\"",
        ),
        ("padding.x.last = 0", "padding.x.last: expected the number of an axis, from 0"),
        ("padding.x = 0", "padding.x: expected a table, got 0"),
        (
            "versions.policy = 'specific'",
            "versions.policy: policy \"specific\" needs numbers = [...]",
        ),
        ("versions.count = 2", "versions.count: is only read beside versions.policy"),
        (
            "versions = { policy = 'all', count = 2 }",
            "versions.count: count belongs to policy \"latest\"",
        ),
        (
            "versions = { policy = 'latest', numbers = [1] }",
            "versions.numbers: numbers belong to policy \"specific\"",
        ),
        (
            "versions = { policy = 'specific', numbers = [] }",
            "versions.numbers: expected a list of at least one entry, got an empty list",
        ),
        (
            "versions = { policy = 'specific', numbers = [0] }",
            "versions.numbers: expected a version number from 1, got 0",
        ),
        ("warm_up = [{ shapes = { x = 1 } }]", "warm_up.shapes.x: expected a list, got 1"),
        (
            "[[tensorrt.profile_shapes]]\ninput = 'x'\nminimum = [2]\noptimum = [1]\nmaximum = [3]",
            "tensorrt.profile_shapes.optimum: expected minimum <= optimum <= maximum on every \
             axis, got [2], [1], [3]",
        ),
        (
            "tensorrt.precision = 'fp16'",
            "tensorrt.precision: expected \"float32\", \"float16\" or \"int8\", got \"fp16\"",
        ),
    ];
    for (text, expected) in table {
        let problems = model(text).expect_err(text);
        let plain: Vec<String> = problems
            .iter()
            .map(|problem| problem.split_once(": ").expect("source first").1.to_owned())
            .collect();
        assert_eq!(plain, [expected], "{text}");
    }
}

#[test]
fn a_models_folder_gives_its_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let defaults = standard_model_settings();
    let read = || model_settings(path, &defaults);

    let settings = read().expect("an empty folder is the defaults");
    let cache = path.join(DEFAULT_LAYOUT_CACHE);
    assert_eq!(settings.batching.layout_cache.as_ref(), Some(&cache));

    let pbtxt = "name: 'other' max_batch_size: 4 dynamic_batching {} tag: 1
        output { name: 'y' label_filename: 'labels.txt' }";
    fs::write(path.join(CONFIG_PBTXT), pbtxt).expect("written");
    let problems = read().expect_err("no labels").to_string();
    let labels = path.join("labels.txt");
    assert_eq!(
        problems,
        format!(
            "{}: labels.y: no such file: {}",
            path.join(CONFIG_PBTXT).display(),
            labels.display()
        )
    );
    fs::write(&labels, "zero\none\n").expect("written");
    let settings = read().expect("sound");
    assert_eq!(settings.batching.max_batch_size, Some(4));
    assert_eq!(settings.labels.get("y"), Some(&labels));
    assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);

    fs::write(path.join(MODEL_TOML), "max_batch_size = 2").expect("written");
    let settings = read().expect("sound");
    assert_eq!(settings.batching.max_batch_size, Some(2));
    assert_eq!(settings.warnings, ["config.pbtxt is not read: model.toml is there as well"]);

    let from_request = model_settings_from_json("{\"max_batch_size\": 0}", path, &defaults);
    assert_eq!(from_request.map(|settings| settings.batching.mode), Ok(BatchingMode::Off));
}

#[test]
fn a_bare_file_has_the_defaults_and_caches_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("net.onnx");
    fs::write(&file, "").expect("written");
    // What lies beside it belongs to somebody else.
    fs::write(folder.path().join(MODEL_TOML), "max_batch_size = 2").expect("written");
    let settings = model_settings(&file, &standard_model_settings()).expect("defaults");
    assert_eq!(settings.batching.max_batch_size, None);
    let cache = folder.path().join("net.onnx.layout-cache.toml");
    assert_eq!(settings.batching.layout_cache, Some(cache));
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

proptest::proptest! {
    #[test]
    fn no_toml_panics(text in "(batching|max_batch_size|axes|padding|x|\\[|\\]|=|\\.|'|\\{|\\}|,|[0-9-]{1,20}|\n|\"auto\"){0,60}") {
        drop(parse(&text));
        drop(model(&text));
    }
}
