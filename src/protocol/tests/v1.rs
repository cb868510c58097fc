//! TensorFlow Serving's predict, both ways.

use bytes::Bytes;
use proptest::prelude::*;

use super::{spec, terms};
use crate::protocol::ProtocolError;
use crate::protocol::v1::{PredictFormat, PredictRequest, decode_predict, encode_predictions};
use crate::tensor::{Data, DataType, Shape, Tensor, TensorSpec};

fn decode(json: &str, specs: &[TensorSpec]) -> Result<PredictRequest, ProtocolError> {
    decode_predict(Bytes::copy_from_slice(json.as_bytes()), &terms(specs))
}

fn x(data_type: DataType) -> Vec<TensorSpec> {
    vec![spec("x", data_type, &[-1, 2])]
}

fn two() -> Vec<TensorSpec> {
    let optional = TensorSpec { optional: true, ..spec("c", DataType::Uint8, &[-1]) };
    vec![spec("a", DataType::Uint8, &[-1, 2]), spec("b", DataType::String, &[-1]), optional]
}

fn check_bytes(json: &str, data_type: DataType, shape: &[usize], bytes: &[u8]) {
    let request = decode(json, &x(data_type)).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(request.inputs.len(), 1);
    let tensor = &request.inputs[0].tensor;
    assert_eq!((tensor.shape(), &tensor.bytes().unwrap()[..]), (shape, bytes), "{json}");
}

#[test]
fn types_are_the_models_and_shapes_the_brackets() {
    check_bytes("{\"instances\":[[1,2],[3,4]]}", DataType::Uint8, &[2, 2], &[1, 2, 3, 4]);
    check_bytes("{\"instances\":[1,2,3]}", DataType::Uint8, &[3], &[1, 2, 3]);
    check_bytes("{\"instances\":[[],[]]}", DataType::Uint8, &[2, 0], &[]);
    check_bytes("{\"inputs\":[[[1],[2]]]}", DataType::Int16, &[1, 2, 1], &[1, 0, 2, 0]);
    check_bytes("{\"inputs\":7}", DataType::Uint8, &[], &[7]);
    check_bytes(
        "{\"instances\":[{\"x\":[1,2]},{\"x\":[3,4]}]}",
        DataType::Uint8,
        &[2, 2],
        &[1, 2, 3, 4],
    );
    check_bytes("{\"inputs\":{\"x\":[true]}}", DataType::Bool, &[1], &[1]);
    check_bytes("{\"instances\":[0.5]}", DataType::Float16, &[1], &[0x00, 0x38]);
    check_bytes("{\"instances\":[-2]}", DataType::BFloat16, &[1], &[0x00, 0xc0]);
}

#[test]
fn tokens_for_what_json_lacks_are_taken() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let json = "{\"instances\":[[NaN,Infinity],[-Infinity,1]]}";
    check_bytes(json, DataType::Float32, &[2, 2], &bytes);
}

