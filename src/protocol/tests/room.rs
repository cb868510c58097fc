//! Strings are refused by models that take none before they are read, and are charged for where
//! they are kept.

use std::cell::Cell;

use bytes::Bytes;

use super::{LIMITS, input, spec, strings, terms};
use crate::protocol::v1::decode_predict;
use crate::protocol::{ProtocolError, RequestHeader, Room, Terms, decode_infer};
use crate::tensor::{Data, DataType};

/// What one string takes beside its bytes.
const STRING: usize = size_of::<Bytes>();

/// What decoding takes where there is room for `size` bytes, and how it ends.
fn spent<T>(
    size: usize,
    decode: impl FnOnce(&Terms<'_>) -> Result<T, ProtocolError>,
) -> (usize, Result<T, ProtocolError>) {
    let left = Cell::new(size);
    let room = |bytes| {
        let rest = left.get().checked_sub(bytes).ok_or("it is full")?;
        left.set(rest);
        Ok(())
    };
    let inputs = [spec("x", DataType::String, &[-1])];
    let decoded = decode(&Terms { inputs: &inputs, limits: &LIMITS, room: &room });
    (size - left.get(), decoded)
}

/// A request in one of its forms.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    /// `data` before all else.
    JsonBackwards,
    Binary,
    Row,
    NamedRows,
    Column,
}

const FORMS: [Form; 6] =
    [Form::Json, Form::JsonBackwards, Form::Binary, Form::Row, Form::NamedRows, Form::Column];

/// Decodes so many empty strings for the input `x`.
fn decode(form: Form, count: usize, terms: &Terms<'_>) -> Result<(), ProtocolError> {
    let list = format!("[{}]", vec!["\"\""; count].join(","));
    let tensor = format!("\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[{count}]");
    let v2 = |members: String| format!("{{\"inputs\":[{{{members}}}]}}");
    let v1 = |json: String| decode_predict(json.into(), terms).map(drop);
    match form {
        Form::Json => {
            let json = v2(format!("{tensor},\"data\":{list}"));
            decode_infer(json.into(), None, terms).map(drop)
        }
        Form::JsonBackwards => {
            let json = v2(format!("\"data\":{list},{tensor}"));
            decode_infer(json.into(), None, terms).map(drop)
        }
        Form::Binary => {
            let size = 4 * count;
            let json = v2(format!("{tensor},\"parameters\":{{\"binary_data_size\":{size}}}"));
            let body = Bytes::from([json.as_bytes(), &vec![0; size]].concat());
            decode_infer(body, Some(json.len()), terms).map(drop)
        }
        Form::Row => v1(format!("{{\"instances\":{list}}}")),
        Form::NamedRows => {
            let rows = vec!["{\"x\":\"\"}"; count].join(",");
            v1(format!("{{\"instances\":[{rows}]}}"))
        }
        Form::Column => v1(format!("{{\"inputs\":{{\"x\":{list}}}}}")),
    }
}

#[test]
fn each_string_is_charged_for() {
    for form in FORMS {
        let (bytes, decoded) = spent(usize::MAX, |terms| decode(form, 1000, terms));
        decoded.unwrap_or_else(|error| panic!("{form:?}: {error}"));
        // Where rows come one by one, room is made for as many again.
        let most = if matches!(form, Form::NamedRows) { 2000 } else { 1000 };
        assert!((1000 * STRING..=most * STRING).contains(&bytes), "{form:?}: {bytes}");
    }
}

#[test]
fn strings_for_which_there_is_no_room_are_refused() {
    for form in FORMS {
        let (bytes, decoded) = spent(1000 * STRING - 1, |terms| decode(form, 1000, terms));
        assert!(bytes < 1000 * STRING);
        let error = decoded.expect_err("it does not fit");
        let ProtocolError::NoRoom { field, reason } = &error else { panic!("{form:?}: {error}") };
        assert!(!field.is_empty(), "{form:?}");
        assert_eq!(reason, "it is full", "{form:?}");
    }
}

#[test]
fn a_shape_that_claims_more_strings_than_came_is_charged_for_what_may_have_come() {
    let json = input(
        "\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1000000000000],\"data\":[\"\",\"\"]",
    );
    let length = json.len();
    let (bytes, decoded) = spent(usize::MAX, |terms| decode_infer(json.into(), None, terms));
    assert!(decoded.is_err());
    assert!(bytes <= length * STRING / 3, "{bytes}");
}

