//! Batch normalisation against the same in 64 bits.

use super::super::testing::{assert_near, assert_same_bits, values, wide};
use super::*;
use crate::kernels::Sequential;

const SETTINGS: Settings = Settings { epsilon: 1e-5, momentum: 0.9 };

struct Case {
    shape: ChannelShape,
    x: Vec<f32>,
    dy: Vec<f32>,
    /// scale, bias, running mean, running variance.
    channels: [Vec<f32>; 4],
}

impl Case {
    fn new(batch: usize, channels: usize, inner: usize) -> Case {
        let count = batch * channels * inner;
        Case {
            shape: ChannelShape { batch, channels, inner },
            x: values(count, 1),
            dy: values(count, 2),
            channels: [3, 4, 5, 6].map(|seed| values(channels, seed)),
        }
    }

    /// y, new running mean and variance, mean, inv_std, dx, dscale, dbias.
    fn computed(&self, level: Level, parallel: &dyn Parallel) -> [Vec<f32>; 8] {
        let channels = self.shape.channels;
        let [scale, bias, running_mean, running_variance] = &self.channels;
        let [mut y, mut dx] = [(); 2].map(|()| vec![5.0; self.x.len()]);
        let [mut new_mean, mut new_variance, mut mean, mut inv_std, mut dscale, mut dbias] =
            [(); 6].map(|()| vec![5.0; channels]);
        let x = &self.x;
        let inputs = Inputs { x, scale, bias, running_mean, running_variance };
        let outputs = Outputs {
            y: &mut y,
            running_mean: &mut new_mean,
            running_variance: &mut new_variance,
            mean: &mut mean,
            inv_std: &mut inv_std,
        };
        training_at(level, (self.shape, SETTINGS), inputs, outputs, parallel).unwrap();
        let (mean_read, inv_std_read) = (mean.as_slice(), inv_std.as_slice());
        let inputs =
            GradientInputs { dy: &self.dy, x, scale, mean: mean_read, inv_std: inv_std_read };
        let outputs = GradientOutputs { dx: &mut dx, dscale: &mut dscale, dbias: &mut dbias };
        gradient_at(level, self.shape, inputs, outputs, parallel).unwrap();
        [y, new_mean, new_variance, mean, inv_std, dx, dscale, dbias]
    }

    /// The same in 64 bits, in the order of the formulas.
    fn expected(&self) -> [Vec<f64>; 8] {
        let ChannelShape { batch, channels, inner } = self.shape;
        let (x, dy) = (wide(&self.x), wide(&self.dy));
        let [scale, bias, running_mean, running_variance] =
            [0, 1, 2, 3].map(|index| wide(&self.channels[index]));
        let [mut y, mut dx] = [(); 2].map(|()| vec![0.0; x.len()]);
        let mut per_channel = [(); 6].map(|()| vec![0.0; channels]);
        let count = (batch * inner) as f64;
        let (epsilon, keep) = (f64::from(SETTINGS.epsilon), f64::from(SETTINGS.momentum));
        for channel in 0..channels {
            let places: Vec<usize> = (0..batch * inner)
                .map(|i| (i / inner * channels + channel) * inner + i % inner)
                .collect();
            let sum = |of: &dyn Fn(usize) -> f64| places.iter().map(|i| of(*i)).sum::<f64>();
            let mean = sum(&|i| x[i]) / count;
            let squares = sum(&|i| (x[i] - mean).powi(2));
            let inv_std = 1.0 / (squares / count + epsilon).sqrt();
            let normalized = |i: usize| (x[i] - mean) * inv_std;
            let plain = sum(&|i| dy[i]);
            let along = sum(&|i| dy[i] * normalized(i));
            for i in places {
                y[i] = normalized(i) * scale[channel] + bias[channel];
                dx[i] = scale[channel] * inv_std / count
                    * (count * dy[i] - plain - normalized(i) * along);
            }
            let new_mean = running_mean[channel] * keep + mean * (1.0 - keep);
            let new_variance =
                running_variance[channel] * keep + squares / (count - 1.0) * (1.0 - keep);
            let values = [new_mean, new_variance, mean, inv_std, along, plain];
            per_channel.iter_mut().zip(values).for_each(|(all, value)| all[channel] = value);
        }
        let [new_mean, new_variance, mean, inv_std, dscale, dbias] = per_channel;
        [y, new_mean, new_variance, mean, inv_std, dx, dscale, dbias]
    }

