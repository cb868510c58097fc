//! What holds for the part as a whole: nothing is lost on save, and no bytes make it panic.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::build::{GraphBuilder, Node};
use super::external::ExternalFiles;
use super::normalize::normalize;
use super::proto::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
    TensorProto,
};
use super::samples::mlp;
use super::{OnnxError, assign, check, facts, graph, prune, read, read_bytes, weights, write};
use crate::tensor::{DataType, Tensor};

/// Models that Python's `onnx` wrote (`scripts/make_model_corpus.py`); between them they set every
/// field of every message of the format.
const WRITTEN_BY_PYTHON: [&str; 4] =
    ["functions.onnx", "subgraphs.onnx", "element_types.onnx", "everything_else.onnx"];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/model_file").join(name)
}

/// Everything that can be asked of a model, as a user of the part would.
fn ask_everything(model: &mut ModelProto) {
    let _ = facts::signature(model);
    let _ = facts::parameters(model);
    let _ = facts::operators(model);
    let _ = facts::operator_sets(model);
    let _ = check::check(model);
    let visit = &mut |tensor: &mut TensorProto| -> Result<(), ()> {
        let _ = weights::tensor(tensor);
        Ok(())
    };
    graph::visit_tensors_mut(model, visit).expect("visit never fails");
    let mut changed = model.clone();
    if normalize(&mut changed).is_ok() {
        prune::drop_unused(&mut changed);
        let _ = check::check(&changed);
    }
    let names = assign::weight_names(model).into_iter().map(str::to_owned);
    let nothing = Tensor::from_f32(&[0], &[]).expect("no values");
    let weights = names.map(|name| (name, nothing.clone())).collect();
    let _ = assign::assign(&mut model.clone(), &weights);
}

#[test]
fn every_field_of_the_format_survives_a_save() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in WRITTEN_BY_PYTHON {
        let original = std::fs::read(corpus(name)).expect("the corpus is in the repository");
        let model = read(&corpus(name)).expect(name);
        let copy = folder.path().join(name);
        write(&copy, &model).expect("the folder is writable");
        assert_eq!(std::fs::read(&copy).expect("just written"), original, "{name}");
    }
}

