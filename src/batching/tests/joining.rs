//! Many requests to one run and back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batching::join::{JoinError, alone, join};
use crate::batching::plan::Plan;
use crate::batching::sample::{Sample, SampleShapes, Values};
use crate::batching::split::{Answer, Share, SplitError, split};
use crate::batching::testing::{spec, typed_spec};
use crate::engine::Signature;
use crate::tensor::{DataType, Dimension, Shape, TensorSpec};

fn plan_for(
    signature: &Signature,
    inputs: &[Option<usize>],
    outputs: &[Option<usize>],
    padding: &[(usize, f64)],
) -> Plan {
    let padding = padding
        .iter()
        .map(|&(axis, value)| PaddedAxis { input: "x".to_owned(), axis, value })
        .collect();
    let settings = BatchingSettings { padding, ..BatchingSettings::standard() };
    let axes = Axes { inputs: inputs.to_vec(), outputs: outputs.to_vec() };
    Plan::new(signature, &axes, &settings)
}

/// A signature of one input `x` and one output `y`.
fn unary(x: &str, y: &str) -> Signature {
    Signature { inputs: vec![spec("x", x)], outputs: vec![spec("y", y)] }
}

/// Joins, lets `function` be the model, and splits again.
fn through(
    signature: &Signature,
    plan: &Plan,
    requests: &[Request],
    rows: &[usize],
    function: impl Fn(&Tensor) -> Tensor,
) -> Result<Vec<Tensor>, SplitError> {
    let joined = join(plan, &requests.iter().collect::<Vec<_>>()).expect("they fit each other");
    let tensors = vec![function(joined[0].as_ref().expect("x was given"))];
    let shares: Vec<Share<'_>> =
        requests.iter().zip(rows).map(|(request, &rows)| Share { request, rows }).collect();
    let parts = split(plan, signature, &Answer { wanted: &[0], tensors }, &shares)?;
    Ok(parts.into_iter().map(|mut outputs| outputs.remove(0)).collect())
}

#[test]
fn rows_of_the_first_axis_come_back_as_slices_of_one_memory() {
    let signature = unary("?,2", "?,2");
    let plan = plan_for(&signature, &[Some(0)], &[Some(0)], &[]);
    let requests = [
        request(&[1, 2], &[1.0, 2.0]),
        request(&[0, 2], &[]),
        request(&[2, 2], &[3.0, 4.0, 5.0, 6.0]),
    ];
    let parts = through(&signature, &plan, &requests, &[1, 0, 2], Tensor::clone).expect("split");
    assert_eq!(
        parts.iter().map(|part| part.shape().to_vec()).collect::<Vec<_>>(),
        [[1, 2], [0, 2], [2, 2]]
    );
    assert_eq!(parts[2].to_f32(), Some(vec![3.0, 4.0, 5.0, 6.0]));
    let address = |part: &Tensor| part.bytes().expect("numbers").as_ptr() as usize;
    assert_eq!(address(&parts[2]), address(&parts[0]) + 8, "no copy was made");
}

#[test]
fn a_request_alone_is_passed_through_unless_its_bytes_lie_askew() {
    let body = crate::tensor::AlignedBuffer::zeroed(16).into_bytes();
    for (offset, copied) in [(0, false), (4, false), (1, true), (6, true)] {
        let slice = body.slice(offset..offset + 8);
        let x = Tensor::numbers(DataType::Float32, Shape::from_slice(&[1, 2]), slice.clone());
        let inputs = alone(&request_of(vec![Some(x.expect("eight bytes"))]));
        let passed = inputs[0].as_ref().and_then(Tensor::bytes).expect("numbers");
        assert_eq!(passed.as_ptr() != slice.as_ptr(), copied, "offset {offset}");
        assert!((passed.as_ptr() as usize).is_multiple_of(4));
    }
}

