//! Tensors of every type and shape through the daemon, and models of every version of the
//! standard, on both engines. (NVIDIA's client sends every type in JSON too: `tritonclient`.)

use bytes::Bytes;
use onnxd::tensor::{DataType, Shape, Tensor};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::graphs;
use crate::support::repository::{ENGINES, Repository};
use crate::support::request::{at_once, fp32, infer, infer_json, output, send};

/// Any bits that the type admits, infinities and NaNs included; strings are ASCII, which every
/// engine takes.
fn any_bits(data_type: DataType, shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let shape = Shape::from_slice(shape);
    if data_type == DataType::String {
        let text =
            |index: usize| Bytes::from(vec![((index * 89 + seed) % 128) as u8; (index + seed) % 4]);
        return Tensor::strings(shape, (0..count).map(text).collect()).expect("the count fits");
    }
    let size = data_type.size().expect("it has one");
    let byte = |index: usize| (index * 167 + index / 7 + seed * 31) as u8;
    let bytes: Vec<u8> = match data_type {
        DataType::Bool => (0..count).map(|index| byte(index) & 1).collect(),
        _ => (0..count * size).map(byte).collect(),
    };
    Tensor::numbers(data_type, shape, bytes.into()).expect("the count fits")
}

/// Every type at every shape; each model is called after both.
fn identities(shapes: &[(&str, &str)]) -> Repository {
    let repository = Repository::new();
    for data_type in DataType::ALL {
        for (name, shape) in shapes {
            let name = format!("{}_{name}", data_type.protocol_name());
            repository.model(&name, &graphs::identity(data_type, shape), "");
        }
    }
    repository
}

/// What goes in comes out, bit for bit.
fn assert_same(daemon: &Daemon, model: &str, tensor: &Tensor) {
    let answer = infer(daemon, model, &[("x", tensor)], &["y".to_owned()]);
    assert_eq!(answer[0].shape(), tensor.shape(), "{model}");
    assert!(answer[0] == *tensor, "{model} of shape {:?}", tensor.shape());
}

#[test]
fn tensors_of_every_type_and_shape_come_back_bit_for_bit() {
    let shapes = [("scalar", ""), ("fixed", "2, 3"), ("open", "batch, 3, length")];
    let repository = identities(&shapes);
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        for data_type in DataType::ALL {
            let name = data_type.protocol_name();
            if engine == "tract" && data_type == DataType::BFloat16 {
                // Refused at load: what tract cannot run is never wrong.
                let refused = infer_json(&daemon, "BF16_fixed", &[]);
                assert_eq!(refused.status, 503, "{}", refused.text());
                continue;
            }
            assert_same(&daemon, &format!("{name}_scalar"), &any_bits(data_type, &[], 1));
            assert_same(&daemon, &format!("{name}_fixed"), &any_bits(data_type, &[2, 3], 2));
            for (seed, shape) in [[1, 3, 1], [4, 3, 5], [1, 3, 0], [2, 3, 0]].iter().enumerate() {
                assert_same(&daemon, &format!("{name}_open"), &any_bits(data_type, shape, seed));
            }
            // Several at once, of unlike lengths: whatever batch each was put in with.
            at_once(4, |index| {
                let tensor = any_bits(data_type, &[index + 1, 3, 2 + index % 2], index);
                assert_same(&daemon, &format!("{name}_open"), &tensor);
            });
        }
    }
}