#[test]
fn strings_that_the_body_does_not_hold_are_charged_with_what_is_in_them() {
    for json in [
        format!("{{\"instances\":[\"{}\"]}}", "\\n".repeat(500)),
        format!("{{\"instances\":[{{\"b64\":\"{}\"}}]}}", "AAAA".repeat(200)),
    ] {
        let (bytes, decoded) = spent(usize::MAX, |terms| decode_predict(json.into(), terms));
        let request = decoded.expect("it is sound");
        let Data::Strings(strings) = request.inputs[0].tensor.data() else { panic!("strings") };
        assert!(bytes > STRING + strings[0].len(), "{bytes}");
        assert!(bytes < 4 * strings[0].len(), "{bytes}");
    }
}

#[test]
fn numbers_need_no_room_beside_the_body() {
    let json = input("\"name\":\"x\",\"datatype\":\"INT64\",\"shape\":[2],\"data\":[1,2]");
    assert!(spent(0, |terms| decode_infer(json.into(), None, terms)).1.is_ok());
    let json = input(
        "\"name\":\"x\",\"datatype\":\"INT8\",\"shape\":[2],\"parameters\":{\"binary_data_size\":2}",
    );
    let body = Bytes::from([json.as_bytes(), &[1, 2]].concat());
    assert!(spent(0, |terms| decode_infer(body, Some(json.len()), terms)).1.is_ok());
}

#[test]
fn what_is_kept_of_a_request_has_a_limit() {
    let tensor = "{\"name\":\"x\",\"datatype\":\"INT8\",\"shape\":[0],\"data\":[]}";
    let many = |item: &str, count| vec![item; count].join(",");
    let table = [
        (
            format!("{{\"inputs\":[{}]}}", many(tensor, 4097)),
            "inputs: expected at most 4096 of them, got more",
        ),
        (
            format!("{{\"inputs\":[{tensor}],\"outputs\":[{}]}}", many("{\"name\":\"\"}", 4097)),
            "outputs: expected at most 4096 of them, got more",
        ),
        (
            format!("{{\"inputs\":[{tensor}],\"parameters\":{{{}}}}}", many("\"\":1", 1025)),
            "parameters: expected at most 1024 parameters, got more",
        ),
    ];
    for (json, expected) in table {
        let error = decode_infer(json.into(), None, &terms(&[])).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
    let parameters = format!("{{\"inputs\":[],\"parameters\":{{{}}}}}", many("\"\":1", 1024));
    assert!(decode_infer(parameters.into(), None, &terms(&[])).is_ok());
}

#[test]
fn a_remembered_header_asks_for_room_again() {
    let json = input(
        "\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[2],\"parameters\":{\"binary_data_size\":8}",
    );
    let body = Bytes::from([json.as_bytes(), &[0; 8]].concat());
    let header = RequestHeader::read(&body, json.len(), &terms(&strings())).expect("it is sound");
    for size in [2 * STRING, 2 * STRING - 1] {
        let (bytes, decoded) =
            spent(size, |terms| header.tensors(body.clone(), json.len(), terms.room, |_, _| {}));
        assert_eq!((bytes == 2 * STRING, decoded.is_ok()), (size == bytes, size == bytes));
    }
}

#[test]
fn strings_for_a_model_that_takes_none_are_refused_before_they_are_read() {
    let floats = [spec("x", DataType::Float32, &[-1])];
    let nothing_fits: Room<'_> = &|_| Err("nothing fits".to_owned());
    let terms = Terms { room: nothing_fits, ..terms(&floats) };
    for form in [Form::Json, Form::JsonBackwards, Form::Binary] {
        let error = decode(form, 1000, &terms).expect_err("it takes none").to_string();
        let expected = "inputs[0] \"x\" datatype: expected FP32, got BYTES";
        assert_eq!(error, expected, "{form:?}");
    }
    let unknown = "\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"\"],\"name\":\"z\"";
    let error = decode_infer(input(unknown).into(), None, &terms).unwrap_err().to_string();
    let expected =
        "inputs[0] \"z\": expected one of the model's: \"x\", got a name it does not have";
    assert_eq!(error, expected);
    let nameless = "\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"\"]";
    let error = decode_infer(input(nameless).into(), None, &terms).unwrap_err().to_string();
    assert_eq!(error, "inputs[0] name: expected a string, got nothing");
}
