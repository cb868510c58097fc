//! A model's own file, and the folder it lies in.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::model_file;
use crate::batching::{BatchAxes, BatchingMode, LayoutChoice, PaddedAxis};
use crate::engine::{Device, DeviceChoice, EngineChoice, Precision};
use crate::lifecycle::{VersionPolicy, WarmUp};

#[test]
fn a_models_file_is_read_whole() {
    let actual = model_file(
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
        let problems = model_file(text).expect_err(text);
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
fn a_load_request_names_files_of_the_models_folder_only() {
    let folder = PathBuf::from("/repository/m");
    let mut defaults = standard_model_settings();
    // The operator may say what a client may not.
    defaults.session.tensorrt.timing_cache = Some("/var/cache/timing".into());
    let read = |json: &str| model_settings_from_json(json, &folder, &defaults);
    let labels =
        |path: &str| json!({"output": [{"name": "y", "label_filename": path}]}).to_string();
    for inside in ["labels.txt", "./data/labels.txt", "/repository/m/labels.txt"] {
        let settings = read(&labels(inside)).expect(inside);
        assert!(settings.labels["y"].starts_with(&folder), "{:?}", settings.labels);
        let timing = settings.session.tensorrt.timing_cache;
        assert_eq!(timing, Some("/var/cache/timing".into()));
    }
    let accelerated = |key: &str| {
        let on = "1";
        let mut parameters = json!({"trt_engine_cache_enable": on, "trt_timing_cache_enable": on});
        parameters[key] = json!("../cache");
        let accelerator = json!({"name": "tensorrt", "parameters": parameters});
        let accelerators = json!({"gpu_execution_accelerator": [accelerator]});
        json!({"optimization": {"execution_accelerators": accelerators}}).to_string()
    };
    let cache = "/repository/m/../cache";
    let table = [
        (labels("/etc/passwd"), "labels.y", "/etc/passwd"),
        (labels("../n/labels.txt"), "labels.y", "/repository/m/../n/labels.txt"),
        (labels("a/../../n/x"), "labels.y", "/repository/m/a/../../n/x"),
        (accelerated("trt_engine_cache_path"), "tensorrt.engine_cache", cache),
        (accelerated("trt_timing_cache_path"), "tensorrt.timing_cache", cache),
        (accelerated("int8_calibration_table_name"), "tensorrt.int8_calibration_table", cache),
    ];
    for (json, key, path) in table {
        let problems = read(&json).expect_err(&json).to_string();
        let expected = "expected a path below the model's folder, got";
        assert_eq!(problems, format!("config: {key}: {expected} {path}"));
    }
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
