//! Promises about what of Triton's configuration is honoured, refused or named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::model::standard_model_settings;
use super::*;
use crate::batching::BatchingMode;
use crate::engine::{Device, DeviceChoice, Precision, ProfileShape};
use crate::lifecycle::{VersionPolicy, WarmUp};

fn settings(text: &str) -> ModelSettings {
    match parse_pbtxt("config.pbtxt", text, &standard_model_settings()) {
        Ok(settings) => settings,
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

fn problems(text: &str) -> Vec<String> {
    match parse_pbtxt("f", text, &standard_model_settings()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_configuration_is_the_daemons_defaults() {
    assert_eq!(settings(""), standard_model_settings());
    assert_eq!(settings("# nothing\n"), standard_model_settings());
}

#[test]
fn a_usual_configuration_is_honoured_whole() {
    let actual = settings(
        r#"
        name: "resnet"
        default_model_filename: "net.onnx"
        platform: "onnxruntime_onnx"
        max_batch_size: 16
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 1000 ] label_filename: "labels.txt" } ]
        dynamic_batching {
            preferred_batch_size: [ 8, 16 ]
            max_queue_delay_microseconds: 500
            priority_levels: 3
            default_priority_level: 2
            default_queue_policy {
                timeout_action: REJECT
                default_timeout_microseconds: 200000
                allow_timeout_override: true
                max_queue_size: 64
            }
        }
        instance_group [ { count: 2 kind: KIND_GPU gpus: [ 1 ] } ]
        version_policy: { specific { versions: [ 2, 5 ] } }
        parameters { key: "intra_op_thread_count" value { string_value: "3" } }
        parameters { key: "gpu_mem_limit" value { string_value: "4294967296" } }
        model_warmup [ {
            name: "sample" batch_size: 4 count: 10
            inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 224, 224 ] zero_data: true } }
        } ]
        "#,
    );
    let mut expected = standard_model_settings();
    expected.model_file = Some("net.onnx".to_owned());
    let batching = &mut expected.batching;
    batching.max_batch_size = Some(16);
    batching.preferred_batch_sizes = vec![8, 16];
    batching.max_queue_delay = Duration::from_micros(500);
    batching.priority_levels = 3;
    batching.default_priority = 2;
    batching.default_timeout = Some(Duration::from_millis(200));
    batching.allow_timeout_override = false;
    batching.max_queue_size = 64;
    batching.instances = Some(2);
    batching.threads = Some(3);
    batching.sample_shapes.insert("x".to_owned(), vec![3, 224, 224]);
    expected.session.device = DeviceChoice::Named(Device::Cuda(1));
    expected.session.cuda.memory_limit_bytes = Some(1 << 32);
    expected.versions = VersionPolicy::Specific(vec![2, 5]);
    expected.labels.insert("y".to_owned(), PathBuf::from("labels.txt"));
    let shapes = [("x".to_owned(), vec![3, 224, 224])].into();
    expected.warm_up = vec![WarmUp { batch_size: 4, count: 10, shapes }];
    assert_eq!(actual, expected);
}

#[test]
fn fixed_sizes_of_inputs_serve_as_samples() {
    let table = [
        ("input { name: 'x' dims: [ 3, 4 ] }", Some(vec![3, 4])),
        ("input { name: 'x' dims: [ -1, 4 ] }", None),
        ("input { name: 'x' dims: [ 1 ] reshape { shape: [ ] } }", None),
        ("input { name: 'x' }", None),
    ];
    for (text, expected) in table {
        let shapes = settings(text).batching.sample_shapes;
        assert_eq!(shapes.get("x"), expected.as_ref(), "{text}");
    }
}

#[test]
fn batching_is_what_it_is_in_triton() {
    let table = [
        ("max_batch_size: 0", BatchingMode::Off, None),
        ("max_batch_size: 8", BatchingMode::Off, None),
        ("max_batch_size: 8 dynamic_batching {}", BatchingMode::Proven, Some(8)),
        ("dynamic_batching { }", BatchingMode::Proven, None),
        ("name: 'm'", BatchingMode::Proven, None),
    ];
    for (text, mode, rows) in table {
        let batching = settings(text).batching;
        assert_eq!((batching.mode, batching.max_batch_size), (mode, rows), "{text}");
    }
}