#[test]
fn ranks_may_be_open_and_shapes_depend_on_values() {
    let repository = Repository::new();
    repository.fixture("unknown_rank");
    repository.fixture("nonzero");
    repository.fixture("scalar");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let ask = |model: &str, shape: &[usize], data: &[f32]| {
            let answer = infer_json(&daemon, model, &[fp32("x", shape, data)]);
            let data = output(&answer, "y");
            (answer.json()["outputs"][0]["shape"].clone(), data)
        };
        let negated = (json!([2, 1, 1]), json!([-1.0, 2.0]));
        assert_eq!(ask("unknown_rank", &[2, 1, 1], &[1.0, -2.0]), negated, "{engine}");
        assert_eq!(ask("unknown_rank", &[], &[4.0]), (json!([]), json!([-4.0])), "{engine}");
        let none = (json!([1, 0]), json!([]));
        assert_eq!(ask("nonzero", &[2], &[0.0, 0.0]), none, "{engine}");
        let two = (json!([1, 2]), json!([0, 2]));
        assert_eq!(ask("nonzero", &[3], &[7.0, 0.0, -1.0]), two, "{engine}");
        // A scalar may come bare.
        let bare = json!({"name": "x", "datatype": "FP32", "shape": [], "data": 2.5});
        let answer = infer_json(&daemon, "scalar", &[bare]);
        assert_eq!(output(&answer, "y"), json!([3.5]), "{engine}");
        assert_eq!(daemon.get("/v2/models/scalar").json()["inputs"][0]["shape"], json!([]));
    }
}

#[test]
fn a_batch_of_no_rows_is_answered_or_refused_and_never_wrong() {
    let repository = identities(&[("open", "batch, 3")]);
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let answer = infer_json(&daemon, "FP32_open", &[fp32("x", &[0, 3], &[])]);
        assert_eq!(output(&answer, "y"), json!([]), "{engine}");
        assert_eq!(answer.json()["outputs"][0]["shape"], json!([0, 3]), "{engine}");
        assert_same(&daemon, "FP32_open", &any_bits(DataType::Float32, &[2, 3], 0));
    }
}

#[test]
fn what_json_has_no_number_for_comes_in_bytes_and_goes_as_the_usual_words() {
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5];
        let header = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4],
            "parameters": {"binary_data_size": 16}}]})
        .to_string();
        let length = header.len().to_string();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let body: Vec<u8> = header.bytes().chain(bytes).collect();
        let headers = [("Inference-Header-Content-Length", length.as_str())];
        let answer = daemon.send("POST", "/v2/models/affine/infer", &headers, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text: String = answer.text().split_whitespace().collect();
        assert!(text.contains("\"data\":[NaN,Infinity,-Infinity,0.0]"), "{engine}: {text}");
    }
}

#[test]
fn strings_are_any_text_and_any_bytes_where_the_engine_takes_them() {
    let repository = identities(&[("open", "batch, 2")]);
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let text = json!(["zwölf \"Boxkämpfer\"\n\u{0}", "", "\u{1f600}", "a"]);
        let input = json!({"name": "x", "datatype": "BYTES", "shape": [2, 2], "data": text});
        let answer = infer_json(&daemon, "BYTES_open", &[input]);
        assert_eq!(output(&answer, "y"), text, "{engine}");
        let bytes = [b"\xff\xfe\x00".as_slice(), b"", b"\xc3", b"text"].map(Bytes::from_static);
        let tensor = Tensor::strings(Shape::from_slice(&[2, 2]), bytes.to_vec());
        let tensor = tensor.expect("four strings");
        if engine == "onnxruntime" {
            assert_same(&daemon, "BYTES_open", &tensor);
            continue;
        }
        let refused = send(&daemon, "BYTES_open", &[("x", &tensor)], &["y".to_owned()]);
        assert_eq!(refused.status, 400, "{}", refused.text());
        let error = refused.json()["error"].as_str().expect("an error").to_owned();
        assert!(error.contains("input \"x\"") && error.contains("UTF-8"), "{error}");
    }
}

