//! Promises about tables.

use proptest::prelude::*;

use super::*;
use crate::data::open;
use crate::tensor::{Dimension, Tensor, TensorSpec};

fn spec(name: &str, data_type: DataType, sizes: &[usize]) -> TensorSpec {
    let batch = Dimension::Named("batch".to_owned());
    let sizes = sizes.iter().map(|&size| Dimension::Fixed(size));
    let shape = Some(std::iter::once(batch).chain(sizes).collect());
    TensorSpec { name: name.to_owned(), data_type, shape, optional: false }
}

fn classes() -> TargetSpec {
    TargetSpec::Classes { count: Some(3), shape: vec![] }
}

fn two_features() -> Schema {
    Schema { inputs: vec![spec("x", DataType::Float32, &[2])], target: classes() }
}

fn read_with(
    text: impl AsRef<[u8]>,
    (target, header): (&str, Option<bool>),
    schema: &Schema,
) -> Result<Dataset, DataError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data.csv");
    std::fs::write(&path, text).expect("the folder is writable");
    open(&path, target, header, schema)
}

fn read_text(text: impl AsRef<[u8]>, target: &str, schema: &Schema) -> Result<Dataset, DataError> {
    read_with(text, (target, None), schema)
}

fn error(text: impl AsRef<[u8]>, target: &str, schema: &Schema) -> String {
    let error = read_text(text, target, schema).expect_err("it is wrong").to_string();
    error.rsplit_once("data.csv: ").expect("the file is named").1.to_owned()
}

fn first_input(dataset: &Dataset) -> (Tensor, Tensor) {
    let rows: Vec<usize> = (0..dataset.rows()).collect();
    let batch = dataset.batch(&rows).expect("rows are there");
    (batch.inputs[0].clone(), batch.target)
}

#[test]
fn a_table_becomes_tensors_in_the_order_of_its_columns() {
    let text = "a,y,b\r\n1,0, 2.5 \n\n3,\"2\",4\n";
    let dataset = read_text(text, "y", &two_features()).expect("sound");
    let (input, target) = first_input(&dataset);
    assert_eq!(input.shape(), [2, 2]);
    assert_eq!(input.to_f32().expect("floats"), [1.0, 2.5, 3.0, 4.0]);
    assert_eq!(target.shape(), [2]);
    let expected: Vec<u8> = [0i64, 2].iter().flat_map(|class| class.to_le_bytes()).collect();
    assert_eq!(target.bytes().expect("numbers").as_ref(), expected);
    let columns: Vec<&str> = dataset.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["a", "b", "y"]);
}