    /// `tolerances` are those of the forward results and of the gradients.
    #[track_caller]
    fn check(&self, level: Level, tolerances: [f64; 2]) {
        let names = [
            "y",
            "new running mean",
            "new running variance",
            "mean",
            "inv_std",
            "dx",
            "dscale",
            "dbias",
        ];
        let computed = self.computed(level, &Sequential);
        for ((name, computed), expected) in names.iter().zip(computed).zip(self.expected()) {
            let tolerance = tolerances[usize::from(name.starts_with('d'))];
            assert_near(&format!("{:?} {name}", self.shape), &computed, &expected, tolerance);
        }
    }
}

#[test]
fn results_agree_with_64_bits_at_every_level() {
    for level in Level::available() {
        for (batch, channels, inner) in [
            (2, 1, 1),
            (1, 3, 2),
            (5, 7, 1),
            (100, 130, 1),
            (3, 5, 49),
            (2, 200, 3),
            (4, 3, 1030),
            (3, 0, 4),
        ] {
            Case::new(batch, channels, inner).check(level, [3e-6; 2]);
        }
    }
}

#[test]
fn a_large_mean_does_not_swallow_the_deviation() {
    for (batch, channels, inner) in [(8, 3, 40), (300, 5, 1)] {
        let mut case = Case::new(batch, channels, inner);
        // The values become multiples of a power of two, so that adding the offset is exact.
        case.x.iter_mut().for_each(|x| *x = (*x * 64.0).round() / 64.0 + 10_000.0);
        // The gradient is given the mean in 32 bits, which rounds it by up to 5e-4.
        case.check(Level::detected(), [2e-5, 5e-3]);
    }
}

#[test]
fn a_channel_of_one_value_has_the_largest_inverse_deviation() {
    let mut case = Case::new(4, 2, 30);
    case.x.fill(3.7);
    let [_, _, _, _, inv_std, ..] = case.computed(Level::detected(), &Sequential);
    assert_near("inv_std", &inv_std, &[1.0 / f64::from(SETTINGS.epsilon).sqrt(); 2], 1e-6);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (batch, channels, inner) in [(4, 16, 900), (300, 200, 1), (6, 50, 7)] {
        let case = Case::new(batch, channels, inner);
        assert_same_bits(|parallel| case.computed(Level::detected(), parallel).to_vec());
    }
}

fn train(shape: ChannelShape, x: &[f32], scale: &[f32]) -> Result<(), KernelError> {
    let channels = vec![1.0; shape.channels];
    let [mut running_mean, mut running_variance, mut mean, mut inv_std] =
        [(); 4].map(|()| channels.clone());
    let inputs =
        Inputs { x, scale, bias: &channels, running_mean: &channels, running_variance: &channels };
    let outputs = Outputs {
        y: &mut vec![0.0; x.len()],
        running_mean: &mut running_mean,
        running_variance: &mut running_variance,
        mean: &mut mean,
        inv_std: &mut inv_std,
    };
    training(shape, SETTINGS, inputs, outputs, &Sequential)
}

#[test]
fn a_batch_without_a_variance_is_refused() {
    for (batch, inner, count) in [(1, 1, 1), (0, 9, 0), (3, 0, 0)] {
        let shape = ChannelShape { batch, channels: 2, inner };
        let error = train(shape, &vec![0.0; 2 * count], &[1.0; 2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "batch normalization: the number of values per channel is {count}, expected at \
                 least 2"
            )
        );
    }
}

#[test]
fn wrong_lengths_are_refused_with_what_was_expected() {
    let shape = ChannelShape { batch: 2, channels: 3, inner: 4 };
    let error = train(shape, &[0.0; 24], &[1.0; 2]).unwrap_err();
    assert_eq!(error.to_string(), "batch normalization: scale has 2 elements, expected 3");
    let error = train(shape, &[0.0; 23], &[1.0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "batch normalization: x has 23 elements, expected 24");
}
