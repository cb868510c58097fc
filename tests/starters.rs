//! Models to start from, as `onnxd new` writes them: sound, and the same on both engines.

use std::path::Path;
use std::sync::Arc;

use onnxd::engine::{
    Engine, EngineChoice, EngineSettings, ModelSource, Session, SessionSettings, choose,
};
use onnxd::tensor::{DataType, Dimension, Tensor};

use crate::support::{onnxd, onnxruntime_library, python, request};

/// What a float may differ by, as a share of its tensor's largest: engines have kernels of their
/// own.
const TOLERANCE: f32 = 2e-5;

/// Samples in a batch.
const BATCH: usize = 3;

/// Below every model's vocabulary.
const TOKENS: u64 = 50;

/// Models of every kind, with every option, by name.
const MODELS: &[(&str, &str)] = &[
    ("mlp", "mlp --inputs 64 --outputs 10"),
    ("regression", "mlp --inputs 5 --outputs 1 --hidden 7 --activation tanh"),
    ("batch", "mlp --inputs 5 --outputs 3 --normalization batch --activation silu"),
    ("layer", "mlp --inputs 5 --outputs 3 --normalization layer --activation gelu"),
    ("elu", "mlp --inputs 5 --outputs 3 --activation elu --initialization xavier --seed 3"),
    ("cnn", "cnn --inputs 3,32,32 --outputs 10"),
    ("odd", "cnn --inputs 1,13,9 --outputs 4 --channels 5,6,7 --blocks 2 --activation gelu"),
    ("pool", "cnn --inputs 2,12,18 --outputs 4 --channels 4,8 --downsampling max-pool"),
    ("plain", "cnn --inputs 3,8,8 --outputs 2 --channels 4,8 --normalization none"),
    ("residual", "cnn --inputs 3,16,16 --outputs 10 --channels 8,16 --blocks 2 --residual"),
    (
        "shrunk",
        "cnn --inputs 3,9,9 --outputs 2 --channels 4,4 --residual --downsampling max-pool \
         --initialization kaiming",
    ),
    ("transformer", "transformer --vocabulary 100 --length 12 --outputs 4"),
    (
        "masked",
        "transformer --vocabulary 50 --length 9 --outputs 1 --mask --width 12 --heads 3 \
         --layers 1 --feed-forward 20 --activation relu --initialization normal",
    ),
    ("single", "transformer --vocabulary 50 --length 1 --outputs 2 --width 8 --heads 8"),
];

fn engine(choice: EngineChoice) -> Arc<dyn Engine> {
    let library = Some(onnxruntime_library().to_owned());
    choose(&EngineSettings { engine: choice, onnxruntime_library: library })
        .expect("the engine is there")
}

/// Writes a model with the real binary.
fn write(folder: &Path, name: &str, options: &str) -> String {
    let path = folder.join(format!("{name}.onnx"));
    let path = path.to_str().expect("a UTF-8 path").to_owned();
    let mut words = vec!["new"];
    words.extend(options.split_whitespace());
    words.push(&path);
    let output = onnxd(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    assert!(said.starts_with(&path) && said.ends_with(" parameters\n"), "{name}: {said}");
    assert!(output.stdout.is_empty(), "{name}: {output:?}");
    path
}

fn open(choice: EngineChoice, path: &str) -> Box<dyn Session> {
    let source = ModelSource { path: path.into() };
    engine(choice)
        .open(&source, &SessionSettings::cpu())
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Inputs of a batch: floats, tokens, and a mask that leaves some of them.
fn inputs(session: &dyn Session) -> Vec<Option<Tensor>> {
    let specs = &session.signature().inputs;
    let made = specs.iter().map(|spec| {
        let size = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => *size,
            _ => BATCH,
        };
        let shape = spec.shape.as_ref().expect("its rank is known");
        let shape: Vec<usize> = shape.iter().map(size).collect();
        let numbers = 0..shape.iter().product::<usize>() as u64;
        let integers = |make: &dyn Fn(u64) -> u64| {
            let values = numbers.clone().map(|index| make(index) as i64);
            request::int64(&shape, &values.collect::<Vec<i64>>())
        };
        Some(match (spec.data_type, spec.name.as_str()) {
            (DataType::Float32, _) => request::floats(&shape, 1),
            (_, "attention_mask") => integers(&|index| u64::from(index % 4 != 3)),
            _ => integers(&|index| index * 7 % TOKENS),
        })
    });
    made.collect()
}

fn answer(session: &mut dyn Session, inputs: &[Option<Tensor>]) -> Tensor {
    session.run(inputs, &[0]).expect("the model runs").remove(0)
}

#[test]
fn every_kind_is_sound_and_answers_alike_on_both_engines() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let mut paths = Vec::new();
    for (name, options) in MODELS {
        let path = write(folder.path(), name, options);
        let mut onnxruntime = open(EngineChoice::OnnxRuntime, &path);
        let mut tract = open(EngineChoice::Tract, &path);
        let inputs = inputs(&*onnxruntime);
        let expected = answer(&mut *onnxruntime, &inputs);
        assert_eq!(expected.shape()[0], BATCH, "{name}");
        request::assert_close(name, &expected, &answer(&mut *tract, &inputs), TOLERANCE);
        let values = expected.to_f32().expect("the answer is of floats");
        assert!(values.iter().all(|value| value.is_finite()), "{name}: {values:?}");
        assert!(values.iter().any(|value| *value != values[0]), "{name}: {values:?}");
        paths.push(path);
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    python::run("check_models.py", &paths);
}

#[test]
fn inspect_knows_every_kind() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let library = onnxruntime_library().to_str().expect("a UTF-8 path");
    for (name, input) in [("mlp", "input"), ("cnn", "input"), ("transformer", "input_ids")] {
        let (_, options) = MODELS.iter().find(|(it, _)| *it == name).expect("it is listed");
        let path = write(folder.path(), name, options);
        let shown = onnxd(&["inspect", &path, "--onnxruntime", library, "--json"]);
        assert_eq!(shown.status.code(), Some(0), "{shown:?}");
        let text = String::from_utf8_lossy(&shown.stdout);
        for word in [input, "output", "tract", "onnxruntime"] {
            assert!(text.contains(&format!("\"{word}\"")), "{word} is not in {text}");
        }
    }
}