#[test]
fn unlike_lengths_are_padded_and_cut_off_again() {
    let signature = Signature {
        inputs: vec![spec("x", "batch,length")],
        outputs: vec![spec("y", "batch,length"), spec("z", "batch,other")],
    };
    let plan = plan_for(&signature, &[Some(0)], &[Some(0), Some(0)], &[(1, -1.0)]);
    let requests = [request(&[1, 1], &[1.0]), request(&[1, 3], &[2.0, 3.0, 4.0])];
    let joined = join(&plan, &requests.iter().collect::<Vec<_>>()).expect("padded");
    let x = joined[0].clone().expect("x was given");
    assert_eq!(x.shape(), [2, 3]);
    assert_eq!(x.to_f32(), Some(vec![1.0, -1.0, -1.0, 2.0, 3.0, 4.0]));
    let wanted = [0, 1];
    let answer = Answer { wanted: &wanted, tensors: vec![x.clone(), x] };
    let requests = requests.map(|request| Request { outputs: wanted[..].into(), ..request });
    let shares: Vec<_> = requests.iter().map(|request| Share { request, rows: 1 }).collect();
    let parts = split(&plan, &signature, &answer, &shares).expect("split");
    // The axis named like the padded one is cut; another is the model's business.
    assert_eq!(parts[0][0].to_f32(), Some(vec![1.0]));
    assert_eq!(parts[0][1].shape(), [1, 3]);
    assert_eq!(parts[1][0].to_f32(), Some(vec![2.0, 3.0, 4.0]));
}

#[test]
fn an_output_that_happens_to_share_the_name_but_not_the_length_is_left_alone() {
    let signature = unary("batch,length", "batch,length");
    let plan = plan_for(&signature, &[Some(0)], &[Some(0)], &[(1, 0.0)]);
    let requests = [request(&[1, 1], &[1.0]), request(&[1, 3], &[2.0, 3.0, 4.0])];
    let parts = through(&signature, &plan, &requests, &[1, 1], |_| floats(&[2, 5], &[0.0; 10]));
    assert_eq!(parts.expect("split")[0].shape(), [1, 5]);
}

#[test]
fn padding_beyond_measure_is_refused() {
    let signature = unary("batch,length", "batch,length");
    let plan = plan_for(&signature, &[Some(0)], &[Some(0)], &[(1, 0.0)]);
    let long = vec![0.0; 1 << 16];
    let mut requests: Vec<Request> = (0..100).map(|_| request(&[1, 1], &[1.0])).collect();
    requests.push(request(&[1, 1 << 16], &long));
    let refused = join(&plan, &requests.iter().collect::<Vec<_>>());
    assert!(matches!(refused, Err(JoinError::TooMuchPadding { .. })), "{refused:?}");
}

#[test]
fn outputs_without_the_rows_that_went_in_are_not_given_out() {
    let signature = unary("?,1", "?,1");
    let plan = plan_for(&signature, &[Some(0)], &[Some(0)], &[]);
    let requests = [request(&[1, 1], &[1.0]), request(&[1, 1], &[2.0])];
    for shape in [&[1, 1][..], &[3, 1], &[]] {
        let count = shape.iter().product();
        let run = |_: &Tensor| floats(shape, &vec![0.0; count]);
        let error = through(&signature, &plan, &requests, &[1, 1], run).expect_err("two rows");
        assert!(matches!(error, SplitError::Rows { rows: 2, .. }), "{error:?}");
    }
}

#[test]
fn requests_that_may_not_share_a_batch_have_unlike_keys() {
    let signature = Signature {
        inputs: vec![
            spec("x", "?,?"),
            TensorSpec { optional: true, ..spec("mask", "?,?") },
            typed_spec("rate", DataType::Float32, ""),
        ],
        outputs: Vec::new(),
    };
    let plan = plan_for(&signature, &[Some(0), Some(0), None], &[], &[]);
    let key = |x: &[usize], mask: Option<&[usize]>, rate: f32| {
        let zeros = |shape: &[usize]| floats(shape, &vec![0.0; shape.iter().product()]);
        let inputs = vec![Some(zeros(x)), mask.map(zeros), Some(floats(&[], &[rate]))];
        plan.admit(&signature, &request_of(inputs)).expect("admitted")
    };
    let one = key(&[1, 4], None, 1.0);
    assert_eq!(one.rows, 1);
    assert_eq!(one.key, key(&[3, 4], None, 1.0).key, "rows may differ");
    assert_ne!(one.key, key(&[1, 5], None, 1.0).key, "another length");
    assert_ne!(one.key, key(&[1, 4], Some(&[1, 4]), 1.0).key, "another set of inputs");
    assert_ne!(one.key, key(&[1, 4], None, 2.0).key, "another value of the shared input");
}

