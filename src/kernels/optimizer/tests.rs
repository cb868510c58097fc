//! The optimisers against ten steps in 64 bits.

use super::adam::adam_at;
use super::sgd::sgd_at;
use super::*;
use crate::kernels::dispatch::Level;
use crate::kernels::parallel::{Parallel, Sequential};
use crate::kernels::testing::{assert_near, assert_same_bits, values, wide};

const NO_DECAY: WeightDecay = WeightDecay { rate: 0.0, decoupled: false };
const ADAM: AdamSettings = AdamSettings {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: NO_DECAY,
    step: 1,
    gradient_scale: 1.0,
};
const SGD: SgdSettings = SgdSettings {
    learning_rate: 1e-2,
    momentum: 0.9,
    nesterov: false,
    weight_decay: NO_DECAY,
    gradient_scale: 1.0,
};

/// Sizes of the parameters: odd, empty, one element, more than a block.
const SIZES: [usize; 5] = [5, 0, 1, 40_001, 1030];

/// What multiplies each one's decay.
const FACTORS: [f32; 5] = [1.0, 1.0, 0.0, 1.0, 0.5];

fn initial() -> Vec<Vec<f32>> {
    SIZES.iter().zip(1..).map(|(size, seed)| values(*size, seed)).collect()
}

fn gradients(step: u64) -> Vec<Vec<f32>> {
    SIZES.iter().zip(1..).map(|(size, seed)| values(*size, seed * 100 + step)).collect()
}

fn zeros() -> Vec<Vec<f32>> {
    SIZES.iter().map(|size| vec![0.0; *size]).collect()
}

/// Values, first and second moments after ten steps.
fn adam_steps(level: Level, settings: AdamSettings, parallel: &dyn Parallel) -> [Vec<Vec<f32>>; 3] {
    let [mut value, mut first, mut second] = [initial(), zeros(), zeros()];
    for step in 1..=10 {
        let gradients = gradients(step);
        let states = value.iter_mut().zip(&mut first).zip(&mut second);
        let mut parameters: Vec<AdamParameter> = states
            .zip(gradients.iter().zip(FACTORS))
            .map(|(((value, first_moment), second_moment), (gradient, decay_factor))| {
                let gradient = Gradient::Dense(gradient);
                let old = None;
                AdamParameter { value, first_moment, second_moment, old, gradient, decay_factor }
            })
            .collect();
        adam_at(level, &AdamSettings { step, ..settings }, &mut parameters, parallel).unwrap();
    }
    [value, first, second]
}

/// One number through ten steps in 64 bits, as PyTorch documents Adam and AdamW.
fn adam_reference(
    settings: AdamSettings,
    factor: f32,
    mut value: f64,
    gradients: [f32; 10],
) -> f64 {
    let AdamSettings { learning_rate, beta1, beta2, epsilon, weight_decay, .. } = settings;
    let rate = weight_decay.rate * f64::from(factor);
    let (mut first, mut second) = (0.0, 0.0);
    for (gradient, step) in gradients.into_iter().zip(1..) {
        let mut gradient = f64::from(gradient) * f64::from(settings.gradient_scale);
        if weight_decay.decoupled {
            value -= learning_rate * rate * value;
        } else {
            gradient += rate * value;
        }
        first = beta1 * first + (1.0 - beta1) * gradient;
        second = beta2 * second + (1.0 - beta2) * gradient * gradient;
        let first_corrected = first / (1.0 - beta1.powi(step));
        let second_corrected: f64 = second / (1.0 - beta2.powi(step));
        value -= learning_rate * first_corrected / (second_corrected.sqrt() + epsilon);
    }
    value
}

/// The gradients of one number of one parameter over ten steps.
fn gradients_of(parameter: usize) -> impl Fn(usize) -> [f32; 10] {
    let steps: Vec<Vec<f32>> =
        (1..=10).map(|step| gradients(step).swap_remove(parameter)).collect();
    move |place| std::array::from_fn(|step| steps[step][place])
}

#[track_caller]
fn check(what: &str, computed: &[Vec<f32>], reference: impl Fn(f32, f64, [f32; 10]) -> f64) {
    for (parameter, computed) in computed.iter().enumerate() {
        let gradients = gradients_of(parameter);
        let start = wide(&initial()[parameter]);
        let expected: Vec<f64> = start
            .into_iter()
            .enumerate()
            .map(|(place, value)| reference(FACTORS[parameter], value, gradients(place)))
            .collect();
        assert_near(&format!("{what}: parameter {parameter}"), computed, &expected, 1e-6);
    }
}

