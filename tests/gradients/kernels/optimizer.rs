//! Updates of all parameters at once: kernels against bodies.

use std::collections::HashSet;

use onnxd::autodiff::Emitter;
use onnxd::tensor::DataType;
use onnxd::train::{Algorithm, Lookup, OptimizerSettings, Scalars, Updated, write_update};

use super::call::Call;
use crate::numbers::{floats, ints};

/// Shapes of parameters, and whether they decay.
const PARAMETERS: [(&[usize], bool); 5] =
    [(&[4, 3], true), (&[3], false), (&[], false), (&[70, 300], true), (&[0, 2], true)];

/// Of a table of this shape the gradient may be that of rows that were looked up.
const LOOKED_UP: &[usize] = &[70, 300];
const ROWS: [i64; 6] = [3, -1, 0, 3, 41, 3];

fn check(settings: &OptimizerSettings, step: i64) {
    for (apply, with_lookup) in [(1.0, false), (1.0, true), (0.0, true), (f64::NAN, false)] {
        check_one(settings, step, apply, with_lookup);
    }
}

fn check_one(settings: &OptimizerSettings, step: i64, apply: f64, with_lookup: bool) {
    let emitter = Emitter::new("", 17, HashSet::new());
    let value =
        |group: &str, index: usize| emitter.value(&format!("{group}{index}"), DataType::Float32);
    let updated = |(index, (shape, decayed)): (usize, &(&[usize], bool))| Updated {
        value: value("value", index),
        gradient: value("gradient", index),
        lookup: (with_lookup && *shape == LOOKED_UP).then(|| Lookup {
            indices: emitter.value(&format!("indices{index}"), DataType::Int64),
            rows: shape[0],
        }),
        moments: ["first", "second"][..settings.moments()]
            .iter()
            .map(|group| value(group, index))
            .collect(),
        decayed: *decayed,
    };
    let updated: Vec<Updated<'_>> = PARAMETERS.iter().enumerate().map(updated).collect();
    let scalar = |name: &str, data_type| emitter.value(name, data_type);
    let (rate, scale) = (scalar("rate", DataType::Float32), scalar("scale", DataType::Float32));
    let step_number = scalar("step", DataType::Int64);
    let apply_update = scalar("apply", DataType::Float32);
    let scalars = Scalars { rate, step: step_number, scale, apply: apply_update };
    write_update(settings, &emitter, scalars, &updated);
    drop(updated);
    let mut written = emitter.into_written();
    let node = written.nodes.pop().expect("the call");
    let place = written.functions.iter().position(|function| function.name() == node.op_type());
    let mut call = Call::of_made(written.functions.remove(place.expect("the function")));
    call = written.functions.into_iter().fold(call, Call::helper);
    for attribute in node.attribute {
        call = call.given_attribute(attribute);
    }
    let one = |value: f64| floats(DataType::Float32, &[], &[value]);
    call = call.tensor(one(0.05)).tensor(ints(&[], &[step])).tensor(one(0.5)).tensor(one(apply));
    call = PARAMETERS.iter().fold(call, |call, (shape, _)| call.floats(shape));
    call = PARAMETERS.iter().fold(call, |call, (shape, _)| match with_lookup {
        true if *shape == LOOKED_UP => call.floats(&[2, 3, 300]),
        _ => call.floats(shape),
    });
    if settings.moments() > 0 {
        call = PARAMETERS.iter().fold(call, |call, (shape, _)| call.floats(shape));
    }
    if settings.moments() == 2 {
        call = PARAMETERS.iter().fold(call, |call, (shape, _)| call.floats_in(shape, 0.01, 1.0));
    }
    if with_lookup {
        call = call.tensor(ints(&[2, 3], &ROWS));
    }
    call.tolerance(1e-6).check();
}

#[test]
fn sgd() {
    let plain = OptimizerSettings::of(Algorithm::Sgd);
    for weight_decay in [0.0, 0.1] {
        check(&OptimizerSettings { weight_decay, ..plain.clone() }, 1);
        for nesterov in [false, true] {
            let momentum = 0.9;
            check(&OptimizerSettings { momentum, nesterov, weight_decay, ..plain.clone() }, 3);
        }
    }
}

#[test]
fn adam() {
    for algorithm in [Algorithm::Adam, Algorithm::AdamW] {
        let plain = OptimizerSettings::of(algorithm);
        for step in [1, 2, 1000] {
            check(&plain, step);
            check(&OptimizerSettings { weight_decay: 0.1, ..plain.clone() }, step);
        }
        let (beta1, beta2, epsilon) = (0.3, 0.95, 1e-3);
        check(&OptimizerSettings { beta1, beta2, epsilon, ..plain }, 7);
    }
}
