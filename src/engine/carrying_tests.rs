//! What runs hand to each other, on both engines and on one that knows nothing of it.

use std::sync::Arc;

use super::onnxruntime::testing::test_engine;
use super::tract::Tract;
use super::{Carry, Carrying, CarryingSession, Engine, ModelSource, Replayed, SessionSettings};
use crate::onnx::build::{GraphBuilder, Node};
use crate::onnx::proto::ModelProto;
use crate::onnx::write;
use crate::tensor::{DataType, Tensor};

/// `total' = total + x`, `previous' = total`, reported: `answer = total · x`.
fn running_total(rows: &str) -> ModelProto {
    let mut graph = GraphBuilder::new("running total");
    for name in ["total", "x", "previous"] {
        graph.input(name, DataType::Float32, rows);
    }
    graph.node(Node::new("Add", &["total", "x"]).output("next"));
    graph.node(Node::new("Identity", &["total"]).output("before"));
    graph.node(Node::new("Mul", &["total", "x"]).output("answer"));
    graph.node(Node::new("Add", &["previous", "x"]).output("unused"));
    for name in ["next", "before", "answer", "unused"] {
        graph.output(name, DataType::Float32, rows);
    }
    graph.into_model(17)
}

/// The model on every engine, and as a session that is given its state every time.
fn sessions(model: &ModelProto) -> Vec<(&'static str, Box<dyn CarryingSession>)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    write(&path, model).expect("the folder is writable");
    let engines: [(&str, Arc<dyn Engine>, bool); 4] = [
        ("ONNX Runtime", test_engine(), false),
        ("tract", Arc::new(Tract), false),
        ("given to ONNX Runtime", test_engine(), true),
        ("given to tract", Arc::new(Tract), true),
    ];
    let session = |(name, engine, given): (&'static str, Arc<dyn Engine>, bool)| {
        let source = ModelSource { path: path.clone() };
        let session = engine.open(&source, &SessionSettings::cpu()).expect("it opens");
        let place = |name: &str, specs: &[crate::tensor::TensorSpec]| {
            specs.iter().position(|spec| spec.name == name).expect("the model has it")
        };
        let signature = session.signature().clone();
        let carry = |from: &str, to: &str| Carry {
            input: place(from, &signature.inputs),
            output: place(to, &signature.outputs),
            in_place: false,
        };
        let carrying = Carrying {
            carried: vec![carry("total", "next"), carry("previous", "before")],
            initial: vec![pair(1.0, 2.0), pair(0.0, 0.0)],
            reported: vec![place("answer", &signature.outputs)],
        };
        let session = match given {
            true => Box::new(Replayed::new(session, carrying)),
            false => session.carry(carrying).expect("there is room"),
        };
        (name, session)
    };
    engines.into_iter().map(session).collect()
}

fn pair(first: f32, second: f32) -> Tensor {
    Tensor::from_f32(&[2], &[first, second]).expect("two numbers")
}

fn given(x: Tensor) -> Vec<Option<Tensor>> {
    vec![None, Some(x), None]
}

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(|tensor| tensor.to_f32().expect("floats")).collect()
}

#[test]
fn a_run_begins_where_the_one_before_it_ended() {
    for shape in ["2", "rows"] {
        for (name, mut session) in sessions(&running_total(shape)) {
            let mut run = |first, second| {
                let answer = session.run(&given(pair(first, second))).expect("it runs");
                numbers(&answer).concat()
            };
            assert_eq!(run(10.0, 20.0), [10.0, 40.0], "{name}, {shape}");
            assert_eq!(run(1.0, -1.0), [11.0, -22.0], "{name}, {shape}");
            assert_eq!(run(1.0, 1.0), [12.0, 21.0], "{name}, {shape}");
            let state = numbers(&session.state(0..2).expect("it is there"));
            assert_eq!(state, [[13.0, 22.0], [12.0, 21.0]], "{name}, {shape}");
        }
    }
}

#[test]
fn what_was_read_of_a_state_stays_as_it_was() {
    for (name, mut session) in sessions(&running_total("2")) {
        let before = session.state(0..1).expect("it is there");
        for _ in 0..2 {
            session.run(&given(pair(5.0, 5.0))).expect("it runs");
        }
        assert_eq!(numbers(&before), [[1.0, 2.0]], "{name}");
    }
}

#[test]
fn another_state_takes_the_place_of_the_one_that_was() {
    for (name, mut session) in sessions(&running_total("2")) {
        session.run(&given(pair(5.0, 5.0))).expect("it runs");
        session.set_state(&[pair(7.0, 8.0), pair(0.5, 0.5)]).expect("it fits");
        assert_eq!(numbers(&session.state(1..2).expect("there")), [[0.5, 0.5]], "{name}");
        let answer = session.run(&given(pair(1.0, 2.0))).expect("it runs");
        assert_eq!(numbers(&answer), [[7.0, 16.0]], "{name}");
    }
}

#[test]
fn a_state_of_other_shapes_is_refused() {
    for (name, mut session) in sessions(&running_total("2")) {
        let long = Tensor::from_f32(&[3], &[0.0; 3]).expect("three numbers");
        let error = session.set_state(&[long, pair(0.0, 0.0)]).expect_err("it is too long");
        let text = error.to_string();
        assert!(
            text.contains("tensor 0 of the state is FP32 [3], expected FP32 [2]"),
            "{name}: {text}"
        );
        let error = session.set_state(&[pair(0.0, 0.0)]).expect_err("one is missing");
        assert!(error.to_string().contains("1 tensors, expected 2"), "{name}: {error}");
        assert_eq!(numbers(&session.state(0..1).expect("there")), [[1.0, 2.0]], "{name}");
    }
}

#[test]
fn an_input_that_does_not_fit_is_refused_and_changes_nothing() {
    for (name, mut session) in sessions(&running_total("2")) {
        let long = Tensor::from_f32(&[3], &[0.0; 3]).expect("three numbers");
        for x in [Some(long), None] {
            session.run(&[None, x, None]).expect_err("it does not fit");
            assert_eq!(numbers(&session.state(0..1).expect("there")), [[1.0, 2.0]], "{name}");
        }
        session.run(&given(pair(1.0, 1.0))).expect("it runs as before");
    }
}
