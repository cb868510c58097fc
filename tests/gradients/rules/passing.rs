//! What passes its input on.

use onnxd::autodiff::backward;
use onnxd::onnx::build::{GraphBuilder, Node, value_info};
use onnxd::tensor::DataType;
use onnxd::train::{observe, open};

use crate::case::Case;
use crate::engines::onnxruntime;
use crate::numbers::{bools, floats, values};

#[test]
fn identity() {
    Case::of("Identity").floats(&[2, 3]).check();
}

#[test]
fn dropout_that_drops_nothing() {
    Case::of("Dropout").floats(&[2, 3]).check();
    Case::of("Dropout").floats(&[2, 3]).fixed(&[], &[0.3]).check();
    Case::of("Dropout").floats(&[2, 3]).fixed(&[], &[0.3]).outputs(2).using(&[0]).check();
    let training = |case: Case, on| case.constant(bools(&[], &[on]));
    let of = |ratio: f64| Case::of("Dropout").floats(&[2, 3]).fixed(&[], &[ratio]);
    training(of(0.3), false).check();
    training(of(0.0), true).outputs(2).using(&[0]).check();
    of(0.0).given(bools(&[], &[true])).outputs(2).using(&[0]).on_onnxruntime().check();
    of(0.3).given(bools(&[], &[false])).outputs(2).using(&[0]).on_onnxruntime().check();
    training(of(0.3), true).refused("no output that says what");
}

/// Every run draws anew, so that there are no differences to compare with; but what was kept is
/// as many times larger as its gradient.
#[test]
fn dropout_in_training_passes_what_it_kept() {
    for ratio in [Some(0.25), None] {
        let mut graph = GraphBuilder::new("g");
        let x = graph.input("x", DataType::Float32, "50");
        let ratio = ratio.map_or_else(String::new, |ratio| {
            graph.initializer("ratio", &floats(DataType::Float32, &[], &[ratio]))
        });
        let training = graph.initializer("training", &bools(&[], &[true]));
        let dropout = Node::new("Dropout", &[&x, &ratio, &training]).output("y").output("mask");
        let y = graph.node(dropout);
        let sum = Node::new("ReduceSum", &[&y]).attribute("keepdims", 0i64).output("loss");
        graph.node(sum);
        graph.output("y", DataType::Float32, "50");
        let mut model = graph.into_model(17);
        let given = floats(DataType::Float32, &[50], &[2.0; 50]);
        let engine = onnxruntime();
        let facts = observe(&*engine, &model, &[vec![given.clone()]]).expect("it runs").facts;
        let gradient = backward(&model, &facts, "loss", &["x".to_owned()]).expect("it has a rule");
        gradient.append_to(&mut model);
        let name = gradient.gradients[0].as_deref().expect("the loss depends on it");
        let graph = model.graph.as_mut().expect("just built");
        graph.output.push(value_info(name, DataType::Float32, None));
        let settings = onnxd::engine::SessionSettings::cpu();
        let mut session = open(&*engine, &model, &settings).expect("it opens");
        let results = session.run(&[Some(given)], &[0, 1]).expect("it runs");
        let (y, dx) = (values(&results[0]), values(&results[1]));
        assert!(y.contains(&0.0) && y.iter().any(|&y| y > 2.0), "{y:?}");
        for (y, dx) in y.iter().zip(&dx) {
            assert!((y - 2.0 * dx).abs() < 1e-6, "{y} from 2 with the gradient {dx}");
        }
    }
}