#[test]
fn versions_are_chosen_as_asked() {
    let table = [
        ("version_policy { all {} }", VersionPolicy::All),
        ("version_policy: {all{}}", VersionPolicy::All),
        ("version_policy { latest { num_versions: 3 } }", VersionPolicy::Latest(3)),
        ("version_policy { latest {} }", VersionPolicy::Latest(1)),
        ("version_policy { specific { versions: 4 } }", VersionPolicy::Specific(vec![4])),
    ];
    for (text, expected) in table {
        assert_eq!(settings(text).versions, expected, "{text}");
    }
}

#[test]
fn instances_run_where_their_group_says() {
    let table = [
        ("instance_group { count: 4 kind: KIND_CPU }", DeviceChoice::Named(Device::Cpu), Some(4)),
        ("instance_group { kind: KIND_GPU }", DeviceChoice::Named(Device::Cuda(0)), None),
        ("instance_group { gpus: 2 }", DeviceChoice::Named(Device::Cuda(2)), None),
        ("instance_group { count: 1 }", DeviceChoice::Auto, Some(1)),
        ("instance_group { kind: KIND_AUTO }", DeviceChoice::Auto, None),
    ];
    for (text, device, instances) in table {
        let actual = settings(text);
        assert_eq!(
            (actual.session.device, actual.batching.instances),
            (device, instances),
            "{text}"
        );
        assert_eq!(actual.warnings, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn tensorrt_takes_its_options() {
    let actual = settings(
        r#"
        instance_group { kind: KIND_GPU gpus: 1 }
        optimization {
            cuda { graphs: true }
            execution_accelerators {
                gpu_execution_accelerator : [ {
                    name : "tensorrt"
                    parameters { key: "precision_mode" value: "FP16" }
                    parameters { key: "max_workspace_size_bytes" value: "1073741824" }
                    parameters { key: "trt_engine_cache_enable" value: "true" }
                    parameters { key: "trt_engine_cache_path" value: "/var/cache/trt" }
                    parameters { key: "trt_timing_cache_enable" value: "1" }
                    parameters { key: "trt_cuda_graph_enable" value: "1" }
                    parameters { key: "trt_profile_min_shapes" value: "a:b:1x3,c:1" }
                    parameters { key: "trt_profile_opt_shapes" value: "a:b:8x3,c:4" }
                    parameters { key: "trt_profile_max_shapes" value: "a:b:16x3,c:8" }
                    parameters { key: "trt_dla_core" value: "0" }
                } ]
            }
        }
        "#,
    );
    assert_eq!(actual.session.device, DeviceChoice::Named(Device::TensorRt(1)));
    assert!(actual.session.cuda.cuda_graph);
    let tensorrt = actual.session.tensorrt;
    assert_eq!(tensorrt.precision, Precision::Float16);
    assert_eq!(tensorrt.workspace_bytes, Some(1 << 30));
    assert_eq!(tensorrt.engine_cache.as_deref(), Some(Path::new("/var/cache/trt")));
    assert_eq!(tensorrt.timing_cache.as_deref(), Some(Path::new("tensorrt-cache")));
    assert!(tensorrt.cuda_graph);
    let shape =
        |input: &str, minimum: &[usize], optimum: &[usize], maximum: &[usize]| ProfileShape {
            input: input.to_owned(),
            minimum: minimum.to_vec(),
            optimum: optimum.to_vec(),
            maximum: maximum.to_vec(),
        };
    let expected = [shape("a:b", &[1, 3], &[8, 3], &[16, 3]), shape("c", &[1], &[4], &[8])];
    assert_eq!(tensorrt.profile_shapes, expected);
    let accelerator = "optimization.execution_accelerators.gpu_execution_accelerator";
    let warning =
        format!("{accelerator}.parameters.trt_dla_core is not honoured: no such option here");
    assert_eq!(actual.warnings, [warning]);
}

#[test]
fn what_is_not_honoured_is_named() {
    let table = [
        ("sequence_batching { direct {} }", "sequence_batching"),
        ("response_cache { enable: true }", "response_cache.enable"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled"),
        ("model_operations { op_library_filename: 'x' }", "model_operations"),
        ("runtime: 'x'", "runtime"),
        ("input { name: 'x' reshape { shape: [ ] } }", "input.reshape"),
        ("input { name: 'x' allow_ragged_batch: true }", "input.allow_ragged_batch"),
        ("input { name: 'x' optional: true }", "input.optional"),
        ("input { name: 'x' format: FORMAT_NCHW }", "input.format"),
        ("output { name: 'y' is_shape_tensor: true }", "output.is_shape_tensor"),
        ("dynamic_batching { preserve_ordering: true }", "dynamic_batching.preserve_ordering"),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value {} } }",
            "dynamic_batching.priority_queue_policy",
        ),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "dynamic_batching.default_queue_policy.timeout_action",
        ),
        (
            "dynamic_batching { default_queue_policy { max_queue_size: 0 } }",
            "dynamic_batching.default_queue_policy.max_queue_size",
        ),
        ("max_batch_size: 0 dynamic_batching {}", "dynamic_batching"),
        ("instance_group { gpus: [ 0, 1 ] }", "instance_group.gpus"),
        ("instance_group [ { count: 1 }, { count: 2 } ]", "instance_group"),
        ("instance_group { rate_limiter { priority: 1 } }", "instance_group.rate_limiter"),
        ("instance_group { host_policy: 'x' }", "instance_group.host_policy"),
        ("optimization { graph { level: 1 } }", "optimization.graph"),
        ("optimization { eager_batching: true }", "optimization.eager_batching"),
        ("optimization { cuda { busy_wait_events: true } }", "optimization.cuda.busy_wait_events"),
        (
            "optimization { execution_accelerators { cpu_execution_accelerator { name: 'x' } } }",
            "optimization.execution_accelerators.cpu_execution_accelerator",
        ),
        (
            "optimization { execution_accelerators { gpu_execution_accelerator { name: 'x' } } }",
            "optimization.execution_accelerators.gpu_execution_accelerator.name",
        ),
        (
            "parameters { key: 'execution_mode' value { string_value: '1' } }",
            "parameters.execution_mode",
        ),
        (
            "model_warmup { inputs { key: 'x' value { dims: 1 random_data: true } } }",
            "model_warmup.inputs.value.random_data",
        ),
        ("brand_new { a: 1 }", "brand_new"),
        ("[ext.name]: 1", "[ext.name]"),
    ];
    for (text, field) in table {
        let warnings = settings(text).warnings;
        let start = format!("{field} is not honoured: ");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&start), "{text}: {warnings:?}");
    }
}