#[test]
fn every_kind_can_be_differentiated() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    for (name, options) in MODELS {
        let path = write(folder.path(), name, options);
        let gradient = format!("{path}.gradient");
        let made = onnxd(&["gradient", &path, "--engine", "tract", "--output", &gradient]);
        assert_eq!(made.status.code(), Some(0), "{name}: {made:?}");
    }
}

#[test]
fn what_is_masked_has_no_influence() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let options = "transformer --vocabulary 50 --length 6 --outputs 3 --mask";
    let path = write(folder.path(), "masked", options);
    let run = |choice, tokens: &[i64], mask: &[i64]| {
        let inputs = [tokens, mask].map(|values| Some(request::int64(&[1, 6], values)));
        answer(&mut *open(choice, &path), &inputs).to_f32().expect("floats")
    };
    for choice in [EngineChoice::OnnxRuntime, EngineChoice::Tract] {
        let mask = [1, 1, 1, 1, 0, 0];
        let one = run(choice, &[4, 9, 2, 7, 0, 0], &mask);
        assert_eq!(one, run(choice, &[4, 9, 2, 7, 33, 8], &mask), "{choice:?}");
        assert_ne!(one, run(choice, &[4, 9, 2, 8, 0, 0], &mask), "{choice:?}");
        assert_ne!(one, run(choice, &[4, 9, 2, 7, 0, 0], &[1; 6]), "{choice:?}");
        // None counts: no division by nothing.
        let none = run(choice, &[4, 9, 2, 7, 0, 0], &[0; 6]);
        assert!(none.iter().all(|value| value.is_finite()), "{choice:?}: {none:?}");
    }
}

#[test]
fn the_same_words_write_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let bytes = |name: &str, options: &str| {
        std::fs::read(write(folder.path(), name, options)).expect("just written")
    };
    let options = "mlp --inputs 4 --outputs 2 --initialization kaiming";
    let one = bytes("one", options);
    assert_eq!(one, bytes("two", options));
    assert_ne!(one, bytes("three", &format!("{options} --seed 1")));
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, "mine").expect("the folder is writable");
    let path = path.to_str().expect("a UTF-8 path");
    let refused = onnxd(&["new", "mlp", path, "--inputs", "4", "--outputs", "2"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(path) && said.contains("exists already"), "{said}");
    assert_eq!(std::fs::read(path).expect("still there"), b"mine");
}

#[test]
fn options_that_make_no_model_are_a_wrong_command_line_and_leave_no_file() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let path = folder.path().join("model.onnx");
    let path = path.to_str().expect("a UTF-8 path");
    for (options, expected) in [
        ("mlp --inputs 0 --outputs 2", "--inputs: expected a size from 1"),
        ("mlp --inputs 4 --outputs 0", "--outputs: expected a size from 1"),
        ("mlp --inputs 4 --outputs 2 --hidden 3,0", "--hidden: expected a size from 1"),
        ("mlp --inputs 16000000 --outputs 2 --hidden 16000000", "more than 500000000 weights"),
        ("cnn --inputs 3,8,8 --outputs 2 --channels 1,1,1,1,1", "--channels: an image of side 8"),
        ("cnn --inputs 3,8,8 --outputs 2 --normalization layer", "--normalization: layer is for"),
        (
            "transformer --vocabulary 9 --length 4 --outputs 2 --heads 3",
            "--heads: a width of 128 cannot be shared among 3 heads",
        ),
    ] {
        let mut words = vec!["new"];
        words.extend(options.split_whitespace());
        words.push(path);
        let refused = onnxd(&words);
        assert_eq!(refused.status.code(), Some(2), "{options}: {refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(expected), "{options}: {said}");
        assert!(!Path::new(path).exists(), "{options}");
    }
}
