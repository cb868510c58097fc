//! Bad input on the real binary: each gets its status and an error that names the field, what was
//! expected and what came; the daemon lives on, and the next request is answered right.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::daemon::{Answer, Daemon};
use crate::support::graphs;
use crate::support::repository::{ENGINES, Repository};
use crate::support::request::{at_once, fp32, infer_json, output};

const INFER: &str = "/v2/models/affine/infer";

/// A model of floats, one of whole numbers, one of strings.
fn serve(engine: &str, more: &[&str]) -> (Repository, Daemon) {
    use onnxd::tensor::DataType::{Bool, Int8, String, Uint8, Uint64};
    let repository = Repository::new();
    repository.model("affine", &graphs::affine(), "max_batch_size = 8\n");
    for (name, data_type) in
        [("int8", Int8), ("uint8", Uint8), ("uint64", Uint64), ("bool", Bool), ("bytes", String)]
    {
        repository.model(name, &graphs::identity(data_type, "2"), "");
    }
    let daemon = repository.serve(engine, more);
    (repository, daemon)
}

fn assert_answers(daemon: &Daemon) {
    let answer = infer_json(daemon, "affine", &[fp32("x", &[1, 4], &[0.0, 1.0, -1.0, 0.25])]);
    assert_eq!(output(&answer, "y"), json!([1.0, 3.0, -1.0, 1.5]));
}

/// Refused with this status, for a reason in which all of these words are; and life goes on.
fn assert_refused(daemon: &Daemon, what: &str, answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    let error = answer.json()["error"].as_str().expect("an error says why").to_owned();
    for word in words {
        assert!(error.contains(word), "{what}: {word:?} is not in {error:?}");
    }
    assert_answers(daemon);
}

/// The good request with one field changed.
fn with(field: &str, value: Value) -> Value {
    let mut input = fp32("x", &[1, 4], &[0.0; 4]);
    input[field] = value;
    json!({"inputs": [input]})
}

