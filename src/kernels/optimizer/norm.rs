//! The norm over all gradients, and what clipping by it multiplies them with.

use super::blocks::BLOCK;
use crate::kernels::dispatch::{Level, Work};
use crate::kernels::parallel::{Parallel, for_each_part};
use crate::kernels::sums::Sums;
use crate::kernels::vector::Vector;

/// Added to the norm before dividing by it, as PyTorch does.
const NORM_MARGIN: f64 = 1e-6;

/// The sum of the squares of all gradients: infinite or NaN if one of them is, or if a square is
/// beyond 32 bits.
pub fn sum_of_squares(gradients: &[&[f32]], parallel: &dyn Parallel) -> f64 {
    sum_of_squares_at(Level::detected(), gradients, parallel)
}

/// What gradients are multiplied with so that their norm is at most `norm_maximum`: 1 where it is
/// already.
pub fn clip_factor(sum_of_squares: f64, norm_maximum: f64) -> f32 {
    let factor = norm_maximum / (sum_of_squares.sqrt() + NORM_MARGIN);
    // A comparison, not `min`: that would lose a NaN.
    if factor > 1.0 { 1.0 } else { factor as f32 }
}

fn sum_of_squares_at(level: Level, gradients: &[&[f32]], parallel: &dyn Parallel) -> f64 {
    let blocks: Vec<&[f32]> = gradients.iter().flat_map(|all| all.chunks(BLOCK)).collect();
    let mut sums = vec![0.0; blocks.len()];
    for_each_part(parallel, sums.iter_mut().zip(blocks), |_, (sum, block)| {
        *sum = level.run(Squares(block));
    });
    // One after the other: the order must not depend on which task ended first.
    sums.iter().sum()
}

struct Squares<'a>(&'a [f32]);

impl Work for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let mut sums = Sums::new();
        sums.add(self.0, |value| [value * value]);
        let [sum] = sums.totals();
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::values;
    use crate::kernels::{ScopedThreads, Sequential};

    #[test]
    fn sum_agrees_with_64_bits_and_is_the_same_bits_on_any_threads() {
        let gradients = [values(100_003, 1), values(0, 2), values(1, 3), values(17_000, 4)];
        let slices: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        let exact: f64 =
            slices.iter().flat_map(|all| all.iter()).map(|g| f64::from(*g).powi(2)).sum();
        let sum = sum_of_squares(&slices, &Sequential);
        assert!((sum - exact).abs() < 1e-7 * exact, "{sum} {exact}");
        for count in 1..4 {
            assert_eq!(sum_of_squares(&slices, &ScopedThreads { count }).to_bits(), sum.to_bits());
        }
        for level in Level::available() {
            let sum_here = sum_of_squares_at(level, &slices, &Sequential);
            assert_eq!(sum_here.to_bits(), sum.to_bits(), "{level:?}");
        }
        assert_eq!(sum_of_squares(&[], &Sequential), 0.0);
        assert!(sum_of_squares(&[&[1.0, f32::NAN]], &Sequential).is_nan());
    }

    #[test]
    fn only_norms_above_the_maximum_are_clipped() {
        assert_eq!(clip_factor(9.0, 3.5), 1.0);
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(16.0, 1.0), (1.0 / 4.000_001) as f32);
        assert_eq!(clip_factor(f64::INFINITY, 1.0), 0.0);
        assert!(clip_factor(f64::NAN, 1.0).is_nan());
    }
}
