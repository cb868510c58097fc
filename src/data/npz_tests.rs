//! Promises about arrays.

use std::io::Write;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::data::{Batch, open};
use crate::tensor::DataType;

/// An array as NumPy writes it.
fn npy(descriptor: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    ordered(descriptor, (false, shape), bytes)
}

fn ordered(descriptor: &str, (fortran, shape): (bool, &[usize]), bytes: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let fortran = if fortran { "True" } else { "False" };
    let text =
        format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': ({sizes}), }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), bytes].concat()
}

fn bytes_of<const SIZE: usize, T: Copy>(values: &[T], bytes: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn floats(shape: &[usize], values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &bytes_of(values, f32::to_le_bytes))
}

fn longs(shape: &[usize], values: &[i64]) -> Vec<u8> {
    npy("<i8", shape, &bytes_of(values, i64::to_le_bytes))
}

fn spec(name: &str, data_type: DataType, sizes: &[usize]) -> TensorSpec {
    let batch = Dimension::Named("batch".to_owned());
    let sizes = sizes.iter().map(|&size| Dimension::Fixed(size));
    let shape = Some(std::iter::once(batch).chain(sizes).collect());
    TensorSpec { name: name.to_owned(), data_type, shape, optional: false }
}

fn classes(count: usize, shape: &[usize]) -> TargetSpec {
    TargetSpec::Classes { count: Some(count), shape: shape.to_vec() }
}

fn numbers(shape: &[usize]) -> TargetSpec {
    TargetSpec::Numbers { data_type: DataType::Float32, shape: shape.to_vec() }
}

/// One input `x` of so many floats in each sample.
fn schema(sizes: &[usize], target: TargetSpec) -> Schema {
    Schema { inputs: vec![spec("x", DataType::Float32, sizes)], target }
}

fn packed(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(format!("{name}.npy"), options).expect("a member");
        writer.write_all(bytes).expect("written to memory");
    }
    writer.finish().expect("finished").into_inner()
}

fn read_bytes(archive: &[u8], schema: &Schema) -> Result<Dataset, DataError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data.npz");
    std::fs::write(&path, archive).expect("the folder is writable");
    open(&path, "y", None, schema)
}

fn read_arrays(arrays: &[(&str, Vec<u8>)], schema: &Schema) -> Result<Dataset, DataError> {
    read_bytes(&packed(arrays, CompressionMethod::Stored), schema)
}

fn error(arrays: &[(&str, Vec<u8>)], schema: &Schema) -> String {
    text_of(read_arrays(arrays, schema))
}

fn text_of(result: Result<Dataset, DataError>) -> String {
    let error = result.expect_err("it is wrong").to_string();
    error.rsplit_once("data.npz: ").expect("the file is named").1.to_owned()
}

fn all(dataset: &Dataset) -> Batch {
    let rows: Vec<usize> = (0..dataset.rows()).collect();
    dataset.batch(&rows).expect("rows are there")
}

fn class_numbers(dataset: &Dataset) -> Vec<i64> {
    let target = all(dataset).target;
    let bytes = target.bytes().expect("numbers").clone();
    bytes.as_chunks::<8>().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()
}

#[test]
fn arrays_become_tensors_stored_or_deflated() {
    let arrays = [
        ("x", floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("y", longs(&[3], &[2, 0, 2])),
        ("more", floats(&[1], &[9.0])),
    ];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let schema = schema(&[2], classes(3, &[]));
        let dataset = read_bytes(&packed(&arrays, method), &schema).expect("sound");
        let batch = dataset.batch(&[2, 0]).expect("rows are there");
        assert_eq!(batch.inputs[0].shape(), [2, 2]);
        assert_eq!(batch.inputs[0].to_f32().expect("floats"), [5.0, 6.0, 1.0, 2.0]);
        assert_eq!(class_numbers(&dataset), [2, 0, 2]);
        assert_eq!((dataset.class_of(0), dataset.class_of(3)), (Some(2), None));
        assert_eq!(dataset.classes().expect("classes"), ["0", "1", "2"]);
        let [x, y] = dataset.columns() else { panic!("two arrays") };
        assert_eq!((x.name.as_str(), x.count, x.minimum, x.maximum), ("x", 6, 1.0, 6.0));
        assert_eq!((y.name.as_str(), y.kind, y.count, y.maximum), ("y", "class", 3, 2.0));
    }
}