#[test]
fn a_tensor_that_is_not_the_models_is_told_by_its_field() {
    let (_repository, daemon) = serve("tract", &[]);
    let rows: Vec<(&str, Value, &[&str])> = vec![
        ("name", with("name", json!("z")), &["inputs[0] \"z\"", "expected", "\"x\""]),
        (
            "type",
            json!({"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}),
            &["inputs[0] \"x\" datatype", "expected FP32", "got INT32"],
        ),
        ("no type", with("datatype", json!("FLOAT")), &["datatype", "FP32", "FLOAT"]),
        ("width", with("shape", json!([1, 5])), &["data", "5 elements", "got 4"]),
        (
            "shape",
            json!({"inputs": [fp32("x", &[1, 3], &[0.0; 3])]}),
            &["inputs[0] \"x\" shape", "expected [batch, 4]", "got [1, 3]"],
        ),
        ("rank", json!({"inputs": [fp32("x", &[4], &[0.0; 4])]}), &["expected [batch, 4]", "[4]"]),
        ("negative size", with("shape", json!([-1, 4])), &["shape[0]", "at least 0", "-1"]),
        ("too few", with("data", json!([1, 2, 3])), &["data", "4 elements", "got 3"]),
        ("too many", with("data", json!([1, 2, 3, 4, 5])), &["data", "more than 4"]),
        ("a word", with("data", json!([1, "two", 3, 4])), &["data[1]", "a number", "two"]),
        (
            "nested wrong",
            with("data", json!([[1, 2], [3, 4]])),
            &["data[0]", "4 elements", "got 2"],
        ),
        ("missing", json!({"inputs": []}), &["input \"x\"", "expected FP32", "got nothing"]),
        ("no inputs", json!({}), &["inputs", "expected", "got nothing"]),
        (
            "twice",
            json!({"inputs": [fp32("x", &[1, 4], &[0.0; 4]), fp32("x", &[1, 4], &[0.0; 4])]}),
            &["inputs[1] \"x\"", "before"],
        ),
        (
            "output",
            json!({"inputs": [fp32("x", &[1, 4], &[0.0; 4])], "outputs": [{"name": "z"}]}),
            &["outputs[0] \"z\"", "\"y\""],
        ),
        (
            "timeout",
            json!({"inputs": [], "parameters": {"timeout": -1}}),
            &["parameters.timeout", "at least 0", "-1"],
        ),
    ];
    for (what, body, words) in rows {
        assert_refused(&daemon, what, &daemon.post_json(INFER, &body), 400, words);
    }
}

#[test]
fn text_that_is_no_json_is_told_with_its_place() {
    let (_repository, daemon) = serve("tract", &[]);
    let good = json!({"inputs": [fp32("x", &[1, 4], &[0.0; 4])]}).to_string();
    let number = |number: &str| good.replacen("0.0", number, 1);
    let rows: Vec<(String, &[&str])> = vec![
        (String::new(), &["JSON"]),
        ("{\"inputs\":".to_owned(), &["JSON", "end"]),
        (format!("{good} x"), &["JSON"]),
        (good.replace("\"inputs\"", "inputs"), &["JSON"]),
        (good[..good.len() - 2].to_owned(), &["JSON"]),
        (number("NaN"), &["data[0]", "finite", "NaN"]),
        (number("Infinity"), &["data[0]", "finite", "Infinity"]),
        (number("-Infinity"), &["data[0]", "finite", "-Infinity"]),
        // JSON's grammar has them, the type has not.
        (number("1e39"), &["data[0]", "FP32's range", "1e39"]),
        (number("01"), &["JSON"]),
        (number(""), &["JSON"]),
        ("[".repeat(100_000), &["JSON", "an object"]),
        (format!("{{\"a\":{}", "[".repeat(100_000)), &["JSON", "deep"]),
        (number(&"[".repeat(100_000)), &["JSON", "deep"]),
        (format!("{{\"a\":{}", "{\"a\":".repeat(100_000)), &["JSON", "deep"]),
    ];
    for (body, words) in rows {
        let headers = [("Content-Type", "application/json")];
        let answer = daemon.send("POST", INFER, &headers, body.as_bytes());
        assert_refused(&daemon, &format!("{body:.60}"), &answer, 400, words);
    }
    let answer = daemon.send("POST", INFER, &[], b"{\"id\":\"\xff\"}");
    assert_refused(&daemon, "no UTF-8", &answer, 400, &["byte 7", "UTF-8"]);
}

#[test]
fn integers_out_of_range_are_told_with_the_range() {
    let (_repository, daemon) = serve("tract", &[]);
    let rows = [
        ("int8", "INT8", "128", "from -128 to 127"),
        ("int8", "INT8", "-129", "from -128 to 127"),
        ("uint8", "UINT8", "256", "from 0 to 255"),
        ("uint8", "UINT8", "-1", "from 0 to 255"),
        ("uint64", "UINT64", "18446744073709551616", "to 18446744073709551615"),
        ("uint8", "UINT8", "1.0", "an integer"),
        ("uint8", "UINT8", "1e2", "an integer"),
        ("bool", "BOOL", "1", "true or false"),
        ("bytes", "BYTES", "1", "a string"),
    ];
    for (model, data_type, value, range) in rows {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"{data_type}","shape":[2],"data":[{value}]}}]}}"#
        );
        let path = format!("/v2/models/{model}/infer");
        let answer = daemon.send("POST", &path, &[], body.as_bytes());
        let what = format!("{data_type} {value}");
        let words = ["inputs[0] \"x\" data[0]", range, &format!("got {value}")];
        assert_refused(&daemon, &what, &answer, 400, &words);
    }
}

/// A binary request with this JSON and these bytes behind it.
fn binary(daemon: &Daemon, model: &str, header: &Value, tail: &[u8]) -> Answer {
    let header = header.to_string();
    let length = header.len().to_string();
    let body = [header.as_bytes(), tail].concat();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    daemon.send("POST", &format!("/v2/models/{model}/infer"), &headers, &body)
}

