//! Which requests of unlike lengths may be padded into one run.

use std::sync::atomic::Ordering;

use super::*;
use crate::batching::testing::{spec, typed_spec};
use crate::batching::{BatchingMode, PaddedAxis, PaddingVerdict};
use crate::engine::EngineError;
use crate::tensor::DataType;

fn padded(axes: &[(&str, usize, f64)]) -> BatchingSettings {
    let axis = |&(input, axis, value): &(&str, usize, f64)| PaddedAxis {
        input: input.to_owned(),
        axis,
        value,
    };
    let padding = axes.iter().map(axis).collect();
    BatchingSettings { padding, ..settings(LayoutChoice::Inline) }
}

/// A model of rows of any length, by a function over one row.
fn rows(output: &str, function: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static) -> Model {
    Model::unary("batch,length", output, move |shape, values| {
        let answers: Vec<Vec<f32>> = match shape[1] {
            0 => vec![function(&[]); shape[0]],
            length => values.chunks(length).map(&function).collect(),
        };
        (vec![shape[0], answers[0].len()], answers.concat())
    })
}

/// Runs for three requests of lengths 1 to 3, each of which is answered as if it were alone.
fn runs_for_three(model: &Model, settings: &BatchingSettings) -> usize {
    let batcher = start(model, settings);
    let requests = || (1..=3usize).map(|length| request(&[1, length], &vec![-2.0; length]));
    let alone: Vec<Vec<f32>> = requests().map(|request| values(infer(&batcher, request))).collect();
    let before = model.runs.load(Ordering::SeqCst);
    let together = infer_all(&batcher, requests().collect());
    let together: Vec<Vec<f32>> = together.into_iter().map(values).collect();
    assert_eq!(together, alone);
    model.runs.load(Ordering::SeqCst) - before
}

#[test]
fn an_output_of_another_name_is_cut_where_it_is_as_long() {
    let model = rows("batch,something", |row| row.iter().map(|value| value + 1.0).collect());
    let settings = padded(&[("x", 1, 0.0)]);
    assert_eq!(start(&model, &settings).padding(), Some(&PaddingVerdict::Proven));
    assert_eq!(runs_for_three(&model, &settings), 1);
}

#[test]
fn an_output_that_has_the_name_and_another_length_is_told() {
    let model = rows("batch,length", |row| [row, &[0.0]].concat());
    let settings = padded(&[("x", 1, 0.0)]);
    let batcher = start(&model, &settings);
    let Some(PaddingVerdict::Unproven { reason }) = batcher.padding() else {
        panic!("{:?}", batcher.padding());
    };
    assert!(reason.contains("axis 1 of output \"y\""), "{reason}");
    assert_eq!(runs_for_three(&model, &settings), 3);
}

#[test]
fn padding_that_changes_answers_is_left_and_the_batch_goes_on() {
    let sum = || rows("batch,1", |row| vec![row.iter().sum()]);
    assert_eq!(runs_for_three(&sum(), &padded(&[("x", 1, 0.0)])), 1);
    let seven = padded(&[("x", 1, 7.0)]);
    let batcher = start(&sum(), &seven);
    let Some(PaddingVerdict::Differs { output, .. }) = batcher.padding() else {
        panic!("{:?}", batcher.padding());
    };
    assert_eq!(output, "y");
    assert!(batcher.proof().batched(), "those of one length still share batches");
    assert_eq!(runs_for_three(&sum(), &seven), 3);
    // A largest value changes only where all are below what is padded with.
    let most = || rows("batch,1", |row| vec![row.iter().copied().fold(f32::MIN, f32::max)]);
    assert_eq!(runs_for_three(&most(), &padded(&[("x", 1, f64::from(f32::MIN))])), 1);
    let mean = || rows("batch,1", |row| vec![row.iter().sum::<f32>() / row.len() as f32]);
    assert_eq!(runs_for_three(&mean(), &padded(&[("x", 1, 0.0)])), 3);
}

#[test]
fn forced_padding_is_done_and_doubted() {
    let mean = rows("batch,1", |row| vec![row.iter().sum::<f32>() / row.len() as f32]);
    let settings = BatchingSettings { mode: BatchingMode::Force, ..padded(&[("x", 1, 0.0)]) };
    let batcher = start(&mean, &settings);
    let Some(PaddingVerdict::Forced { doubt }) = batcher.padding() else {
        panic!("{:?}", batcher.padding());
    };
    assert!(doubt.contains("output \"y\" differs"), "{doubt}");
    let requests = vec![request(&[1, 1], &[4.0]), request(&[1, 2], &[4.0, 4.0])];
    let answers: Vec<Vec<f32>> = infer_all(&batcher, requests).into_iter().map(values).collect();
    assert_eq!(answers, [[2.0], [4.0]]);
}

/// Sums what a mask shows, of two inputs that must be as long as each other.
fn masked(names: [&str; 2]) -> Model {
    let inputs = [
        spec("x", &format!("batch,{}", names[0])),
        typed_spec("mask", DataType::Uint8, &format!("batch,{}", names[1])),
    ];
    Model::new(&inputs, &[spec("y", "batch,1")], |inputs| {
        let [x, mask] = [0, 1].map(|input| inputs[input].as_ref().expect("given"));
        if x.shape() != mask.shape() {
            return Err(EngineError::InputsRefused { reason: "unlike".to_owned() });
        }
        let (rows, length) = (x.shape()[0], x.shape()[1]);
        let shown = mask.bytes().expect("numbers");
        let x = x.to_f32().expect("floats");
        let sum = |row: usize| {
            let places = (row * length..(row + 1) * length).filter(|&place| shown[place] != 0);
            let values: Vec<f32> = places.map(|place| x[place]).collect();
            // Of nothing it is what padding would be.
            if values.is_empty() { length as f32 } else { values.iter().sum::<f32>() }
        };
        let sums: Vec<f32> = (0..rows).map(sum).collect();
        Ok(vec![floats(&[rows, 1], &sums)])
    })
}

#[test]
fn lengths_that_belong_together_are_tried_together() {
    for names in [["length", "length"], ["?", "?"], ["words", "marks"]] {
        let settings = padded(&[("x", 1, 5.0), ("mask", 1, 0.0)]);
        let batcher = start(&masked(names), &settings);
        assert_eq!(batcher.padding(), Some(&PaddingVerdict::Proven), "{names:?}");
    }
    // Padding that the mask does not hide.
    let shown = padded(&[("x", 1, 5.0), ("mask", 1, 1.0)]);
    let batcher = start(&masked(["length", "length"]), &shown);
    assert!(matches!(batcher.padding(), Some(PaddingVerdict::Differs { .. })));
}

#[test]
fn where_nothing_is_to_be_padded_nothing_is_tried() {
    let model = rows("batch,length", <[f32]>::to_vec);
    assert_eq!(start(&model, &settings(LayoutChoice::Inline)).padding(), None);
}