#[test]
fn what_is_off_or_default_is_not_worth_a_warning() {
    let text = "
        response_cache { enable: false }
        model_transaction_policy { decoupled: false }
        input { name: 'x' data_type: TYPE_FP32 dims: -1 format: FORMAT_NONE optional: false }
        output { name: 'y' label_filename: '' }
        optimization { eager_batching: false }
        dynamic_batching { preserve_ordering: false }
        dynamic_batching { default_queue_policy { timeout_action: REJECT } }
        backend: ''
        default_model_filename: ''";
    assert_eq!(settings(text).warnings, Vec::<String>::new());
}

#[test]
fn an_unknown_field_is_told_what_it_may_have_meant() {
    let warnings = settings("max_batchsize: 8\ninput { nmae: 'x' }").warnings;
    let expected = [
        "input.nmae is not honoured: the field is unknown, did you mean name?",
        "max_batchsize is not honoured: the field is unknown, did you mean max_batch_size?",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn every_wrong_field_is_told_at_once() {
    let text = "max_batch_size: -1
        platform: \"tensorrt_plan\"
        backend: \"python\"
        ensemble_scheduling { }
        input { name: 1 data_type: TYPE_FP8 dims: [ -2 ] }
        dynamic_batching { preferred_batch_size: 0 priority_levels: 1 default_priority_level: 2 }
        instance_group { kind: 9 }
        version_policy { specific { } }
        parameters { key: 'intra_op_thread_count' value { string_value: 'many' } }
        output: 3
        response_cache { enable: 'yes' }";
    let expected = [
        "f:1: max_batch_size: expected a whole number from 0 to 65536, got -1",
        "f:2: platform: \"tensorrt_plan\" cannot be served: expected \"onnxruntime_onnx\"",
        "f:3: backend: \"python\" cannot be served: expected \"onnxruntime\"",
        "f:4: ensemble_scheduling: ensembles cannot be served: expected a single ONNX model",
        "f:5: input.data_type: expected TYPE_INVALID, TYPE_BOOL, TYPE_UINT8, TYPE_UINT16, \
         TYPE_UINT32, TYPE_UINT64, TYPE_INT8, TYPE_INT16, TYPE_INT32, TYPE_INT64, TYPE_FP16, \
         TYPE_FP32, TYPE_FP64, TYPE_STRING, TYPE_BF16, got TYPE_FP8",
        "f:5: input.dims: expected a whole number from -1 to 4294967295, got -2",
        "f:5: input.name: expected a quoted text, got 1",
        "f:6: dynamic_batching.preferred_batch_size: expected a whole number from 1 to 65536, \
         got 0",
        "f:6: dynamic_batching.default_priority_level: 2 is beyond the 1 priority_levels",
        "f:7: instance_group.kind: expected KIND_AUTO, KIND_GPU, KIND_CPU, KIND_MODEL, got 9",
        "f:8: version_policy.specific: names no version: expected versions: [ 1, ... ]",
        "f:9: parameters: intra_op_thread_count: expected a whole number from 0 to 1024, \
         got \"many\"",
        "f:10: output: expected a message in braces, got 3",
        "f:11: response_cache.enable: expected true or false, got \"yes\"",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn accelerators_refuse_options_that_cannot_be() {
    let options = |key: &str, value: &str| {
        problems(&format!(
            "optimization {{ execution_accelerators {{ gpu_execution_accelerator {{
                name: 'tensorrt' parameters {{ key: '{key}' value: '{value}' }} }} }} }}"
        ))
    };
    let place = "f:2: optimization.execution_accelerators.gpu_execution_accelerator.parameters";
    let table = [
        ("precision_mode", "FP8", "precision_mode cannot be \"FP8\""),
        ("max_workspace_size_bytes", "1GB", "max_workspace_size_bytes cannot be \"1GB\""),
        ("trt_engine_cache_enable", "on", "trt_engine_cache_enable cannot be \"on\""),
        ("trt_profile_min_shapes", "x", "trt_profile_min_shapes cannot be \"x\""),
        ("trt_profile_min_shapes", "x:1x", "trt_profile_min_shapes cannot be \"x:1x\""),
        ("trt_profile_min_shapes", "x:1x2", "trt_profile_opt_shapes has no shape for input \"x\""),
    ];
    for (key, value, reason) in table {
        assert_eq!(options(key, value), [format!("{place}: {reason}")], "{key}");
    }
}