#[test]
fn surplus_and_missing_bytes_are_counted_out() {
    let (_repository, daemon) = serve("tract", &[]);
    let listed = |name: &str, data_type: &str, shape: &[usize], size: usize| {
        json!({"inputs": [{"name": name, "datatype": data_type, "shape": shape,
            "parameters": {"binary_data_size": size}}]})
    };
    let x = |size| listed("x", "FP32", &[1, 4], size);
    type Row<'a> = (&'a str, Value, &'a [u8], &'a [&'a str]);
    let rows: [Row<'_>; 7] = [
        ("affine", x(16), &[0; 12], &["inputs[0] \"x\"", "16 bytes", "got 12 (4 additional"]),
        ("affine", x(16), &[0; 20], &["no bytes behind the last tensor", "4 additional bytes"]),
        ("affine", x(12), &[0; 12], &["expected 16 bytes (FP32 of shape [1, 4])", "got 12"]),
        ("affine", x(usize::MAX), &[0; 16], &["bytes of binary data", "got 16"]),
        ("bool", listed("x", "BOOL", &[2], 2), &[1, 7], &["byte 1", "0 or 1", "got 7"]),
        (
            "bytes",
            listed("x", "BYTES", &[2], 9),
            &[1, 0, 0, 0, b'a', 9, 0, 0, 0],
            &["string 1", "9 bytes", "0 bytes"],
        ),
        ("bytes", listed("x", "BYTES", &[2], 5), &[1, 0, 0, 0, b'a'], &["2 strings", "got 1"]),
    ];
    for (model, header, tail, words) in rows {
        let answer = binary(&daemon, model, &header, tail);
        assert_refused(&daemon, &header.to_string(), &answer, 400, words);
    }
    for length in ["-1", "+5", "1e3", "99999999999999999999999", "abc"] {
        let headers = [("Inference-Header-Content-Length", length)];
        let answer = daemon.send("POST", INFER, &headers, &[0; 40]);
        let words = ["Inference-Header-Content-Length", length.get(..5).unwrap_or(length)];
        assert_refused(&daemon, length, &answer, 400, &words);
    }
    // The raw form: the body is the tensor.
    let raw = [("Inference-Header-Content-Length", "0")];
    let answer = daemon.send("POST", INFER, &raw, &[0; 15]);
    assert_refused(&daemon, "raw", &answer, 400, &["input \"x\"", "multiple of 16", "got 15"]);
}

#[test]
fn names_that_are_unknown_are_404_and_wrong_methods_405() {
    let (_repository, daemon) = serve("tract", &[]);
    let good = json!({"inputs": [fp32("x", &[1, 4], &[0.0; 4])]});
    let rows = [
        ("/v2/models/nobody/infer", "unknown model \"nobody\""),
        ("/v2/models/affine/versions/2/infer", "no version \"2\""),
        ("/v2/models/affine/versions/0/infer", "no version \"0\""),
        ("/v2/models/affine/versions/-1/infer", "no version \"-1\""),
        ("/v2/models/affine/versions/one/infer", "no version \"one\""),
        ("/v2/models/affine/versions/99999999999999999999/infer", "no version"),
        ("/v2/models/..%2faffine/infer", "unknown model"),
        ("/v1/models/nobody:predict", "unknown model \"nobody\""),
        ("/v2/nothing", "unknown path"),
    ];
    for (path, words) in rows {
        assert_refused(&daemon, path, &daemon.post_json(path, &good), 404, &[words]);
    }
    let answer = daemon.get(INFER);
    assert_refused(&daemon, "GET", &answer, 405, &["GET is not allowed", "POST"]);
    assert_eq!(answer.header("allow"), Some("POST"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[test]
fn bodies_over_the_limit_and_bombs_are_413() {
    let (_repository, daemon) = serve("tract", &["--max-body", "1MiB"]);
    let before = daemon.metric("process_resident_memory_bytes", &[]);
    let answer = daemon.send("POST", INFER, &[], &vec![b' '; (1 << 20) + 1]);
    let words = ["1048577 bytes", "at most 1048576"];
    assert_refused(&daemon, "large", &answer, 413, &words);
    // 256 MiB in 256 KiB.
    let bomb = gzip(&vec![b' '; 256 << 20]);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let zstd = zstd::encode_all(&vec![b' '; 256 << 20][..], 1).expect("memory takes it");
    for (encoding, bomb) in [("gzip", bomb), ("zstd", zstd)] {
        let answer = daemon.send("POST", INFER, &[("Content-Encoding", encoding)], &bomb);
        assert_refused(&daemon, encoding, &answer, 413, &["1048576"]);
    }
    let answer = daemon.send("POST", INFER, &[("Content-Encoding", "gzip")], b"no gzip");
    assert_refused(&daemon, "corrupt", &answer, 400, &["gzip"]);
    let answer = daemon.send("POST", INFER, &[("Content-Encoding", "br")], b"x");
    assert_refused(&daemon, "unknown", &answer, 415, &["\"br\"", "gzip, deflate, zstd"]);
    // Nothing of the 256 MiB was ever there.
    let grown = daemon.metric("process_resident_memory_bytes", &[]) - before;
    assert!(grown < f64::from(64 << 20), "memory grew by {grown} bytes");
}

#[test]
fn what_the_engine_refuses_spoils_nobody_elses_answer_in_the_batch() {
    for engine in ENGINES {
        let repository = Repository::new();
        let settings = "max_batch_size = 3\nmax_queue_delay_ms = 20000\n";
        repository.model("table", &graphs::table(), settings);
        let daemon = repository.serve(engine, &[]);
        let pick = |row: i64| {
            let index = json!({"name": "index", "datatype": "INT64", "shape": [1], "data": [row]});
            infer_json(&daemon, "table", &[index])
        };
        let answers = at_once(3, |index| pick([7, 5000, 149][index]));
        assert_eq!(output(&answers[0], "y"), json!([14.0, 15.0]), "{engine}");
        assert_eq!(output(&answers[2], "y"), json!([298.0, 299.0]), "{engine}");
        let refused = &answers[1];
        // One engine tells whose fault it was.
        let status = if engine == "onnxruntime" { 400 } else { 500 };
        assert_eq!(refused.status, status, "{engine}: {}", refused.text());
        let error = refused.json()["error"].as_str().expect("an error").to_owned();
        assert!(error.contains("\"pick\" (Gather)"), "{engine}: {error}");
        // They did share a batch, which failed; then each ran alone.
        let labels = [("model", "table")];
        assert_eq!(daemon.metric("onnxd_batch_size_sum", &labels), 6.0, "{engine}");
        assert_eq!(daemon.metric("onnxd_batch_size_count", &labels), 4.0, "{engine}");
        assert_eq!(daemon.metric("onnxd_requests_total", &[("outcome", "ok")]), 2.0);
    }
}

#[test]
fn bad_requests_beside_good_ones_cost_these_nothing() {
    for engine in ENGINES {
        let (_repository, daemon) = serve(engine, &[]);
        let answers = at_once(8, |index| {
            let own = index as f32;
            for round in 0..20 {
                if index % 2 == 0 {
                    let bad = with("data", json!([1, 2, "three", 4]));
                    assert_eq!(daemon.post_json(INFER, &bad).status, 400);
                    continue;
                }
                let row = [own, round as f32, 0.0, 1.0];
                let answer = infer_json(&daemon, "affine", &[fp32("x", &[1, 4], &row)]);
                let expected = row.map(|value| value * 2.0 + 1.0);
                assert_eq!(output(&answer, "y"), json!(expected), "{engine}");
            }
            index
        });
        assert_eq!(answers.len(), 8);
        daemon.await_metric("onnxd_requests_total", &[("outcome", "ok")], 80.0);
        daemon.await_metric("onnxd_requests_total", &[("outcome", "invalid")], 80.0);
    }
}
