//! Requests against a signature.

use super::{decode, spec};
use crate::protocol::{resolve_inputs, resolve_outputs};
use crate::tensor::{DataType, TensorSpec};

fn specs() -> Vec<TensorSpec> {
    let optional = TensorSpec { optional: true, ..spec("scale", DataType::Float32, &[]) };
    vec![spec("a", DataType::Float32, &[-1, 2]), spec("b", DataType::Int64, &[1]), optional]
}

fn resolve(inputs: &str) -> Result<Vec<bool>, String> {
    let request = decode(&format!("{{\"inputs\":[{inputs}]}}")).unwrap();
    resolve_inputs(request.inputs, &specs())
        .map(|tensors| tensors.iter().map(Option::is_some).collect())
        .map_err(|error| error.to_string())
}

const A: &str = "{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1,2]}";
const B: &str = "{\"name\":\"b\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":[1]}";
const SCALE: &str = "{\"name\":\"scale\",\"datatype\":\"FP32\",\"shape\":[],\"data\":2}";

#[test]
fn inputs_go_to_their_places_whatever_their_order() {
    assert_eq!(resolve(&format!("{A},{B},{SCALE}")), Ok(vec![true, true, true]));
    assert_eq!(resolve(&format!("{SCALE},{B},{A}")), Ok(vec![true, true, true]));
    assert_eq!(resolve(&format!("{B},{A}")), Ok(vec![true, true, false]));
}

#[test]
fn what_does_not_fit_the_signature_is_named() {
    let table = [
        (A.to_owned(), "input \"b\": expected INT64 of shape [1], got nothing"),
        (
            format!("{A},{}", B.replace("\"b\"", "\"c\"")),
            "inputs[1] \"c\": expected one of the model's: \"a\", \"b\", \"scale\", got a name it does not have",
        ),
        (A.replace("FP32", "FP64"), "inputs[0] \"a\" datatype: expected FP32, got FP64"),
        (A.replace("[1,2],", "[2,1],"), "inputs[0] \"a\" shape: expected [?, 2], got [2, 1]"),
    ];
    for (inputs, expected) in table {
        assert_eq!(resolve(&inputs), Err(expected.to_owned()), "{inputs}");
    }
}

fn outputs(request: &str) -> Result<Vec<usize>, String> {
    let specs = [
        spec("y", DataType::Float32, &[-1]),
        spec("h", DataType::Float16, &[-1]),
        spec("s", DataType::String, &[-1]),
    ];
    let request = decode(&format!("{{\"inputs\":[]{request}}}")).unwrap();
    resolve_outputs(&request, &specs)
        .map(|indices| indices.to_vec())
        .map_err(|error| error.to_string())
}

#[test]
fn outputs_come_in_the_order_asked_for() {
    assert_eq!(outputs(",\"outputs\":[{\"name\":\"s\"},{\"name\":\"y\"}]"), Ok(vec![2, 0]));
    assert_eq!(outputs(",\"parameters\":{\"binary_data_output\":true}"), Ok(vec![0, 1, 2]));
    let classified = "{\"name\":\"h\",\"parameters\":{\"classification\":1}}";
    assert_eq!(outputs(&format!(",\"outputs\":[{classified}]")), Ok(vec![1]));
}

#[test]
fn outputs_that_cannot_go_out_are_refused_before_the_run() {
    let error = outputs("").unwrap_err();
    assert!(error.starts_with("outputs[1] \"h\": FP16 has no JSON form: ask for"), "{error}");
    let error = outputs(",\"outputs\":[{\"name\":\"q\"}]").unwrap_err();
    assert_eq!(
        error,
        "outputs[0] \"q\": expected one of the model's: \"y\", \"h\", \"s\", got a name it does not have"
    );
    let strings = "{\"name\":\"s\",\"parameters\":{\"classification\":1}}";
    let error = outputs(&format!(",\"outputs\":[{strings}]")).unwrap_err();
    assert_eq!(
        error,
        "outputs[0] \"s\": strings cannot be classified: leave out parameters.classification"
    );
}
