//! Which models are batched, and on which axes.

use std::sync::atomic::Ordering;

use super::*;
use crate::batching::testing::{spec, typed_spec};
use crate::engine::EngineError;
use crate::tensor::{DataType, Shape};

fn prove_with(model: &Model, settings: &BatchingSettings) -> Proof {
    start(model, settings).proof().clone()
}

fn prove(model: &Model) -> Proof {
    prove_with(model, &settings(LayoutChoice::Inline))
}

fn check_axes(model: &Model, inputs: &[Option<usize>], outputs: &[Option<usize>]) {
    let proof = prove(model);
    assert_eq!(proof.verdict, Verdict::Proven);
    assert_eq!((&proof.axes.inputs[..], &proof.axes.outputs[..]), (inputs, outputs));
}

fn check_differs(model: &Model) {
    let batcher = start(model, &settings(LayoutChoice::Inline));
    let Verdict::Differs { output, difference } = &batcher.proof().verdict else {
        panic!("{:?}", batcher.proof());
    };
    assert_eq!(output, "y");
    assert!(*difference > 1e-3, "{difference}");
    assert_eq!(batcher.max_batch_size(), 0);
    assert_eq!(batcher.layout().max_batch_size, 1);
}

fn check_unproven(model: &Model, part_of_reason: &str) {
    let proof = prove(model);
    let Verdict::Unproven { reason } = &proof.verdict else { panic!("{proof:?}") };
    assert!(reason.contains(part_of_reason), "{reason}");
    assert!(!proof.batched());
}

/// A function of each element and of the sum over the first axis.
fn over_first_axis(function: impl Fn(f32, f32) -> f32 + Send + Sync + 'static) -> Model {
    Model::unary("?,2", "?,2", move |shape, values| {
        let sum = |column: usize| -> f32 { values.iter().skip(column).step_by(2).sum() };
        let sums = [sum(0), sum(1)];
        let answer = values.iter().enumerate().map(|(i, &value)| function(value, sums[i % 2]));
        (shape.to_vec(), answer.collect())
    })
}

#[test]
fn independent_rows_are_proven() {
    check_axes(&Model::affine(), &[Some(0)], &[Some(0)]);
    assert_eq!(start(&Model::affine(), &settings(LayoutChoice::Inline)).max_batch_size(), 32);
}

#[test]
fn rows_that_influence_each_other_are_served_unbatched() {
    // A mean over the batch, a sum, and a slight mixing well above rounding.
    check_differs(&over_first_axis(|value, sum| value - sum / 3.0));
    check_differs(&over_first_axis(|_, sum| sum));
    check_differs(&over_first_axis(|value, sum| value + 0.01 * sum));
}

#[test]
fn a_first_axis_that_is_time_is_not_the_batch() {
    // A running sum over the first axis: the first row's answer is the same alone.
    let running = |shape: &[usize], values: &[f32]| {
        let width: usize = shape[1..].iter().product();
        let mut answer = values.to_vec();
        for place in width..answer.len() {
            answer[place] += answer[place - width];
        }
        (shape.to_vec(), answer)
    };
    check_differs(&Model::unary("?,2", "?,2", running));
    // Where the model names the batch, it is found behind the time.
    let named = Model::unary("time,batch,2", "time,batch,2", running);
    check_axes(&named, &[Some(1)], &[Some(1)]);
}

#[test]
fn rows_that_depend_on_their_place_are_served_unbatched() {
    check_differs(&Model::unary("?,2", "?,2", |shape, values| {
        let place = |(i, value): (usize, &f32)| value * (1.0 + (i / 2) as f32);
        (shape.to_vec(), values.iter().enumerate().map(place).collect())
    }));
}

#[test]
fn state_carries_its_batch_inside_and_a_scalar_has_none() {
    let model = Model::new(
        &[spec("x", "?,2"), spec("state", "3,?,2"), typed_spec("rate", DataType::Int64, "")],
        &[spec("y", "?,1"), spec("next", "?,?,?")],
        |inputs| {
            let [x, state, rate] = [0, 1, 2].map(|input| inputs[input].as_ref().expect("given"));
            let rows = x.shape()[0];
            if state.shape()[1] != rows || !rate.shape().is_empty() {
                return Err(EngineError::InputsRefused { reason: "shapes".to_owned() });
            }
            let (x, state) = (x.to_f32().expect("floats"), state.to_f32().expect("floats"));
            let y: Vec<f32> = (0..rows).map(|row| x[2 * row] + state[2 * row]).collect();
            let next: Vec<f32> = state.iter().map(|value| value * 0.5).collect();
            Ok(vec![floats(&[rows, 1], &y), floats(&[3, rows, 2], &next)])
        },
    );
    check_axes(&model, &[Some(0), Some(1), None], &[Some(0), Some(1)]);
}