#[test]
fn rows_disagree_only_where_the_model_says_they_are_the_same() {
    let zeros = |rows: usize| Some(floats(&[rows, 1], &vec![0.0; rows]));
    let admit = |second: &str| {
        let inputs = vec![spec("x", "batch,1"), spec("k", second)];
        let signature = Signature { inputs, outputs: Vec::new() };
        let plan = plan_for(&signature, &[Some(0), Some(0)], &[], &[]);
        plan.admit(&signature, &request_of(vec![zeros(2), zeros(1)]))
    };
    let error = admit("batch,1").expect_err("two rows and one").to_string();
    assert_eq!(error, "input \"k\" has 1 rows on its batch axis, input \"x\" has 2");
    // It may be broadcast: the model decides, alone.
    assert_eq!(admit("?,1"), Ok(crate::batching::plan::Admission::alone()));
}

fn identity_comes_back(
    data_type: DataType,
    batch_axis: usize,
    rows: &[usize],
    lengths: Option<&[usize]>,
) {
    // `batch` on its axis, the padded axis behind or before it, one fixed.
    let padded_axis = if batch_axis == 1 { 0 } else { 1 };
    let mut dimensions = vec![Dimension::Fixed(2); 3];
    dimensions[batch_axis] = Dimension::Named("batch".to_owned());
    dimensions[padded_axis] = Dimension::Named("length".to_owned());
    let input =
        TensorSpec { name: "x".to_owned(), data_type, shape: Some(dimensions), optional: false };
    let output = TensorSpec { name: "y".to_owned(), ..input.clone() };
    let signature = Signature { inputs: vec![input], outputs: vec![output] };
    let padding: &[(usize, f64)] = if lengths.is_some() { &[(padded_axis, 3.0)] } else { &[] };
    let axes = [Some(batch_axis)];
    let plan = plan_for(&signature, &axes, &axes, padding);
    let requests: Vec<Request> = rows
        .iter()
        .enumerate()
        .map(|(place, &rows)| {
            let mut sizes = vec![2; 3];
            sizes[batch_axis] = rows;
            sizes[padded_axis] = lengths.map_or(2, |lengths| lengths[place]);
            let configured = BTreeMap::from([("x".to_owned(), sizes)]);
            // Without an axis to the sample, all of the shape is as configured.
            let shapes = SampleShapes {
                signature: &signature,
                axes: &[None],
                configured: &configured,
                open: 1,
            };
            let sample = Sample::new(&shapes, Values::Wide).expect("small");
            sample.request(place as u64)
        })
        .collect();
    let parts = through(&signature, &plan, &requests, rows, Tensor::clone).expect("split");
    for (part, request) in parts.iter().zip(&requests) {
        assert_eq!(Some(part), request.inputs[0].as_ref());
    }
}

proptest! {
    /// Whatever went in comes out again, for every type, on every axis, padded or not.
    #[test]
    fn joining_and_splitting_changes_nothing(
        data_type in prop::sample::select(&DataType::ALL[..]),
        batch_axis in 0..3usize,
        parts in prop::collection::vec((0..4usize, 0..5usize), 2..6),
        padded in any::<bool>(),
    ) {
        let (rows, lengths): (Vec<usize>, Vec<usize>) = parts.into_iter().unzip();
        identity_comes_back(data_type, batch_axis, &rows, padded.then_some(&lengths[..]));
    }
}