#[test]
fn unknown_enumeration_values_survive_a_save() {
    let attribute = AttributeProto { r#type: Some(99), ..AttributeProto::default() };
    let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
    let model = ModelProto {
        graph: Some(GraphProto { node: vec![node], ..GraphProto::default() }),
        opset_import: vec![super::build::operator_set("", 17)],
        ..ModelProto::default()
    };
    let bytes = model.encode_to_vec();
    let back = read_bytes(Path::new("m"), Bytes::from(bytes)).expect("a graph and an opset");
    assert_eq!(back, model);
    let attribute = &back.graph.expect("has one").node[0].attribute[0];
    assert_eq!(attribute.r#type(), AttributeType::Undefined);
}

#[test]
fn every_truncation_of_a_model_is_refused_by_name() {
    let whole = mlp(4, &[3], 2).encode_to_vec();
    for length in 0..whole.len() {
        let cut = Bytes::copy_from_slice(&whole[..length]);
        let error = read_bytes(Path::new("cut.onnx"), cut).expect_err("it lacks its end");
        assert!(error.to_string().starts_with("cut.onnx: "), "{error}");
        let expected = match length {
            0 => matches!(error, OnnxError::Empty { .. }),
            _ => matches!(
                error,
                OnnxError::Truncated { .. } | OnnxError::NoGraph { .. } | OnnxError::NoOpset { .. }
            ),
        };
        assert!(expected, "{length} of {} bytes: {error}", whole.len());
    }
}

#[test]
fn no_truncation_of_any_model_panics() {
    for name in WRITTEN_BY_PYTHON {
        let path = corpus(name);
        let whole = Bytes::from(std::fs::read(&path).expect("the corpus is in the repository"));
        for length in 0..whole.len() {
            // Between two outermost fields the rest is a model too, and nothing tells.
            match read_bytes(&path, whole.slice(..length)) {
                Ok(mut model) => ask_everything(&mut model),
                Err(error) => {
                    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
                }
            }
        }
    }
}

#[test]
fn the_model_that_ships_is_sound_and_keeps_its_signature() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits/1");
    let model = read(&folder.join("model.onnx")).expect("it ships");
    assert_eq!(check::check(&model), []);
    let signature = facts::signature(&model).expect("all are tensors");
    let texts: Vec<String> = signature
        .inputs
        .iter()
        .chain(&signature.outputs)
        .map(|spec| format!("{} {} {}", spec.name, spec.data_type, spec.shape_text()))
        .collect();
    let expected =
        ["pixels FP32 [batch, 64]", "probabilities FP32 [batch, 10]", "digit INT64 [batch]"];
    assert_eq!(texts, expected);
}

fn nested(levels: usize) -> ModelProto {
    let mut graph = GraphBuilder::new("innermost").into_graph();
    for _ in 1..levels {
        let mut outer = GraphBuilder::new("");
        outer.node(Node::new("If", &["x"]).attribute("then_branch", graph));
        graph = outer.into_graph();
    }
    let mut outer = GraphBuilder::new("outer");
    outer.input("x", DataType::Bool, "");
    outer.node(Node::new("If", &["x"]).attribute("then_branch", graph));
    outer.into_model(17)
}

#[test]
fn deep_nesting_is_refused() {
    let bytes = Bytes::from(nested(200).encode_to_vec());
    let text = read_bytes(Path::new("deep.onnx"), bytes).expect_err("too deep").to_string();
    assert!(text.starts_with("deep.onnx: not an ONNX model:"), "{text}");
    assert!(text.contains("recursion limit"), "{text}");
}

#[test]
fn thirty_subgraphs_within_each_other_are_read() {
    let bytes = nested(30).encode_to_vec();
    let mut model = read_bytes(Path::new("m"), Bytes::from(bytes)).expect("not too deep");
    assert_eq!(facts::operators(&model)[0].count, 30);
    ask_everything(&mut model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(mut model) = read_bytes(Path::new("random.onnx"), Bytes::from(bytes)) {
            ask_everything(&mut model);
        }
    }

    // One or two bytes: about a quarter of the models can still be read, so that what comes after
    // the reader meets damage too.
    #[test]
    fn damaged_models_never_panic(
        file in 0..WRITTEN_BY_PYTHON.len(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let path = corpus(WRITTEN_BY_PYTHON[file]);
        let mut bytes = std::fs::read(&path).expect("the corpus is in the repository");
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        match read_bytes(&path, Bytes::from(bytes)) {
            Ok(mut model) => {
                ask_everything(&mut model);
                let again = Bytes::from(model.encode_to_vec());
                let again = read_bytes(&path, again).expect("what was read can be read again");
                // Not the messages: a NaN is unlike itself.
                prop_assert_eq!(again.encode_to_vec(), model.encode_to_vec());
            }
            Err(error) => {
                prop_assert!(error.to_string().starts_with(&path.display().to_string()));
            }
        }
    }

    #[test]
    fn whatever_a_tensor_says_of_itself_it_is_read_or_refused_by_name(
        data_type in -1..32,
        dims in proptest::collection::vec(prop_oneof![-1..5i64, any::<i64>()], 0..4),
        raw in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)),
        int32_data in proptest::collection::vec(prop_oneof![-2..300, any::<i32>()], 0..8),
        uint64_data in proptest::collection::vec(any::<u64>(), 0..8),
        strings in 0..4usize,
        external in proptest::collection::vec(("location|offset|length", "[0-9.a/-]{0,20}"), 0..3),
        data_location in 0..3,
        fitting in any::<bool>(),
    ) {
        let entry = |(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) };
        let mut proto = TensorProto {
            name: Some("weight".to_owned()),
            data_type: Some(data_type),
            dims,
            raw_data: raw.map(Bytes::from),
            float_data: int32_data.iter().map(|&value| value as f32).collect(),
            int32_data,
            uint64_data,
            string_data: vec![Bytes::new(); strings],
            external_data: external.into_iter().map(entry).collect(),
            data_location: Some(data_location),
            ..TensorProto::default()
        };
        // By chance alone hardly any would be as long as its shape says.
        if let (true, Ok(length @ 0..4096)) = (fitting, weights::stored_bytes(&proto)) {
            proto.raw_data = Some((0..length).map(|index| index.to_le_bytes()[0]).collect());
            proto.data_location = None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for read in [weights::tensor(&proto), ExternalFiles::new(&folder).tensor(&proto)] {
            match read {
                Ok(tensor) => {
                    let again = weights::tensor(&weights::tensor_proto("weight", &tensor));
                    prop_assert_eq!(again.expect("just made"), tensor);
                }
                Err(error) => prop_assert!(error.to_string().contains("\"weight\"")),
            }
        }
        let mut graph = GraphBuilder::new("g").into_model(17);
        graph.graph.as_mut().expect("just built").initializer.push(proto);
        ask_everything(&mut graph);
    }
}
