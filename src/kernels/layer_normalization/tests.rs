//! Layer normalisation against the same in 64 bits.

use super::super::testing::{assert_near, assert_same_bits, values, wide};
use super::*;
use crate::kernels::Sequential;

const EPSILON: f32 = 1e-5;

struct Case {
    shape: RowShape,
    x: Vec<f32>,
    dy: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(rows: usize, width: usize) -> Case {
        let count = rows * width;
        let (x, dy) = (values(count, 1), values(count, 2));
        let (scale, bias) = (values(width, 3), values(width, 4));
        Case { shape: RowShape { rows, width }, x, dy, scale, bias }
    }

    /// y, mean, inv_std, dx, dscale, dbias.
    fn computed(&self, level: Level, parallel: &dyn Parallel) -> [Vec<f32>; 6] {
        let RowShape { rows, width } = self.shape;
        let [mut y, mut dx] = [(); 2].map(|()| vec![5.0; rows * width]);
        let [mut mean, mut inv_std] = [(); 2].map(|()| vec![5.0; rows]);
        let [mut dscale, mut dbias] = [(); 2].map(|()| vec![5.0; width]);
        let (x, dy, scale, bias) = (&self.x, &self.dy, &self.scale, Some(self.bias.as_slice()));
        let inputs = Inputs { x, scale, bias };
        let outputs = Outputs { y: &mut y, mean: &mut mean, inv_std: &mut inv_std };
        forward_at(level, (self.shape, EPSILON), inputs, outputs, parallel).unwrap();
        let inputs = GradientInputs { dy, x, scale, mean: &mean, inv_std: &inv_std };
        let outputs = GradientOutputs { dx: &mut dx, dscale: &mut dscale, dbias: &mut dbias };
        gradient_at(level, self.shape, inputs, outputs, parallel).unwrap();
        [y, mean, inv_std, dx, dscale, dbias]
    }

    /// The same in 64 bits, in the order of the formulas.
    fn expected(&self) -> [Vec<f64>; 6] {
        let [x, dy, scale, bias] = [&self.x, &self.dy, &self.scale, &self.bias].map(|v| wide(v));
        let RowShape { rows, width } = self.shape;
        let (mut y, mut dx, mut mean, mut inv_std) = (vec![], vec![], vec![], vec![]);
        let (mut dscale, mut dbias) = (vec![0.0; width], vec![0.0; width]);
        for row in 0..rows {
            let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            let m = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|x| (x - m).powi(2)).sum::<f64>() / width as f64;
            let s = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            let normalized: Vec<f64> = x.iter().map(|x| (x - m) * s).collect();
            let g: Vec<f64> = dy.iter().zip(&scale).map(|(dy, scale)| dy * scale).collect();
            let plain = g.iter().sum::<f64>() / width as f64;
            let along = g.iter().zip(&normalized).map(|(g, n)| g * n).sum::<f64>() / width as f64;
            for column in 0..width {
                let n = normalized[column];
                y.push(n * scale[column] + bias[column]);
                dx.push(s * (g[column] - plain - n * along));
                dscale[column] += dy[column] * n;
                dbias[column] += dy[column];
            }
            mean.push(m);
            inv_std.push(s);
        }
        [y, mean, inv_std, dx, dscale, dbias]
    }

    /// `tolerances` are those of the forward results and of the gradients.
    #[track_caller]
    fn check(&self, level: Level, tolerances: [f64; 2]) {
        let names = ["y", "mean", "inv_std", "dx", "dscale", "dbias"];
        let computed = self.computed(level, &Sequential);
        for ((name, computed), expected) in names.iter().zip(computed).zip(self.expected()) {
            let tolerance = tolerances[usize::from(name.starts_with('d'))];
            assert_near(name, &computed, &expected, tolerance);
        }
    }
}

#[test]
fn results_agree_with_64_bits_at_every_level() {
    for level in Level::available() {
        for (rows, width) in [(0, 5), (3, 1), (1, 2), (7, 33), (100, 17), (40, 768), (3000, 9)] {
            Case::new(rows, width).check(level, [3e-6; 2]);
        }
    }
}

#[test]
fn a_missing_bias_is_a_bias_of_zero() {
    let mut case = Case::new(9, 37);
    case.bias.fill(0.0);
    let [y, mean, inv_std, ..] = case.computed(Level::detected(), &Sequential);
    let [mut y2, mut mean2, mut inv_std2] = [vec![1.0; 9 * 37], vec![1.0; 9], vec![1.0; 9]];
    let inputs = Inputs { x: &case.x, scale: &case.scale, bias: None };
    let outputs = Outputs { y: &mut y2, mean: &mut mean2, inv_std: &mut inv_std2 };
    forward(case.shape, EPSILON, inputs, outputs, &Sequential).unwrap();
    assert_eq!((y, mean, inv_std), (y2, mean2, inv_std2));
}

#[test]
fn a_large_mean_does_not_swallow_the_deviation() {
    let mut case = Case::new(8, 300);
    // The values become multiples of a power of two, so that adding the offset is exact.
    case.x.iter_mut().for_each(|x| *x = (*x * 64.0).round() / 64.0 + 10_000.0);
    // The gradient is given the mean in 32 bits, which rounds it by up to 5e-4.
    case.check(Level::detected(), [2e-5, 5e-3]);
}

#[test]
fn rows_of_one_value_have_the_largest_inverse_deviation() {
    let mut case = Case::new(3, 50);
    case.x.fill(3.7);
    let [y, _, inv_std, ..] = case.computed(Level::detected(), &Sequential);
    assert_near("inv_std", &inv_std, &[1.0 / f64::from(EPSILON).sqrt(); 3], 1e-6);
    assert_near("y", &y, &wide(&case.bias.repeat(3)), 1e-6);
}

#[test]
fn empty_rows_have_no_mean_and_no_gradient() {
    let [_, mean, inv_std, ..] = Case::new(2, 0).computed(Level::detected(), &Sequential);
    assert!(mean.iter().chain(&inv_std).all(|value| value.is_nan()));
    assert_eq!(Case::new(0, 2).computed(Level::detected(), &Sequential)[4], [0.0, 0.0]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (rows, width) in [(300, 384), (5000, 5), (1, 70_000)] {
        let case = Case::new(rows, width);
        assert_same_bits(|parallel| case.computed(Level::detected(), parallel).to_vec());
    }
}

#[test]
fn wrong_lengths_are_refused_with_what_was_expected() {
    let shape = RowShape { rows: 2, width: 3 };
    let inputs = Inputs { x: &[0.0; 6], scale: &[0.0; 2], bias: None };
    let outputs = Outputs { y: &mut [0.0; 6], mean: &mut [0.0; 2], inv_std: &mut [0.0; 2] };
    let error = forward(shape, EPSILON, inputs, outputs, &Sequential).unwrap_err();
    assert_eq!(error.to_string(), "layer normalization: scale has 2 elements, expected 3");
}