#[test]
fn without_a_header_columns_are_numbered() {
    let dataset = read_text("1,2,0\n3,4,1\n", "2", &two_features()).expect("sound");
    assert_eq!(dataset.rows(), 2);
    assert_eq!(first_input(&dataset).0.to_f32().expect("floats"), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn labels_are_classes_in_their_order() {
    let text = "a,b,y\n1,2,dog\n3,4,cat\n5,6,dog\n";
    let dataset = read_text(text, "y", &two_features()).expect("sound");
    assert_eq!(dataset.classes().expect("classes"), ["cat", "dog"]);
    let classes: Vec<_> = (0..3).map(|row| dataset.class_of(row)).collect();
    assert_eq!(classes, [Some(1), Some(0), Some(1)]);
}

#[test]
fn several_inputs_find_their_columns_by_name() {
    let inputs = vec![spec("age", DataType::Int64, &[]), spec("x", DataType::Float32, &[2])];
    let target = TargetSpec::Numbers { data_type: DataType::Float32, shape: vec![1] };
    let schema = Schema { inputs, target };
    let dataset = read_text("x.1,age,y,x.0\n1,7,0.5,2\n", "y", &schema).expect("sound");
    let batch = dataset.batch(&[0]).expect("it is there");
    assert_eq!(batch.inputs[0].bytes().expect("numbers").as_ref(), 7i64.to_le_bytes());
    assert_eq!(batch.inputs[1].to_f32().expect("floats"), [2.0, 1.0]);
    assert_eq!(batch.target.shape(), [1, 1]);
    let missing = error("x.1,y,x.0\n1,0.5,2\n", "y", &schema);
    assert_eq!(missing, "input \"age\" takes 1 values a sample: expected a column \"age\"");
}

#[test]
fn what_is_wrong_is_told_with_row_and_column() {
    let schema = two_features();
    let check = |text: &str, expected: &str| assert_eq!(error(text, "y", &schema), expected);
    check("", "there is no row of data");
    check("a,b,y\n", "there is no row of data");
    check("a,b,z\n1,2,0\n", "there is no column \"y\"; there are \"a\", \"b\", \"z\"");
    check("a,a,y\n1,2,0\n", "there are two columns \"a\"");
    check("a,b,y\n1,2,0\n1,2\n", "row 2 has 2 fields, expected 3");
    let number = "row 2, column \"b\": expected a finite number, got ";
    check("a,b,y\n1,2,0\n1,x,0\n", &format!("{number}\"x\""));
    check("a,b,y\n1,2,0\n1,,0\n", &format!("{number}\"\""));
    check("a,b,y\n1,2,0\n1,nan,0\n", &format!("{number}\"nan\""));
    check("a,b,y\n1,2,\n", "row 1, column \"y\": expected a label, got \"\"");
    check(
        "a,y\n1,0\n",
        "input \"x\" takes 2 values a sample, the columns beside the target are 1: \"a\"",
    );
    let class = "row 2, column \"y\": expected a class from 0 to 2, got \"7\"";
    check("a,b,y\n1,2,0\n1,2,7\n", class);
    check(
        "a,b,y\n1,2,p\n1,2,q\n1,2,r\n1,2,s\n",
        "the target has 4 labels, the model 3 classes: p, q, r, s",
    );
}

#[test]
fn targets_that_are_no_numbers_are_told_with_their_row() {
    let inputs = vec![spec("x", DataType::Float32, &[])];
    let target = TargetSpec::Numbers { data_type: DataType::Float32, shape: vec![1] };
    let wrong = error("x,y\n1,0.5\n2,inf\n", "y", &Schema { inputs, target });
    assert_eq!(wrong, "row 2, column \"y\": expected a finite number, got \"inf\"");
}

#[test]
fn the_target_may_be_the_last_column() {
    for text in ["1,2,0\n3,4,1\n", "a,b,y\n1,2,0\n3,4,1\n"] {
        let dataset = read_text(text, "last", &two_features()).expect("sound");
        assert_eq!(first_input(&dataset).0.to_f32().expect("floats"), [1.0, 2.0, 3.0, 4.0]);
    }
    // A column of that name is meant before the last one.
    let dataset = read_text("a,last,b\n1,0,2\n", "last", &two_features()).expect("sound");
    assert_eq!(first_input(&dataset).0.to_f32().expect("floats"), [1.0, 2.0]);
}

#[test]
fn a_header_is_found_out_unless_it_is_given() {
    let rows = |text: &str, given: (&str, Option<bool>)| {
        read_with(text, given, &two_features()).map(|dataset| dataset.rows())
    };
    let found = |text: &str, target: &str| rows(text, (target, None)).expect("sound");
    assert_eq!(found("a,b,y\n1,2,0\n", "y"), 1);
    assert_eq!(found("1,2,0\n1,2,0\n", "2"), 2);
    // Names that are numbers, and the target's.
    assert_eq!(found("0,1,target\n1,2,0\n", "target"), 1);
    // No name, for the second row has it too.
    assert_eq!(found("1,2,cat\n1,2,cat\n", "2"), 2);
    assert_eq!(rows("0,1,2\n1,2,0\n", ("2", Some(true))).expect("sound"), 1);
    assert_eq!(rows("0,1,2\n1,2,0\n", ("2", Some(false))).expect("sound"), 2);
    let error = rows("a,b,c\nd,e,f\n", ("y", None)).expect_err("no such column").to_string();
    let known = "there are \"0\" to \"2\" and \"last\", for the first line was taken for data";
    assert!(error.ends_with(known), "{error}");
    let words = Schema { inputs: vec![spec("x", DataType::Bool, &[1])], target: classes() };
    assert_eq!(read_text("a,y\ntrue,cat\n", "y", &words).expect("sound").rows(), 1);
}

#[test]
fn quotes_marks_and_blanks_are_no_part_of_values() {
    let text = "\u{feff}\"a\", b ,\"y, \"\"why\"\"\"\r\n\"1\", 2 ,\"x\r\ny\"\r\n \t\r\n3,4,z\r\n";
    let dataset = read_text(text, "y, \"why\"", &two_features()).expect("sound");
    assert_eq!(first_input(&dataset).0.to_f32().expect("floats"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(dataset.classes().expect("classes"), ["x\r\ny", "z"]);
    let names: Vec<&str> = dataset.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "y, \"why\""]);
    let marked = read_text("\u{feff}1,2,0\n", "2", &two_features()).expect("sound");
    assert_eq!(first_input(&marked).0.to_f32().expect("floats"), [1.0, 2.0]);
}

#[test]
fn columns_are_told_with_their_figures() {
    let dataset = read_text("a,b,y\n1,5,dog\n3,5,cat\n", "y", &two_features()).expect("sound");
    let [a, b, y] = dataset.columns() else { panic!("three columns") };
    assert_eq!((a.minimum, a.maximum, a.mean, a.standard_deviation), (1.0, 3.0, 2.0, 1.0));
    assert_eq!((b.count, b.standard_deviation), (2, 0.0));
    assert_eq!((y.kind, y.minimum, y.maximum, y.mean), ("class", 0.0, 1.0, 0.5));
}

#[test]
fn what_a_table_cannot_have_is_refused_before_it_is_read() {
    let check = |inputs: Vec<TensorSpec>, target: TargetSpec, expected: &str| {
        // The values are wrong too, which nobody comes to.
        assert_eq!(error("a,b,y\n?,?,1\n", "y", &Schema { inputs, target }), expected);
    };
    let known = "data is read as BOOL, whole numbers, FP32 or FP64";
    for (data_type, name) in
        [(DataType::Float16, "FP16"), (DataType::BFloat16, "BF16"), (DataType::String, "BYTES")]
    {
        let expected = format!("input \"x\" is {name}: {known}");
        check(vec![spec("x", data_type, &[2])], classes(), &expected);
    }
    let mut open = spec("x", DataType::Float32, &[2]);
    open.shape.as_mut().expect("a shape")[1] = Dimension::Named("length".to_owned());
    let expected = "input \"x\" has shape [batch, length]: a table needs all axes behind the first \
                    to be fixed; give data as .npz";
    check(vec![open], classes(), expected);
    let two = TargetSpec::Numbers { data_type: DataType::Float32, shape: vec![2] };
    let expected = "the target has shape [2] in each sample, a table's column one value: give data \
                    as .npz";
    check(vec![spec("x", DataType::Float32, &[2])], two, expected);
    let expected = "input \"x\" has shape [9223372036854775807, 4]: too many elements to count";
    check(vec![spec("x", DataType::Float32, &[usize::MAX / 2, 4])], classes(), expected);
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    let schema = two_features();
    let latin = error(b"a,b,y\n1,2,caf\xe9\n", "y", &schema);
    assert_eq!(latin, "row 1, column \"y\": expected a label in UTF-8, got \"caf\u{fffd}\"");
    // As UTF-16, which Windows writes.
    let wide = error(b"\xff\xfea\0,\0y\0\n\0", "y", &schema);
    assert_eq!(wide, "its first line is no text in UTF-8");
}

#[test]
fn a_quote_left_open_does_not_take_the_whole_file_into_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data.csv");
    let text = format!("1,2\n\"1,2\n{}", "3,4\n".repeat(1 << 18));
    std::fs::write(&path, text).expect("the folder is writable");
    let mut rows = Rows::open(&path, b',', 1 << 18).expect("it is there");
    let mut record = ByteRecord::new();
    assert!(rows.next(&mut record).expect("sound"));
    let error = rows.next(&mut record).expect_err("too long").to_string();
    assert!(
        error.ends_with("a row takes more than 262144 bytes: is a quote left open?"),
        "{error}"
    );
    assert!(record.as_slice().len() <= 1 << 19);
}

#[test]
fn a_long_value_is_shown_by_its_beginning() {
    let text = format!("a,b,y\n1,{},0\n", "z".repeat(1000));
    let wrong = error(text, "y", &two_features());
    assert!(wrong.len() < 120 && wrong.ends_with("zzz…\""), "{wrong}");
}

#[test]
fn an_unknown_ending_is_refused_with_those_that_are_known() {
    let error = open(Path::new("data.parquet"), "y", None, &two_features()).expect_err("unknown");
    let expected = "data.parquet: expected a file whose name ends in .csv, .tsv or .npz";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn tabs_separate_the_fields_of_a_tsv() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data.TSV");
    std::fs::write(&path, "a\tb\ty\n1\t2\tone, two\n").expect("the folder is writable");
    let dataset = open(&path, "y", None, &two_features()).expect("sound");
    assert_eq!(dataset.classes().expect("classes"), ["one, two"]);
}

#[test]
fn a_row_that_is_not_there_is_an_error() {
    let dataset = read_text("a,b,y\n1,2,0\n", "y", &two_features()).expect("sound");
    assert!(dataset.batch(&[0, 1]).is_err());
    assert_eq!(dataset.batch(&[]).expect("nothing is there").inputs[0].shape(), [0, 2]);
}

proptest! {
    #[test]
    fn numbers_come_back_as_they_were_written(
        rows in proptest::collection::vec((any::<f32>(), any::<f64>(), any::<i64>()), 1..20),
    ) {
        let finite = |(a, b, _): &&(f32, f64, i64)| a.is_finite() && b.is_finite();
        let rows: Vec<_> = rows.iter().filter(finite).collect();
        prop_assume!(!rows.is_empty());
        let inputs = vec![spec("a", DataType::Float32, &[]), spec("b", DataType::Float64, &[])];
        let target = TargetSpec::Numbers { data_type: DataType::Int64, shape: vec![] };
        let lines: Vec<String> = rows.iter().map(|(a, b, c)| format!("{a:e},{b},{c}")).collect();
        let text = format!("a,b,c\n{}\n", lines.join("\n"));
        let dataset = read_text(text, "c", &Schema { inputs, target }).expect("sound");
        for (index, (a, b, c)) in rows.into_iter().enumerate() {
            let batch = dataset.batch(&[index]).expect("it is there");
            let bytes = |tensor: &Tensor| tensor.bytes().expect("numbers").to_vec();
            prop_assert_eq!(bytes(&batch.inputs[0]), a.to_le_bytes());
            prop_assert_eq!(bytes(&batch.inputs[1]), b.to_le_bytes());
            prop_assert_eq!(bytes(&batch.target), c.to_le_bytes());
        }
    }

    #[test]
    fn no_text_ends_the_process(text in "[a-c0-9,\"\\n\\r .\u{feff}é-]{0,60}", target in "[0-2a]") {
        let _ = read_text(text, &target, &two_features());
    }
}