#[test]
fn several_inputs_take_the_arrays_of_their_names() {
    let inputs = vec![spec("ids", DataType::Int64, &[2]), spec("age", DataType::Float32, &[])];
    let arrays = [
        ("age", npy("|u1", &[2], &[7, 8])),
        ("y", floats(&[2, 1], &[0.5, 1.5])),
        ("ids", npy("<i4", &[2, 2], &bytes_of(&[1i32, 2, 3, -4], i32::to_le_bytes))),
    ];
    let schema = Schema { inputs, target: numbers(&[1]) };
    let batch = all(&read_arrays(&arrays, &schema).expect("sound"));
    let ids = bytes_of(&[1i64, 2, 3, -4], i64::to_le_bytes);
    assert_eq!(batch.inputs[0].bytes().expect("numbers").as_ref(), ids);
    assert_eq!(batch.inputs[1].to_f32().expect("floats"), [7.0, 8.0]);
    assert_eq!(batch.target.to_f32().expect("floats"), [0.5, 1.5]);
    let missing = "there is no array \"age\"; there are \"ids\", \"y\"";
    assert_eq!(error(&arrays[1..], &schema), missing);
}

#[test]
fn types_are_converted_where_nothing_is_lost() {
    let check = |descriptor: &str, bytes: &[u8], expected: f32| {
        let arrays = [("x", npy(descriptor, &[1], bytes)), ("y", floats(&[1], &[0.0]))];
        let dataset = read_arrays(&arrays, &schema(&[], numbers(&[]))).expect("sound");
        let read = all(&dataset).inputs[0].to_f32().expect("floats");
        assert_eq!(read, [expected], "{descriptor}");
    };
    check("<f8", &0.1f64.to_le_bytes(), 0.1);
    check(">f4", &1.5f32.to_be_bytes(), 1.5);
    check("<f2", &half::f16::from_f32(-2.5).to_le_bytes(), -2.5);
    check("|b1", &[1], 1.0);
    check("<i8", &(-3i64).to_le_bytes(), -3.0);
    check(">u2", &258u16.to_be_bytes(), 258.0);
    let refused = |descriptor: &str, bytes: &[u8], (data_type, expected): (DataType, &str)| {
        let arrays = [("x", npy(descriptor, &[1], bytes)), ("y", floats(&[1], &[0.0]))];
        let inputs = vec![spec("x", data_type, &[])];
        let text = error(&arrays, &Schema { inputs, target: numbers(&[]) });
        assert_eq!(text, format!("row 1, array x[0]: expected {expected}"));
    };
    let single = DataType::Float32;
    let exact = "a whole number that FP32 holds exactly, got 16777217";
    refused("<i4", &16_777_217i32.to_le_bytes(), (single, exact));
    refused("<f8", &1e300f64.to_le_bytes(), (single, "a number that FP32 holds, got 1e300"));
}

