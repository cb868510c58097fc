//! What holds without an engine.

use super::*;
use crate::kernels::{ScopedThreads, Sequential};

struct Fixed;

impl AttributeSource for Fixed {
    fn int(&self, name: &str) -> Option<i64> {
        match name {
            "decoupled" => Some(1),
            "nesterov" => Some(0),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match name {
            "decayed" => Some(vec![1, 0]),
            "looked_up" => Some(vec![0, 0]),
            _ => None,
        }
    }

    fn float(&self, name: &str) -> Option<f32> {
        match name {
            "weight_decay" => Some(0.1),
            "momentum" | "beta1" => Some(0.9),
            "beta2" => Some(0.999),
            "epsilon" => Some(1e-8),
            _ => None,
        }
    }
}

const SIZES: [usize; 2] = [5, 3];

/// Updates two parameters; the outputs with these numbers are in the memory of what they replace.
fn update(name: &str, in_place: &[usize], parallel: &dyn Parallel) -> Vec<Vec<f32>> {
    let declaration = Declaration::of(name).expect("it is declared");
    let operator = declaration.read(&Fixed).expect("its attributes are there");
    let pairs = operator.in_place();
    let groups = 2 + pairs.len() / 2;
    let values = |index: usize| -> Vec<f32> {
        (0..SIZES[index % 2]).map(|place| 0.1 + (7 * index + place) as f32 * 0.03).collect()
    };
    let given: Vec<Vec<f32>> = (0..2 * (groups - 1)).map(values).collect();
    let shapes: Vec<[usize; 1]> = given.iter().map(|values| [values.len()]).collect();
    let float = |value| Some(Operand { shape: &[], values: Values::Floats(value) });
    let step = Some(Operand { shape: &[], values: Values::Int64s(&[3]) });
    let mut inputs = vec![float(&[0.05]), step, float(&[0.5]), float(&[1.0])];
    for (shape, values) in shapes.iter().zip(&given) {
        inputs.push(Some(Operand { shape, values: Values::Floats(values) }));
    }
    let inputs_before = inputs.len() - given.len();
    let mut outputs: Vec<Vec<f32>> = Vec::new();
    for &(input, output) in &pairs {
        let old = given[input - inputs_before].clone();
        if in_place.contains(&output) {
            inputs[input].as_mut().expect("all are given").values = Values::InPlace;
            outputs.push(old);
        } else {
            outputs.push(vec![f32::NAN; old.len()]);
        }
    }
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let operands = Operands::new(declaration.name, &inputs);
    operator.compute(&operands, &mut slices, parallel).expect("all fits");
    outputs
}

#[test]
fn updates_are_the_same_in_place_and_not() {
    for name in ["SgdUpdate", "AdamUpdate"] {
        let apart = update(name, &[], &Sequential);
        assert!(apart.iter().flatten().all(|value| value.is_finite()), "{name}: {apart:?}");
        for in_place in [&[0][..], &[1, 2], &[0, 1, 2, 3], &[0, 1, 2, 3, 4, 5]] {
            for parallel in [&Sequential as &dyn Parallel, &ScopedThreads { count: 3 }] {
                assert_eq!(update(name, in_place, parallel), apart, "{name} {in_place:?}");
            }
        }
    }
}

#[test]
fn floats_are_read_as_they_were_written() {
    let attributes = Attributes { operator: "AdamUpdate", source: &Fixed };
    assert_eq!(attributes.decimal("beta2"), Ok(0.999));
    assert_eq!(attributes.decimal("epsilon"), Ok(1e-8));
}

#[test]
fn a_missing_attribute_is_named() {
    let error = Declaration::of("Conv").expect("declared").read(&Fixed).expect_err("no strides");
    assert_eq!(
        error.to_string(),
        "Conv: attribute \"strides\" is missing, expected a list of integers"
    );
}

#[test]
fn sizes_of_outputs_are_made_of_those_of_inputs() {
    let halved = Dimension::Of { input: 0, axis: 1, times: 1, plus: -3, over: 2, after: 1 };
    let known = |size: i64| move |_: usize, _: usize| Some(size);
    assert_eq!(halved.size(known(9)), Some(4));
    assert_eq!(halved.size(known(8)), Some(3));
    assert_eq!(halved.size(known(0)), None);
    assert_eq!(halved.size(|_, _| None), None);
    assert_eq!(Dimension::Fixed(7).size(|_, _| None), Some(7));
}
