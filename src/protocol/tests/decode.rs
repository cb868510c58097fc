//! What a request's bytes may be, and what is said of those that may not.

use bytes::Bytes;

use super::{decode, decode_binary, input, terms};
use crate::protocol::{Limits, ParameterValue, Terms, decode_infer};
use crate::tensor::{Data, DataType};

fn check_values(datatype: &str, shape: &str, data: &str, expected: &[u8]) {
    let members = format!("\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":{shape}");
    // Before and after the type: the order of members means nothing.
    for json in
        [input(&format!("{members},\"data\":{data}")), input(&format!("\"data\":{data},{members}"))]
    {
        let request = decode(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
        let bytes = request.inputs[0].tensor.bytes().expect("numbers");
        assert_eq!(&bytes[..], expected, "{json}");
        assert!(bytes.is_empty() || (bytes.as_ptr() as usize).is_multiple_of(8), "{json}");
    }
}

fn check_error(json: &str, expected: &str) {
    match decode(json) {
        Ok(request) => panic!("{json} was taken: {request:?}"),
        Err(error) => assert_eq!(error.to_string(), expected, "{json}"),
    }
}

#[test]
fn numbers_are_read_straight_into_their_type() {
    check_values("BOOL", "[2]", "[true,false]", &[1, 0]);
    check_values("UINT8", "[2]", "[0,255]", &[0, 255]);
    check_values("INT8", "[2]", "[-128,127]", &[0x80, 0x7f]);
    check_values("UINT16", "[1]", "[65535]", &[255, 255]);
    check_values("INT16", "[1]", "[-2]", &(-2_i16).to_le_bytes());
    check_values("UINT32", "[1]", "[4294967295]", &u32::MAX.to_le_bytes());
    check_values("INT32", "[1]", "[-2147483648]", &i32::MIN.to_le_bytes());
    check_values("UINT64", "[1]", "[18446744073709551615]", &u64::MAX.to_le_bytes());
    check_values("INT64", "[1]", "[-9223372036854775808]", &i64::MIN.to_le_bytes());
    check_values("FP32", "[1]", "[-0.0]", &(-0.0_f32).to_le_bytes());
    check_values("FP64", "[1]", "[1e-310]", &1e-310_f64.to_le_bytes());
    check_values(
        "FP64",
        "[2]",
        "[3, 1E+2]",
        &[3.0_f64.to_le_bytes(), 100.0_f64.to_le_bytes()].concat(),
    );
}

#[test]
fn fp32_is_rounded_once() {
    // Halfway between two floats plus a little: by way of a double it would round down to even.
    let text = "1.00000005960464477539062500001";
    let twice = text.parse::<f64>().unwrap() as f32;
    let once = text.parse::<f32>().unwrap();
    assert_ne!(once.to_bits(), twice.to_bits());
    check_values("FP32", "[1]", &format!("[{text}]"), &once.to_le_bytes());
}

#[test]
fn data_may_be_nested_or_flat() {
    let expected = [1, 2, 3, 4, 5, 6];
    check_values("UINT8", "[2,3]", "[1,2,3,4,5,6]", &expected);
    check_values("UINT8", "[2,3]", " [ [1,2,3] , [ 4,5,6 ] ] ", &expected);
    check_values("UINT8", "[1,2,3]", "[[[1,2,3],[4,5,6]]]", &expected);
    check_values("UINT8", "[]", "7", &[7]);
    check_values("UINT8", "[]", "[7]", &[7]);
    check_values("UINT8", "[0]", "[]", &[]);
    check_values("UINT8", "[2,0]", "[]", &[]);
    check_values("UINT8", "[2,0]", "[[],[]]", &[]);
}

#[test]
fn strings_are_read_with_their_escapes() {
    let json = input(
        "\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"plain é\",\"\\u00e9\\n\"]",
    );
    let request = decode(&json).unwrap();
    let Data::Strings(strings) = request.inputs[0].tensor.data() else { panic!("strings") };
    assert_eq!(strings, &["plain é", "é\n"]);
}

/// Type, shape, data, and what is said of them.
const WRONG_ELEMENTS: &[(&str, &str, &str, &str)] = &[
    ("UINT8", "[3]", "[1,2,256]", "data[2]: expected an integer from 0 to 255 (UINT8), got 256"),
    ("UINT8", "[1]", "[-1]", "data[0]: expected an integer from 0 to 255 (UINT8), got -1"),
    ("INT8", "[1]", "[1.5]", "data[0]: expected an integer from -128 to 127 (INT8), got 1.5"),
    (
        "INT8",
        "[1]",
        "[\"1\"]",
        "data[0]: expected an integer from -128 to 127 (INT8), got the string \"1\"",
    ),
    (
        "UINT64",
        "[1]",
        "[18446744073709551616]",
        "data[0]: expected an integer from 0 to 18446744073709551615 (UINT64), got \
             18446744073709551616",
    ),
    ("BOOL", "[1]", "[1]", "data[0]: expected true or false (BOOL), got 1"),
    ("BYTES", "[1]", "[1]", "data[0]: expected a string (BYTES), got 1"),
    ("FP32", "[1]", "[1e39]", "data[0]: expected a number within FP32's range, got 1e39"),
    ("FP32", "[1]", "[null]", "data[0]: expected a number within FP32's range, got null"),
    (
        "FP32",
        "[2,2]",
        "[[1,2],[3,true]]",
        "data[1][1]: expected a number within FP32's range, got true",
    ),
    (
        "FP32",
        "[1]",
        "[NaN]",
        "data[0]: expected a finite number (JSON has no other: send the tensor in binary), \
             got NaN",
    ),
    (
        "FP64",
        "[1]",
        "[-Infinity]",
        "data[0]: expected a finite number (JSON has no other: send the tensor in binary), \
             got -Infinity",
    ),
    ("FP32", "[3]", "[1,2]", "data: expected an array of 3 elements (shape [3]), got 2"),
    ("FP32", "[1]", "[1,2]", "data: expected an array of 1 elements (shape [1]), got more than 1"),
    (
        "FP32",
        "[2,2]",
        "[[1,2],[3]]",
        "data[1]: expected an array of 2 elements (shape [2, 2]), got 1",
    ),
    ("FP32", "[2,2]", "[[1,2]]", "data: expected an array of 2 arrays (shape [2, 2]), got 1"),
    (
        "FP32",
        "[1,2,2]",
        "[[1,2,3,4]]",
        "data[0][0]: expected an array of 2 elements (shape [1, 2, 2]), got 1",
    ),
    ("FP32", "[1]", "1", "data: expected an array of 1 elements (shape [1]), got 1"),
    (
        "FP16",
        "[1]",
        "[1]",
        "data: FP16 has no JSON form: send the tensor in binary (parameters.binary_data_size, \
             Inference-Header-Content-Length)",
    ),
];

#[test]
fn wrong_elements_are_named_with_their_place() {
    for (datatype, shape, data, expected) in WRONG_ELEMENTS {
        let members = format!("\"datatype\":\"{datatype}\",\"shape\":{shape},\"data\":{data}");
        let json = input(&format!("\"name\":\"x\",{members}"));
        check_error(&json, &format!("inputs[0] \"x\" {expected}"));
        // The same is said where the data comes first.
        let members = format!("\"data\":{data},\"datatype\":\"{datatype}\",\"shape\":{shape}");
        let json = input(&format!("{members},\"name\":\"x\""));
        check_error(&json, &format!("inputs[0] \"x\" {expected}"));
    }
}

#[test]
fn wrong_members_are_named() {
    let names = DataType::ALL.map(DataType::protocol_name).join(", ");
    let typed = |shape: &str| {
        input(&format!("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":{shape},\"data\":[]"))
    };
    let table = [
        ("{}".to_owned(), "inputs: expected an array of tensors, got nothing".to_owned()),
        ("{\"inputs\":null}".to_owned(), "inputs: expected an array of tensors, got nothing".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"fp32\",\"shape\":[1],\"data\":[1]"),
            format!("inputs[0] \"x\" datatype: expected one of {names}, got the string \"fp32\"")),
        (input("\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]"),
            "inputs[0] name: expected a string, got nothing".to_owned()),
        (input("\"name\":\"x\",\"shape\":[1],\"data\":[1]"),
            "inputs[0] \"x\" datatype: expected a type's name, got nothing".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1]"),
            "inputs[0] \"x\" shape: expected an array of sizes, got nothing".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1]"),
            "inputs[0] \"x\": expected either data or parameters.binary_data_size, got neither".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1],\"parameters\":{\"binary_data_size\":4}"),
            "inputs[0] \"x\": expected either data or parameters.binary_data_size, got both".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1],\"data\":[2]"),
            "inputs[0] \"x\" data: expected one member of this name, got two".to_owned()),
        (input("\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":{\"shared_memory_region\":\"r\"}"),
            "inputs[0] \"x\" parameters.shared_memory_region: shared memory is not supported: send and take \
             tensors in the bodies".to_owned()),
        (input("\"name\":7"), "inputs[0] name: expected a string, got 7".to_owned()),
        (typed("[-1]"), "inputs[0] \"x\" shape[0]: expected an integer of at least 0, got -1".to_owned()),
        (typed("[1.0]"), "inputs[0] \"x\" shape[0]: expected an integer of at least 0, got 1.0".to_owned()),
        (typed("[99999999999999999999]"),
            "inputs[0] \"x\" shape[0]: expected an integer of at most 18446744073709551615, \
             got 99999999999999999999".to_owned()),
        (typed("[4294967296,4294967296]"),
            "inputs[0] \"x\" shape: expected fewer elements, got [4294967296, 4294967296]".to_owned()),
        (typed("3"), "inputs[0] \"x\" shape: expected an array of sizes, got 3".to_owned()),
        (typed(&format!("[{}1]", "1,".repeat(64))),
            "inputs[0] \"x\" shape: expected at most 64 axes, got more".to_owned()),
    ];
    for (json, expected) in table {
        check_error(&json, &expected);
    }
}