#[test]
fn the_target_is_classes_from_whole_numbers_truths_or_text() {
    let x = ("x", floats(&[3], &[1.0, 2.0, 3.0]));
    let check = |array: Vec<u8>, classes: TargetSpec, expected: (&[i64], &[&str])| {
        let arrays = [x.clone(), ("y", array)];
        let dataset = read_arrays(&arrays, &schema(&[], classes)).expect("sound");
        assert_eq!(class_numbers(&dataset), expected.0);
        assert_eq!(dataset.classes().expect("classes"), expected.1);
    };
    check(floats(&[3], &[1.0, 0.0, 1.0]), classes(2, &[]), (&[1, 0, 1], &["0", "1"]));
    check(npy("|b1", &[3], &[1, 0, 1]), classes(2, &[]), (&[1, 0, 1], &["0", "1"]));
    check(longs(&[3, 1], &[1, -1, 1]), classes(2, &[]), (&[1, 0, 1], &["-1", "1"]));
    check(npy("|S3", &[3], b"dogcatdog"), classes(2, &[]), (&[1, 0, 1], &["cat", "dog"]));
    let letters: Vec<u8> = "bab".chars().flat_map(|letter| (letter as u32).to_le_bytes()).collect();
    check(npy("<U1", &[3], &letters), classes(5, &[]), (&[1, 0, 1], &["a", "b"]));
    let wrong = |array: Vec<u8>, expected: &str| {
        let arrays = [x.clone(), ("y", array)];
        assert_eq!(error(&arrays, &schema(&[], classes(4, &[]))), expected);
    };
    let half = "row 2, array y[1]: expected a whole number, got 0.5";
    wrong(floats(&[3], &[1.0, 0.5, 1.0]), half);
    wrong(
        floats(&[3], &[1.0, 1.0, f32::NAN]),
        "row 3, array y[2]: expected a whole number, got NaN",
    );
    wrong(longs(&[3], &[1, 1, 4]), "row 3, array y[2]: expected a class from 0 to 3, got 4");
    wrong(npy("|S1", &[3], b"a\0b"), "row 2, array y[1]: expected a label, got \"\"");
}

#[test]
fn a_sample_may_have_many_classes() {
    let x = ("x", floats(&[2], &[1.0, 2.0]));
    let arrays = [x.clone(), ("y", npy("|u1", &[2, 2, 2], &[0, 1, 2, 1, 0, 0, 2, 2]))];
    let dataset = read_arrays(&arrays, &schema(&[], classes(3, &[2, 2]))).expect("sound");
    assert_eq!(all(&dataset).target.shape(), [2, 2, 2]);
    assert_eq!(class_numbers(&dataset), [0, 1, 2, 1, 0, 0, 2, 2]);
    assert_eq!((dataset.class_of(0), dataset.classes().expect("classes").len()), (None, 3));
    let open = TargetSpec::Classes { count: None, shape: vec![2, 2] };
    let dataset = read_arrays(&arrays, &schema(&[], open)).expect("sound");
    assert_eq!(dataset.classes().expect("classes").len(), 3);
    let void = [x, ("y", npy("|u1", &[2, 2, 2], &[0, 1, 2, 1, 0, 0, 255, 2]))];
    let expected = "row 2, array y[1, 1, 0]: expected a class from 0 to 2, got 255";
    assert_eq!(error(&void, &schema(&[], classes(3, &[2, 2]))), expected);
}

#[test]
fn samples_that_lie_across_the_array_are_put_together() {
    // Of shape [2, 2, 3], with x[i, j, k] = 100 i + 10 j + k.
    let turned: Vec<f32> = (0..3)
        .flat_map(|k| (0..2).flat_map(move |j| (0..2).map(move |i| (100 * i + 10 * j + k) as f32)))
        .collect();
    let bytes = bytes_of(&turned, f32::to_le_bytes);
    let arrays =
        [("x", ordered("<f4", (true, &[2, 2, 3]), &bytes)), ("y", floats(&[2], &[0.0, 1.0]))];
    let dataset = read_arrays(&arrays, &schema(&[2, 3], numbers(&[]))).expect("sound");
    let expected = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 100.0, 101.0, 102.0, 110.0, 111.0, 112.0];
    assert_eq!(all(&dataset).inputs[0].to_f32().expect("floats"), expected);
}