#[test]
fn an_output_without_batch_axis_is_fine_as_long_as_it_never_changes() {
    let constant =
        Model::new(&[spec("x", "?,2")], &[spec("y", "?,2"), spec("version", "1")], |inputs| {
            let x = inputs[0].clone().expect("given");
            Ok(vec![x, floats(&[1], &[7.0])])
        });
    check_axes(&constant, &[Some(0)], &[Some(0), None]);
    check_differs(&Model::unary("?,2", "1", |_, values| (vec![1], vec![values.iter().sum()])));
}

#[test]
fn a_model_that_ignores_its_inputs_is_batched_where_its_shapes_follow() {
    let constant = Model::unary("?,2", "?,1", |shape, _| (vec![shape[0], 1], vec![3.0; shape[0]]));
    check_axes(&constant, &[Some(0)], &[Some(0)]);
}

#[test]
fn outputs_that_do_not_count_rows_cannot_be_split() {
    let square =
        |shape: &[usize], _: &[f32]| (vec![shape[0], shape[0]], vec![0.0; shape[0] * shape[0]]);
    check_unproven(&Model::unary("?,2", "?,?", square), "no axis of it counts rows");
    let flat = |shape: &[usize], values: &[f32]| (vec![shape[0] * 2], values.to_vec());
    check_unproven(&Model::unary("?,2", "?", flat), "output \"y\" has shape [2] for one row");
}

#[test]
fn sizes_of_open_axes_are_tried_until_the_model_runs() {
    let long = Model::new(&[spec("x", "?,?")], &[spec("y", "?,1")], |inputs| {
        let x = inputs[0].as_ref().expect("given");
        let (rows, length) = (x.shape()[0], x.shape()[1]);
        if length < 200 {
            return Err(EngineError::RunFailed { reason: "too short".to_owned() });
        }
        let values = x.to_f32().expect("floats");
        Ok(vec![floats(&[rows, 1], &values.iter().step_by(length).copied().collect::<Vec<_>>())])
    });
    check_axes(&long, &[Some(0)], &[Some(0)]);
    let never = Model::new(&[spec("x", "?,?")], &[spec("y", "?,1")], |_| {
        Err(EngineError::RunFailed { reason: "no such length".to_owned() })
    });
    check_unproven(&never, "no such length");
}

#[test]
fn a_size_on_which_answers_depend_is_preferred() {
    // Below 500 elements nothing is seen of the input; from there on rows are mixed.
    check_differs(&Model::new(&[spec("x", "?,?")], &[spec("y", "?,1")], |inputs| {
        let x = inputs[0].as_ref().expect("given");
        let sum: f32 =
            if x.shape()[1] < 500 { 0.0 } else { x.to_f32().expect("floats").iter().sum() };
        Ok(vec![floats(&[x.shape()[0], 1], &vec![sum; x.shape()[0]])])
    }));
}

#[test]
fn integers_are_tried_as_small_indices_first() {
    let table = Model::new(
        &[typed_spec("x", DataType::Int64, "batch,4")],
        &[spec("y", "batch,4")],
        |inputs| {
            let x = inputs[0].as_ref().expect("given");
            let indices = x.bytes().expect("integers").chunks_exact(8).map(|chunk| chunk[0]);
            if indices.clone().any(|index| index > 1) {
                return Err(EngineError::InputsRefused { reason: "index".to_owned() });
            }
            Ok(vec![floats(x.shape(), &indices.map(f32::from).collect::<Vec<_>>())])
        },
    );
    check_axes(&table, &[Some(0)], &[Some(0)]);
}

#[test]
fn mixing_that_shows_only_with_large_values_is_found() {
    let model = Model::unary("?,2", "?,2", |shape, values| {
        let large = values.iter().copied().filter(|value| value.abs() > 1.0).sum::<f32>();
        (shape.to_vec(), values.iter().map(|value| value + large).collect())
    });
    check_differs(&model);
}