#[test]
fn ten_steps_of_adam_agree_with_64_bits() {
    let coupled = WeightDecay { rate: 0.1, decoupled: false };
    let decoupled = WeightDecay { rate: 0.1, decoupled: true };
    for weight_decay in [NO_DECAY, coupled, decoupled] {
        for (beta1, gradient_scale) in [(0.9, 1.0), (0.4, 0.25)] {
            let settings = AdamSettings { weight_decay, beta1, gradient_scale, ..ADAM };
            let [value, ..] = adam_steps(Level::detected(), settings, &Sequential);
            let reference =
                |factor, value, gradients| adam_reference(settings, factor, value, gradients);
            check(&format!("{settings:?}"), &value, reference);
        }
    }
}

fn sgd_steps(level: Level, settings: SgdSettings, parallel: &dyn Parallel) -> [Vec<Vec<f32>>; 2] {
    let [mut value, mut velocity] = [initial(), zeros()];
    for step in 1..=10 {
        let gradients = gradients(step);
        let mut parameters: Vec<SgdParameter> = value
            .iter_mut()
            .zip(&mut velocity)
            .zip(gradients.iter().zip(FACTORS))
            .map(|((value, velocity), (gradient, decay_factor))| {
                let gradient = Gradient::Dense(gradient);
                SgdParameter { value, velocity, old: None, gradient, decay_factor }
            })
            .collect();
        sgd_at(level, &settings, &mut parameters, parallel).unwrap();
    }
    [value, velocity]
}

/// One number through ten steps in 64 bits, as PyTorch documents SGD.
fn sgd_reference(settings: SgdSettings, factor: f32, mut value: f64, gradients: [f32; 10]) -> f64 {
    let rate = settings.weight_decay.rate * f64::from(factor);
    let mut velocity = 0.0;
    for gradient in gradients {
        let mut gradient = f64::from(gradient) * f64::from(settings.gradient_scale);
        if settings.weight_decay.decoupled {
            value -= settings.learning_rate * rate * value;
        } else {
            gradient += rate * value;
        }
        velocity = settings.momentum * velocity + gradient;
        let direction =
            if settings.nesterov { gradient + settings.momentum * velocity } else { velocity };
        value -= settings.learning_rate * direction;
    }
    value
}

#[test]
fn ten_steps_of_sgd_agree_with_64_bits() {
    for decoupled in [false, true] {
        for (momentum, nesterov, rate) in
            [(0.0, false, 0.0), (0.0, false, 0.1), (0.9, false, 0.1), (0.9, true, 0.1)]
        {
            let weight_decay = WeightDecay { rate, decoupled };
            let settings =
                SgdSettings { momentum, nesterov, weight_decay, gradient_scale: 0.5, ..SGD };
            let [value, velocity] = sgd_steps(Level::detected(), settings, &Sequential);
            let reference =
                |factor, value, gradients| sgd_reference(settings, factor, value, gradients);
            check(&format!("{settings:?}"), &value, reference);
            assert!(momentum != 0.0 || velocity == zeros(), "no momentum, no velocity");
        }
    }
}

#[test]
fn every_level_and_any_number_of_threads_give_the_same_bits() {
    let weight_decay = WeightDecay { rate: 0.1, decoupled: true };
    let adam_settings = AdamSettings { weight_decay, ..ADAM };
    let sgd_settings = SgdSettings { weight_decay, nesterov: true, ..SGD };
    let expected_adam = adam_steps(Level::Portable, adam_settings, &Sequential);
    let expected_sgd = sgd_steps(Level::Portable, sgd_settings, &Sequential);
    for level in Level::available() {
        assert_eq!(adam_steps(level, adam_settings, &Sequential), expected_adam, "{level:?}");
        assert_eq!(sgd_steps(level, sgd_settings, &Sequential), expected_sgd, "{level:?}");
    }
    assert_same_bits(|parallel| {
        let adam = adam_steps(Level::detected(), adam_settings, parallel);
        adam.into_iter()
            .chain(sgd_steps(Level::detected(), sgd_settings, parallel))
            .flatten()
            .collect()
    });
}