#[test]
fn an_open_axis_takes_its_size_from_the_array() {
    let open = |name: &str| TensorSpec {
        shape: Some(vec![Dimension::Unknown, Dimension::Named("length".to_owned())]),
        ..spec(name, DataType::Int64, &[])
    };
    let schema = Schema { inputs: vec![open("ids"), open("mask")], target: numbers(&[]) };
    let y = ("y", floats(&[2], &[0.0, 1.0]));
    let ids = ("ids", longs(&[2, 3], &[1, 2, 3, 4, 5, 6]));
    let arrays = [ids.clone(), ("mask", longs(&[2, 3], &[1; 6])), y.clone()];
    let dataset = read_arrays(&arrays, &schema).expect("sound");
    assert_eq!(all(&dataset).inputs[0].shape(), [2, 3]);
    let expected = "array \"mask\" has shape [2, 2], input \"mask\" takes [?, length], where \
                    another array has 3 for length";
    assert_eq!(error(&[ids, ("mask", longs(&[2, 2], &[1; 4])), y], &schema), expected);
}

#[test]
fn shapes_agree_but_for_axes_of_one_and_flat_samples() {
    let check = |shape: &[usize], fits: bool| {
        let arrays = [("x", floats(shape, &[1.0; 8])), ("y", floats(&[2, 1], &[0.0, 1.0]))];
        let result = read_arrays(&arrays, &schema(&[1, 2, 2], numbers(&[])));
        match result {
            Ok(dataset) => {
                assert!(fits, "{shape:?}");
                assert_eq!(all(&dataset).inputs[0].shape(), [2, 1, 2, 2]);
            }
            Err(error) => assert!(!fits, "{error}"),
        }
    };
    check(&[2, 1, 2, 2], true);
    check(&[2, 2, 2], true);
    check(&[2, 2, 2, 1], true);
    check(&[2, 4], true);
    check(&[4, 2], false);
    check(&[2, 2, 2, 1, 1], true);
    let arrays = [("x", floats(&[2, 3], &[1.0; 6])), ("y", floats(&[2], &[0.0, 1.0]))];
    let expected = "array \"x\" has shape [2, 3], input \"x\" takes [batch, 2]";
    assert_eq!(error(&arrays, &schema(&[2], numbers(&[]))), expected);
    let expected = "array \"y\" has shape [2], the target takes [2] in each sample";
    assert_eq!(error(&arrays, &schema(&[3], numbers(&[2]))), expected);
}

#[test]
fn one_input_takes_the_only_other_array() {
    let arrays = [("X", floats(&[1], &[3.0])), ("y", floats(&[1], &[0.0]))];
    let dataset = read_arrays(&arrays, &schema(&[], numbers(&[]))).expect("sound");
    assert_eq!(dataset.columns()[0].name, "X");
    let mut more = arrays.to_vec();
    more.push(("Z", floats(&[1], &[3.0])));
    let expected = "there is no array \"x\"; there are \"X\", \"Z\", \"y\"";
    assert_eq!(error(&more, &schema(&[], numbers(&[]))), expected);
}

#[test]
fn what_is_wrong_is_told_with_array_and_row() {
    let schema = schema(&[2], numbers(&[]));
    let x = || ("x", floats(&[2, 2], &[1.0; 4]));
    let y = || ("y", floats(&[2], &[0.0, 1.0]));
    let check = |arrays: &[(&str, Vec<u8>)], expected: &str| {
        assert_eq!(error(arrays, &schema), expected);
    };
    check(&[], "there is no array \"y\"; there are none");
    check(&[x()], "there is no array \"y\"; there are \"x\"");
    let none = [("x", floats(&[0, 2], &[])), ("y", floats(&[0], &[]))];
    check(&none, "there is no row of data");
    let fewer = [x(), ("y", floats(&[1], &[0.0]))];
    check(&fewer, "array \"x\" has 2 samples, array \"y\" 1: expected as many");
    let scalar = [x(), ("y", floats(&[], &[0.0]))];
    check(&scalar, "array \"y\": it has no axis, expected one that counts samples");
    let nan = [("x", floats(&[2, 2], &[1.0, 1.0, 1.0, f32::NAN])), y()];
    check(&nan, "row 2, array x[1, 1]: expected a finite number, got NaN");
    let infinite = [x(), ("y", floats(&[2], &[f32::INFINITY, 1.0]))];
    check(&infinite, "row 1, array y[0]: expected a finite number, got inf");
    let objects = [("x", npy("|O", &[2, 2], b"\x80\x04")), y()];
    check(&objects, "array \"x\": its elements are objects of Python, which are not read");
    let text = [("x", npy("|S1", &[2, 2], b"abcd")), y()];
    check(&text, "row 1, array x[0, 0]: expected numbers for FP32, got text");
    let short = [("x", floats(&[2, 2], &[1.0; 3])), y()];
    check(&short, "array \"x\", row 2: its file ends within it");
    let long = [("x", floats(&[2, 2], &[1.0; 5])), y()];
    check(&long, "array \"x\": there is more behind its last element");
    let no_array = [("x", b"x,y\n1,2\n1,2\n".to_vec()), y()];
    check(&no_array, "array \"x\": it is no array of NumPy");
}