#[test]
fn a_name_may_come_once() {
    let one = |name: &str| {
        format!("{{\"name\":\"{name}\",\"datatype\":\"FP32\",\"shape\":[0],\"data\":[]}}")
    };
    for count in [2, 12] {
        let mut inputs: Vec<String> = (1..count).map(|index| one(&format!("x{index}"))).collect();
        inputs.push(one("x1"));
        let json = format!("{{\"inputs\":[{}]}}", inputs.join(","));
        let last = count - 1;
        let expected = format!(
            "inputs[{last}] \"x1\": expected a name of its own, got a name that was there before"
        );
        check_error(&json, &expected);
    }
    let expected = "outputs[1] \"y\": expected a name of its own, got a name that was there before";
    check_error("{\"inputs\":[],\"outputs\":[{\"name\":\"y\"},{\"name\":\"y\"}]}", expected);
}

#[test]
fn parameters_take_effect() {
    let json = "{\"id\":\"42\",\"parameters\":{\"timeout\":50000,\"priority\":2,\
        \"binary_data_output\":true,\"own\":\"v\",\"ratio\":0.5,\"sequence_id\":0,\
        \"sequence_start\":false,\"none\":null},\"inputs\":[],\"outputs\":[{\"name\":\"y\"},\
        {\"name\":\"z\",\"parameters\":{\"binary_data\":false,\"classification\":3}}]}";
    let request = decode(json).unwrap();
    assert_eq!(request.id.as_deref(), Some("42"));
    assert_eq!((request.timeout_us, request.priority), (Some(50_000), 2));
    assert_eq!((request.binary_output(0), request.binary_output(1)), (true, false));
    assert_eq!((request.classification(0), request.classification(1)), (0, 3));
    let parameter = |name: &str| {
        request.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    assert_eq!(parameter("own"), Some(ParameterValue::String("v".to_owned())));
    assert_eq!(parameter("ratio"), Some(ParameterValue::Float(0.5)));
    assert_eq!(parameter("timeout"), Some(ParameterValue::Integer(50_000)));
    assert_eq!(parameter("none"), None);
}

#[test]
fn what_many_clients_send_unset_means_nothing() {
    let json = "{\"id\":null,\"parameters\":null,\"outputs\":null,\"extra\":[{}],\"inputs\":[{\
        \"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":null,\"data\":[1]}]}";
    let request = decode(json).unwrap();
    assert_eq!((request.id, request.outputs.len(), request.inputs.len()), (None, 0, 1));
    let json = "{\"inputs\":[],\"parameters\":{\"timeout\":0}}";
    assert_eq!(decode(json).unwrap().timeout_us, None);
}

#[test]
fn parameters_that_cannot_be_obeyed_are_refused() {
    let table = [
        (
            "\"sequence_id\":7",
            "sequence_id: sequences are not supported: send the model's state as its inputs",
        ),
        (
            "\"sequence_start\":true",
            "sequence_start: sequences are not supported: send the model's state as its inputs",
        ),
        (
            "\"headers\":\"x\"",
            "headers: this name is reserved; choose another for a parameter of your own",
        ),
        ("\"triton_x\":1", "triton_x: names that begin with triton_ are reserved"),
        ("\"timeout\":-1", "timeout: expected an integer of at least 0, got -1"),
        ("\"timeout\":\"5s\"", "timeout: expected an integer of at least 0, got the string \"5s\""),
        (
            "\"priority\":4294967296",
            "priority: expected an integer below 4294967296, got 4294967296",
        ),
        ("\"binary_data_output\":1", "binary_data_output: expected true or false, got 1"),
        ("\"own\":[1]", "own: expected a string, number or boolean, got an array"),
    ];
    for (parameter, expected) in table {
        let json = format!("{{\"inputs\":[],\"parameters\":{{{parameter}}}}}");
        check_error(&json, &format!("parameters.{expected}"));
    }
    let json =
        "{\"inputs\":[],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"classification\":-1}}]}";
    check_error(
        json,
        "outputs[0] parameters.classification: expected an integer of at least 0, got -1",
    );
}

#[test]
fn members_of_another_kind_are_named() {
    let table = [
        ("[]", "the body: expected an object, got an array"),
        ("{\"id\":5}", "id: expected a string, got 5"),
        ("{\"parameters\":[]}", "parameters: expected an object, got an array"),
        ("{\"inputs\":{}}", "inputs: expected an array of tensors, got an object"),
        ("{\"inputs\":[\"x\"]}", "inputs[0]: expected an object, got the string \"x\""),
        ("{\"inputs\":[{\"name\":1}]}", "inputs[0] name: expected a string, got 1"),
        (
            "{\"inputs\":[{\"name\":\"x\",\"parameters\":1}]}",
            "inputs[0] \"x\" parameters: expected an object, got 1",
        ),
        ("{\"outputs\":{}}", "outputs: expected an array of outputs, got an object"),
        ("{\"outputs\":[true]}", "outputs[0]: expected an object, got true"),
        ("{\"outputs\":[{\"name\":[]}]}", "outputs[0] name: expected a string, got an array"),
        (
            "{\"outputs\":[{\"name\":\"y\",\"parameters\":[]}]}",
            "outputs[0] parameters: expected an object, got an array",
        ),
        (
            "{\"inputs\":[{\"name\":\"x\",\"shape\":[18446744073709551616]}]}",
            "inputs[0] \"x\" shape[0]: expected an integer of at most 18446744073709551615, got \
             18446744073709551616",
        ),
    ];
    for (json, error) in table {
        check_error(json, error);
    }
}

#[test]
fn malformed_json_is_told_with_its_place() {
    let table = [
        ("", "expected an object at byte 0, got the end of the text"),
        ("[", "expected an object at byte 0, got an array"),
        ("{\"inputs\":[]", "expected ',' or '}' at byte 12, got the end of the text"),
        ("{\"inputs\":[]} x", "expected the end of the text at byte 14, got x"),
        (
            "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1,]}]}",
            "inputs[0] \"x\" data[1]: expected a number at byte 63, got ']'",
        ),
    ];
    for (json, reason) in table {
        check_error(json, &format!("the request is not valid JSON: {reason}"));
    }
    let body = Bytes::from_static(b"{\"inputs\":\xff}");
    let error = decode_infer(body, None, &terms(&[])).unwrap_err().to_string();
    assert_eq!(error, "the request is not valid JSON: byte 10 is not UTF-8");
}

#[test]
fn a_nesting_bomb_is_refused_before_anything_recurses() {
    for json in [
        format!("{{\"extra\":{}", "[".repeat(1_000_000)),
        format!("{{\"inputs\":[{{\"data\":{}", "[".repeat(1_000_000)),
        "{\"a\":".repeat(1_000_000),
    ] {
        let body = Bytes::from(json);
        let limits = Limits { max_json_depth: usize::MAX };
        let error = decode_infer(body, None, &Terms { limits: &limits, ..terms(&[]) })
            .unwrap_err()
            .to_string();
        assert!(error.contains("nested deeper than 512"), "{error}");
    }
}

#[test]
fn a_claimed_shape_takes_no_memory() {
    let huge =
        input("\"name\":\"x\",\"datatype\":\"FP64\",\"shape\":[1000000000000000000],\"data\":[1]");
    check_error(
        &huge,
        "inputs[0] \"x\" data: expected an array of 1000000000000000000 elements \
        (shape [1000000000000000000]), got 1",
    );
    let strings = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1000000000000000000],\
        \"parameters\":{\"binary_data_size\":4}}]}";
    let error = decode_binary(strings, &[0; 4]).unwrap_err().to_string();
    assert_eq!(error, "inputs[0] \"x\": expected 1000000000000000000 strings (its shape), got 1");
}