#[test]
fn outputs_come_as_they_were_asked_for_by_name() {
    let repository = Repository::new();
    repository.model("several", &graphs::several(), "");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let a = fp32("a", &[1, 2], &[0.5, 10.0]);
        let b = json!({"name": "b", "datatype": "INT64", "shape": [1, 2], "data": [1, -2]});
        let ask = |inputs: [&Value; 2], names: &[&str]| {
            let outputs: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            let body = match names {
                [] => json!({"inputs": inputs}),
                _ => json!({"inputs": inputs, "outputs": outputs}),
            };
            let answer = daemon.post_json("/v2/models/several/infer", &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let outputs = answer.json()["outputs"].as_array().expect("a list").clone();
            outputs.iter().map(|it| (it["name"].clone(), it["data"].clone())).collect::<Vec<_>>()
        };
        let sum = (json!("sum"), json!([1.5, 8.0]));
        let difference = (json!("difference"), json!([-0.5, 12.0]));
        let same = (json!("same"), json!([1, -2]));
        assert_eq!(ask([&a, &b], &[]), [sum.clone(), difference.clone(), same.clone()], "{engine}");
        // Inputs in any order, and only the outputs that were asked for, in the order asked.
        assert_eq!(ask([&b, &a], &["same"]), [same], "{engine}");
        assert_eq!(ask([&b, &a], &["difference", "sum"]), [difference, sum], "{engine}");
    }
}

#[test]
fn an_input_with_a_default_may_be_left_out() {
    let repository = Repository::new();
    repository.model("scaled", &graphs::with_default(), "");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let x = |value: f32| fp32("x", &[1, 2], &[value, 1.0]);
        let scale = fp32("scale", &[2], &[10.0, 20.0]);
        // With and without at the same time: nobody gets another's.
        at_once(6, |index| {
            let value = index as f32;
            let inputs = [x(value), scale.clone()];
            let given = index % 2;
            let answer = infer_json(&daemon, "scaled", &inputs[..=given]);
            let expected = [json!([value * 2.0, 3.0]), json!([value * 10.0, 20.0])];
            assert_eq!(output(&answer, "y"), expected[given], "{engine}");
        });
    }
}

#[test]
fn a_model_without_a_batch_axis_is_served_as_it_is() {
    let repository = Repository::new();
    repository.model("fixed", &graphs::identity(DataType::Float32, "2, 3"), "");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let metadata = daemon.get("/v2/models/fixed").json();
        assert_eq!(metadata["inputs"][0]["shape"], json!([2, 3]));
        let batching = &metadata["parameters"]["batching"];
        assert_eq!(batching["batched"], false, "{batching}");
        assert_eq!(batching["reason"], "no input has an open batch axis");
        assert_eq!(daemon.get("/v2/models/fixed/config").json()["max_batch_size"], 0);
        at_once(4, |index| {
            let values = [index as f32; 6];
            let answer = infer_json(&daemon, "fixed", &[fp32("x", &[2, 3], &values)]);
            assert_eq!(output(&answer, "y"), json!(values), "{engine}");
        });
        let refused = infer_json(&daemon, "fixed", &[fp32("x", &[1, 3], &[0.0; 3])]);
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
}

/// The newest operators that ONNX Runtime 1.32 knows.
const NEWEST_OPSET: i64 = 28;

#[test]
fn models_of_every_version_of_the_standard_give_the_same_answers() {
    let repository = Repository::new();
    for opset in 7..=NEWEST_OPSET {
        repository.model(&format!("opset_{opset}"), &graphs::classifier(opset), "");
    }
    repository.model("tomorrow", &graphs::classifier(NEWEST_OPSET + 1), "");
    for engine in ENGINES {
        let daemon = repository.serve(engine, &[]);
        let ask = |model: &str| infer_json(&daemon, model, &[fp32("x", &[1, 2], &[1.0, 2.0])]);
        for opset in 7..=NEWEST_OPSET {
            let answer = output(&ask(&format!("opset_{opset}")), "y");
            // exp(2), exp(3), exp(2) over their sum.
            for (value, expected) in [0.211_942, 0.576_117, 0.211_942].iter().enumerate() {
                let actual = answer[value].as_f64().expect("a number");
                assert!((actual - expected).abs() < 1e-5, "{engine}, opset {opset}: {answer}");
            }
        }
        if engine == "onnxruntime" {
            let refused = ask("tomorrow");
            assert_eq!(refused.status, 503, "{}", refused.text());
            assert!(refused.text().contains("opset"), "{}", refused.text());
        }
    }
}