#[test]
fn json_is_read_as_the_text_is() {
    let json = r#"{
        "name": "m", "maxBatchSize": 8, "dynamic_batching": {"preferred_batch_size": [4]},
        "instance_group": [{"kind": "KIND_CPU", "count": 2}],
        "parameters": {"intra_op_thread_count": {"string_value": "2"}},
        "version_policy": {"latest": {"num_versions": "2"}},
        "brand_new": null
    }"#;
    let text = "max_batch_size: 8 dynamic_batching { preferred_batch_size: 4 }
        instance_group { kind: KIND_CPU count: 2 }
        parameters { key: 'intra_op_thread_count' value { string_value: '2' } }
        version_policy { latest { num_versions: 2 } }";
    let json = parse_json("config", json, &standard_model_settings());
    assert_eq!(json, Ok(settings(text)));
    let problem = parse_json("config", "{\"max_batch_size\": true}", &standard_model_settings());
    let expected = "config: max_batch_size: expected a whole number from 0 to 65536, got true";
    assert_eq!(problem.map_err(|problems| problems.to_string()), Err(expected.to_owned()));
}

#[test]
fn both_words_for_who_runs_a_model_are_taken() {
    for text in [
        "platform: 'onnxruntime_onnx' backend: 'onnxruntime'",
        "platform: 'onnx_onnxv1' backend: 'onnxd'",
        "platform: '' backend: ''",
    ] {
        assert_eq!(settings(text), standard_model_settings(), "{text}");
    }
}

#[test]
fn another_name_than_the_folders_is_said() {
    let warning = |text| name_warning(text, Path::new("/models/digits"));
    assert_eq!(warning("name: 'digits'"), None);
    assert_eq!(warning("name: ''"), None);
    assert_eq!(warning("max_batch_size: 1"), None);
    let expected = "name \"other\" is not honoured: a model is called as its folder";
    assert_eq!(warning("name: 'other'").as_deref(), Some(expected));
}

#[test]
fn the_fuzzers_examples_are_all_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config_pbtxt");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is in the repository") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("the corpus is text");
        let result = parse_pbtxt("f", &text, &standard_model_settings());
        if path.extension().is_some_and(|extension| extension == "pbtxt") {
            assert!(result.is_ok(), "{}: {result:?}", path.display());
            read += 1;
        }
    }
    assert!(read >= 10, "only {read} examples");
}

/// Words and signs that a configuration has, in any order.
const PIECES: &str = concat!(
    "(name|max_batch_size|input|output|dynamic_batching|instance_group|parameters|key|value|",
    "version_policy|model_warmup|[:{}<>\\[\\],; '\"]|[0-9-]{1,20}|TYPE_FP32|true){0,60}"
);

proptest::proptest! {
    #[test]
    fn no_configuration_panics(text in PIECES) {
        drop(parse_pbtxt("f", &text, &standard_model_settings()));
    }
}