#[test]
fn old_values_are_read_and_kept_where_new_ones_go_elsewhere() {
    let weight_decay = WeightDecay { rate: 0.1, decoupled: false };
    for count in [1, 1023, 50_000] {
        let gradient = values(count, 9);
        let gradient = Gradient::Dense(&gradient);
        let state = [values(count, 1), values(count, 2), vec![0.5; count]];
        let mut in_place = state.clone();
        let [value, first_moment, second_moment] = &mut in_place;
        let parameter = AdamParameter {
            value,
            first_moment,
            second_moment,
            old: None,
            gradient,
            decay_factor: 1.0,
        };
        let settings = AdamSettings { weight_decay, step: 3, ..ADAM };
        adam(&settings, &mut [parameter], &Sequential).unwrap();
        let kept = state.clone();
        let mut new = [(); 3].map(|()| vec![7.0; count]);
        let [value, first_moment, second_moment] = &mut new;
        let [old_value, old_first, old_second] = &state;
        let old =
            AdamState { value: old_value, first_moment: old_first, second_moment: old_second };
        let parameter = AdamParameter {
            value,
            first_moment,
            second_moment,
            old: Some(old),
            gradient,
            decay_factor: 1.0,
        };
        adam(&settings, &mut [parameter], &Sequential).unwrap();
        assert_eq!(new, in_place);
        assert_eq!(state, kept);
    }
}

#[test]
fn a_gradient_of_rows_updates_as_the_dense_one_does() {
    let (width, table_rows) = (7, 3000);
    for rows in [vec![], vec![0], vec![2999], vec![0, 1, 5, 700, 701, 2998]] {
        let row_values = values(rows.len() * width, 4);
        let mut dense = vec![0.0; width * table_rows];
        for (row, from) in rows.iter().zip(row_values.chunks(width)) {
            dense[row * width..][..width].copy_from_slice(from);
        }
        let sparse = Gradient::Rows { width, rows: &rows, values: &row_values };
        let [by_rows, by_table] = [sparse, Gradient::Dense(&dense)].map(|gradient| {
            let mut state = [1, 2].map(|seed| values(width * table_rows, seed));
            let [value, velocity] = &mut state;
            let parameter =
                SgdParameter { value, velocity, old: None, gradient, decay_factor: 1.0 };
            sgd(&SGD, &mut [parameter], &Sequential).unwrap();
            state
        });
        assert_eq!(by_rows, by_table, "{rows:?}");
    }
}

fn refusal(settings: AdamSettings, lengths: [usize; 3], gradient: Gradient) -> String {
    let [mut value, mut first_moment, mut second_moment] = lengths.map(|length| vec![0.0; length]);
    let parameter = AdamParameter {
        value: &mut value,
        first_moment: &mut first_moment,
        second_moment: &mut second_moment,
        old: None,
        gradient,
        decay_factor: 1.0,
    };
    adam(&settings, &mut [parameter], &Sequential).unwrap_err().to_string()
}

#[test]
fn wrong_lengths_and_settings_are_refused_with_what_was_expected() {
    let dense = Gradient::Dense(&[0.0; 4]);
    let expected = "adam: second_moment has 3 elements, expected 4";
    assert_eq!(refusal(ADAM, [4, 4, 3], dense), expected);
    let expected = "adam: gradient has 4 elements, expected 5";
    assert_eq!(refusal(ADAM, [5; 3], dense), expected);
    let expected = "adam: the step's number is 0, expected 1 or more: steps count from 1";
    assert_eq!(refusal(AdamSettings { step: 0, ..ADAM }, [4; 3], dense), expected);
    let expected = "adam: beta1 is 1, expected 0 or more and below 1";
    assert_eq!(refusal(AdamSettings { beta1: 1.0, ..ADAM }, [4; 3], dense), expected);
    for (width, rows, values, expected) in [
        (2, &[0, 2][..], 4, "adam: the last row is 2, expected a row of the parameter"),
        (2, &[1, 1], 4, "adam: the order of rows is another, expected ascending, each row once"),
        (2, &[1], 3, "adam: the rows' gradient has 3 elements, expected 2"),
        (
            3,
            &[0],
            3,
            "adam: the width of a row is 3, expected a number that divides the parameter's \
             elements",
        ),
        (
            0,
            &[],
            0,
            "adam: the width of a row is 0, expected a number that divides the parameter's \
             elements",
        ),
    ] {
        let gradient = Gradient::Rows { width, rows, values: &[0.0; 4][..values] };
        assert_eq!(refusal(ADAM, [4; 3], gradient), expected);
    }
}