#[test]
fn an_array_that_claims_more_than_its_file_has_takes_no_memory() {
    let shape = [2, usize::MAX / 16];
    let arrays = [("x", npy("<f4", &shape, &[0; 64])), ("y", floats(&[2], &[0.0, 1.0]))];
    let open = TensorSpec { shape: None, ..spec("x", DataType::Float32, &[]) };
    let text = error(&arrays, &Schema { inputs: vec![open], target: numbers(&[]) });
    assert!(text.starts_with("array \"x\": its shape is [2, 1152921504606846975]"), "{text}");
}

#[test]
fn a_damaged_archive_is_refused() {
    let arrays = [("x", floats(&[2, 2], &[1.0; 4])), ("y", floats(&[2], &[0.0, 1.0]))];
    let schema = schema(&[2], numbers(&[]));
    let sound = packed(&arrays, CompressionMethod::Stored);
    let mut changed = sound.clone();
    let place = sound.windows(4).position(|part| part == 1f32.to_le_bytes()).expect("a value");
    changed[place] ^= 1;
    let text = text_of(read_bytes(&changed, &schema));
    assert!(text.to_lowercase().contains("checksum"), "{text}");
    assert!(read_bytes(&sound[..sound.len() / 2], &schema).is_err());
    assert!(read_bytes(b"", &schema).is_err());
}

proptest! {
    #[test]
    fn floats_come_back_in_every_order(
        (rows, columns) in (1usize..9, 1usize..9),
        fortran: bool,
        seed: u32,
    ) {
        let value = |row: usize, column: usize| {
            (seed.wrapping_mul(31).wrapping_add((row * 97 + column) as u32) >> 4) as f32
        };
        let at = |row, column| value(row, column).to_le_bytes();
        let bytes: Vec<u8> = if fortran {
            (0..columns).flat_map(|column| (0..rows).flat_map(move |row| at(row, column))).collect()
        } else {
            (0..rows).flat_map(|row| (0..columns).flat_map(move |column| at(row, column))).collect()
        };
        let arrays = [
            ("x", ordered("<f4", (fortran, &[rows, columns]), &bytes)),
            ("y", floats(&[rows], &vec![0.0; rows])),
        ];
        let dataset = read_arrays(&arrays, &schema(&[columns], numbers(&[]))).expect("sound");
        let read = all(&dataset).inputs[0].to_f32().expect("floats");
        let expected: Vec<f32> = (0..rows)
            .flat_map(|row| (0..columns).map(move |column| value(row, column)))
            .collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_change_to_an_archive_ends_the_process(place: prop::sample::Index, byte: u8) {
        let arrays = [("x", floats(&[2, 2], &[1.0; 4])), ("y", longs(&[2], &[0, 1]))];
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let mut archive = packed(&arrays, method);
            let place = place.index(archive.len());
            archive[place] = byte;
            let _ = read_bytes(&archive, &schema(&[2], classes(2, &[])));
        }
    }
}