#[test]
fn what_refuses_random_values_is_tried_with_constant_rows() {
    let picky = |mixing: f32| {
        Model::unary_or("?,2", "?,2", move |shape, values| {
            let same = values.chunks_exact(2).all(|row| row[0] == row[1] && row[0].fract() == 0.0);
            let sum: f32 = values.iter().sum();
            same.then(|| (shape.to_vec(), values.iter().map(|v| v + mixing * sum).collect()))
        })
    };
    check_axes(&picky(0.0), &[Some(0)], &[Some(0)]);
    check_differs(&picky(1.0));
}

#[test]
fn a_panic_while_proving_costs_neither_the_load_nor_the_proof() {
    let model = Model::unary("?,?", "?,?", |shape, values| {
        assert!(shape[1] >= 16, "too short for this kernel");
        (shape.to_vec(), values.to_vec())
    });
    check_axes(&model, &[Some(0)], &[Some(0)]);
    assert!(model.opened.load(Ordering::SeqCst) > 1, "a session that panicked is not used again");
}

#[test]
fn a_fixed_first_axis_is_no_batch_axis() {
    let fixed = Model::unary("4,2", "4,2", |shape, values| (shape.to_vec(), values.to_vec()));
    assert_eq!(prove(&fixed).verdict, Verdict::NoBatchAxis);
}

#[test]
fn configuration_forces_and_forbids() {
    let mixing = over_first_axis(|_, sum| sum);
    let forced = prove_with(
        &mixing,
        &BatchingSettings { mode: BatchingMode::Force, ..settings(LayoutChoice::Inline) },
    );
    assert!(forced.batched());
    let Verdict::Forced { doubt: Some(doubt) } = &forced.verdict else { panic!("{forced:?}") };
    assert!(doubt.starts_with("output \"y\" differs by"), "{doubt}");
    assert_eq!(forced.axes.outputs, [Some(0)]);
    for off in [
        BatchingSettings { mode: BatchingMode::Off, ..settings(LayoutChoice::Inline) },
        BatchingSettings { max_batch_size: Some(0), ..settings(LayoutChoice::Inline) },
    ] {
        assert_eq!(prove_with(&Model::affine(), &off).verdict, Verdict::Off);
    }
}

#[test]
fn configured_axes_win_over_names() {
    let model = Model::unary("?,?", "?,?", |shape, values| {
        // Mixes along the first axis only.
        let width = shape[1];
        let sum = |column: usize| -> f32 { values.iter().skip(column).step_by(width).sum() };
        (shape.to_vec(), values.iter().enumerate().map(|(i, _)| sum(i % width)).collect())
    });
    check_differs(&model);
    let axes = ["x", "y"].map(|tensor| BatchAxes { tensor: tensor.to_owned(), axis: Some(1) });
    let configured = BatchingSettings { axes: axes.to_vec(), ..settings(LayoutChoice::Inline) };
    let proof = prove_with(&model, &configured);
    assert_eq!((proof.verdict, proof.axes.inputs), (Verdict::Proven, vec![Some(1)]));
}

#[test]
fn an_open_rank_needs_a_configured_shape() {
    let open = Model::new(
        &[crate::tensor::TensorSpec { shape: None, ..spec("x", "") }],
        &[crate::tensor::TensorSpec { shape: None, ..spec("y", "") }],
        |inputs| Ok(vec![inputs[0].clone().expect("given")]),
    );
    assert_eq!(prove(&open).verdict, Verdict::NoBatchAxis);
    let axes = vec![BatchAxes { tensor: "x".to_owned(), axis: Some(0) }];
    let sample_shapes = [("x".to_owned(), vec![1, 5])].into();
    let configured = BatchingSettings { axes, sample_shapes, ..settings(LayoutChoice::Inline) };
    let proof = prove_with(&open, &configured);
    assert_eq!((proof.verdict, proof.axes.outputs), (Verdict::Proven, vec![Some(0)]));
}

#[test]
fn strings_are_rows_like_any_other() {
    let model = Model::new(
        &[typed_spec("x", DataType::String, "?,3")],
        &[typed_spec("y", DataType::String, "?,3")],
        |inputs| {
            let x = inputs[0].as_ref().expect("given");
            let crate::tensor::Data::Strings(strings) = x.data() else { panic!("strings") };
            let answer = strings.iter().map(|text| [b"<", &text[..], b">"].concat().into());
            let shape = Shape::from_slice(x.shape());
            Ok(vec![Tensor::strings(shape, answer.collect()).expect("as many")])
        },
    );
    check_axes(&model, &[Some(0)], &[Some(0)]);
}