#[test]
fn several_inputs_come_as_objects() {
    let json = "{\"signature_name\":\"serving_default\",\"instances\":[\
        {\"a\":[1,2],\"b\":\"one\"},{\"b\":{\"b64\":\"dHdv\"},\"a\":[3,4]},{\"a\":[5,6],\"b\":\"\"}]}";
    let request = decode(json, &two()).unwrap();
    assert_eq!(request.signature_name.as_deref(), Some("serving_default"));
    assert_eq!(request.format, PredictFormat::Row);
    let names: Vec<&str> = request.inputs.iter().map(|input| &*input.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(request.inputs[0].tensor.shape(), [3, 2]);
    assert_eq!(&request.inputs[0].tensor.bytes().unwrap()[..], [1, 2, 3, 4, 5, 6]);
    let Data::Strings(strings) = request.inputs[1].tensor.data() else { panic!("strings") };
    assert_eq!(strings, &["one", "two", ""]);

    let json = "{\"inputs\":{\"b\":[\"s\"],\"a\":[[1,2],[3,4]]}}";
    let request = decode(json, &two()).unwrap();
    assert_eq!(request.format, PredictFormat::Column);
    assert_eq!(request.inputs[1].tensor.shape(), [2, 2]);
}

#[test]
fn a_bare_string_in_base64_is_no_object_of_inputs() {
    let specs = [spec("x", DataType::String, &[-1])];
    let request = decode("{\"instances\":[{\"b64\":\"AP8=\"}]}", &specs).unwrap();
    let Data::Strings(strings) = request.inputs[0].tensor.data() else { panic!("strings") };
    assert_eq!(strings, &[Bytes::from_static(&[0, 255])]);
}

fn check_errors(table: &[(&str, &[TensorSpec], &str)]) {
    for (json, specs, expected) in table {
        let error = decode(json, specs).expect_err(json).to_string();
        assert_eq!(error, *expected, "{json}");
    }
}

#[test]
fn wrong_values_are_named_with_their_row() {
    let x = x(DataType::Float32);
    let integers = vec![spec("x", DataType::Int32, &[-1])];
    let strings = vec![spec("x", DataType::String, &[-1])];
    check_errors(&[
        ("{}", &x, "the body: expected either instances or inputs, got neither"),
        (
            "{\"instances\":[1],\"inputs\":[1]}",
            &x,
            "the body: expected either instances or inputs, got both",
        ),
        (
            "{\"instances\":[1],\"instances\":[1]}",
            &x,
            "instances: expected one member of this name, got two",
        ),
        ("{\"instances\":7}", &x, "instances: expected an array, got 7"),
        ("{\"instances\":[]}", &x, "instances: expected at least one instance, got none"),
        (
            "{\"instances\":[[1,2],[3,4],[5]]}",
            &x,
            "instances[2]: expected an array of 2 elements (shape [3, 2]), got 1",
        ),
        (
            "{\"instances\":[[1,2],3]}",
            &x,
            "instances[1]: expected an array of 2 elements (shape [2, 2]), got 3",
        ),
        (
            "{\"instances\":[1,[2]]}",
            &x,
            "instances[1]: expected a number within FP32's range, got an array",
        ),
        (
            "{\"instances\":[[1,\"2\"]]}",
            &x,
            "instances[0][1]: expected a number within FP32's range, got the string \"2\"",
        ),
        (
            "{\"instances\":[NaN]}",
            &integers,
            "instances[0]: expected an integer from -2147483648 to 2147483647 (INT32), got NaN",
        ),
        (
            "{\"instances\":[{\"b64\":\"*\"}]}",
            &strings,
            "instances[0]: expected a string or {\"b64\": …} (BYTES), got an object",
        ),
        (
            "{\"inputs\":[[1],[2,3]]}",
            &x,
            "inputs[1]: expected an array of 1 elements (shape [2, 1]), got more than 1",
        ),
    ]);
}

#[test]
fn wrong_objects_are_named_with_their_row() {
    let two = two();
    check_errors(&[
        (
            "{\"instances\":[[1,2]]}",
            &two,
            "instances: expected objects with the inputs \"a\", \"b\", \"c\", got a bare value",
        ),
        (
            "{\"instances\":[{\"a\":[1,2]}]}",
            &two,
            "instances[0]: expected an object with \"b\", got one without",
        ),
        (
            "{\"instances\":[{\"a\":[1,2],\"b\":\"\"},{\"b\":\"\"}]}",
            &two,
            "instances[1]: expected an object with \"a\", got one without",
        ),
        (
            "{\"instances\":[{\"a\":[1,2],\"b\":\"\"},{\"a\":[1],\"b\":\"\"}]}",
            &two,
            "instances[1] \"a\": expected an array of 2 elements (shape [2]), got 1",
        ),
        (
            "{\"instances\":[{\"a\":[1,2],\"b\":\"\"},7]}",
            &two,
            "instances[1]: expected an object, as before, got 7",
        ),
        (
            "{\"instances\":[{\"a\":[1,2],\"b\":\"\"},{\"a\":[1,2],\"b\":\"\",\"c\":1}]}",
            &two,
            "instances[1] \"c\": expected an input that all instances have, got one that the first has not",
        ),
        (
            "{\"instances\":[{\"a\":[1],\"a\":[1]}]}",
            &two,
            "instances[0] \"a\": expected one member of this name, got two",
        ),
        (
            "{\"inputs\":{\"q\":[1]}}",
            &two,
            "inputs \"q\": expected one of the model's inputs: \"a\", \"b\", \"c\", got a name it does not have",
        ),
    ]);
}

#[test]
fn a_claimed_row_takes_no_memory() {
    // Each row of the first column promises what the others do not keep.
    let json = format!(
        "{{\"instances\":[{{\"a\":[{}1]}}{}]}}",
        "1,".repeat(100_000),
        ",{\"a\":[]}".repeat(100_000)
    );
    let specs = [spec("a", DataType::Float64, &[-1])];
    let error = decode(&json, &specs).unwrap_err().to_string();
    assert_eq!(
        error,
        "instances[1] \"a\": expected an array of 100001 elements (shape [100001]), got 0"
    );
}

fn strings(shape: &[usize], values: &[&'static [u8]]) -> Tensor {
    let values = values.iter().map(|value| Bytes::from_static(value)).collect();
    Tensor::strings(Shape::from_slice(shape), values).unwrap()
}

fn check_predictions(format: PredictFormat, outputs: &[(&str, Tensor)], expected: &str) {
    let body = encode_predictions(format, outputs).unwrap();
    assert_eq!(std::str::from_utf8(&body), Ok(expected));
}

#[test]
fn answers_have_the_form_of_the_request() {
    let y = Tensor::from_f32(&[2, 2], &[1.0, 2.5, f32::NAN, f32::NEG_INFINITY]).unwrap();
    let one = [("y", y.clone())];
    check_predictions(PredictFormat::Row, &one, "{\"predictions\":[[1.0,2.5],[NaN,-Infinity]]}");
    check_predictions(PredictFormat::Column, &one, "{\"outputs\":[[1.0,2.5],[NaN,-Infinity]]}");
    let several = [("y", y), ("label", strings(&[2], &[b"a", b"b"]))];
    check_predictions(
        PredictFormat::Row,
        &several,
        "{\"predictions\":[{\"y\":[1.0,2.5],\"label\":\"a\"},{\"y\":[NaN,-Infinity],\"label\":\"b\"}]}",
    );
    check_predictions(
        PredictFormat::Column,
        &several,
        "{\"outputs\":{\"y\":[[1.0,2.5],[NaN,-Infinity]],\"label\":[\"a\",\"b\"]}}",
    );
}

#[test]
fn byte_outputs_are_wrapped_in_base64() {
    let outputs = [("image_bytes", strings(&[1], &[b"ab"]))];
    check_predictions(PredictFormat::Row, &outputs, "{\"predictions\":[{\"b64\":\"YWI=\"}]}");
    let outputs = [("image", strings(&[2], &[b"ab", b"\xff"]))];
    check_predictions(
        PredictFormat::Row,
        &outputs,
        "{\"predictions\":[\"ab\",{\"b64\":\"/w==\"}]}",
    );
}

#[test]
fn outputs_without_common_rows_need_the_column_form() {
    let scalar = [("y", Tensor::from_f32(&[], &[1.0]).unwrap())];
    let error = encode_predictions(PredictFormat::Row, &scalar).unwrap_err().to_string();
    assert_eq!(
        error,
        "output \"y\": expected rows, got shape []; ask in the column form (\"inputs\") instead"
    );
    check_predictions(PredictFormat::Column, &scalar, "{\"outputs\":1.0}");
    let unequal = [
        ("y", Tensor::from_f32(&[2], &[1.0, 2.0]).unwrap()),
        ("z", Tensor::from_f32(&[1], &[1.0]).unwrap()),
    ];
    let error = encode_predictions(PredictFormat::Row, &unequal).unwrap_err().to_string();
    assert_eq!(
        error,
        "output \"z\": expected 2 rows, as the outputs before it have, got shape [1]; ask in the \
         column form (\"inputs\") instead"
    );
    let empty = [("y", Tensor::from_f32(&[0, 2], &[]).unwrap()), ("z", strings(&[0], &[]))];
    check_predictions(PredictFormat::Row, &empty, "{\"predictions\":[]}");
}

proptest! {
    #[test]
    fn predictions_of_floats_come_back(values in prop::collection::vec(any::<f32>(), 1..20)) {
        let tensor = Tensor::from_f32(&[values.len(), 1], &values).unwrap();
        let body = encode_predictions(PredictFormat::Column, &[("y", tensor.clone())]).unwrap();
        let json = std::str::from_utf8(&body).unwrap().replace("outputs", "inputs");
        let request = decode(&json, &x(DataType::Float32)).unwrap();
        let bits = |tensor: &Tensor| -> Vec<u32> {
            // Which NaN it was is lost: the token has no payload.
            let quiet = |value: f32| if value.is_nan() { f32::NAN } else { value };
            tensor.to_f32().unwrap().into_iter().map(|value| quiet(value).to_bits()).collect()
        };
        prop_assert_eq!(bits(&request.inputs[0].tensor), bits(&tensor));
    }

    #[test]
    fn damaged_predict_requests_are_answered(at in 0usize..90, byte in any::<u8>()) {
        let json = "{\"signature_name\":\"s\",\"instances\":[{\"a\":[1,2],\"b\":\"o\"},\
            {\"a\":[3,4],\"b\":{\"b64\":\"dHdv\"}}]}";
        let mut bytes = json.as_bytes().to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = decode_predict(bytes.into(), &terms(&two()));
    }
}
