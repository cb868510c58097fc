//! Gradients of softmax and log-softmax from their results.

use super::dispatch::{Level, Work};
use super::error::{KernelError, check_length};
use super::exponential::exponential;
use super::parallel::{Parallel, for_each_part};
use super::sums::{ColumnSums, Sums};
use super::vector::Vector;

/// About how many elements a task has.
const BLOCK: usize = 16_384;

/// Columns that are summed side by side where the axis is not the last one.
const COLUMNS: usize = 64;

/// Where the axis lies in a tensor: what is before it, its length, what is after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisShape {
    pub outer: usize,
    pub axis: usize,
    pub inner: usize,
}

impl AxisShape {
    fn count(self) -> usize {
        self.outer.saturating_mul(self.axis).saturating_mul(self.inner)
    }
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Softmax,
    LogSoftmax,
}

/// `dx = y (dy - Σ dy y)`, the sum over the axis, `y` the softmax.
///
/// # Errors
/// A slice has not the shape's length.
pub fn gradient(
    shape: AxisShape,
    dy: &[f32],
    y: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let whole = Slab { function: Function::Softmax, shape, dy, y, dx };
    gradient_at(Level::detected(), whole, parallel)
}

/// `dx = dy - exp(y) Σ dy`, the sum over the axis, `y` the log-softmax.
///
/// # Errors
/// A slice has not the shape's length.
pub fn log_gradient(
    shape: AxisShape,
    dy: &[f32],
    y: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let whole = Slab { function: Function::LogSoftmax, shape, dy, y, dx };
    gradient_at(Level::detected(), whole, parallel)
}

/// Some of the outer positions.
struct Slab<'a> {
    function: Function,
    shape: AxisShape,
    dy: &'a [f32],
    y: &'a [f32],
    dx: &'a mut [f32],
}

fn gradient_at(level: Level, whole: Slab, parallel: &dyn Parallel) -> Result<(), KernelError> {
    let Slab { function, shape, dy, y, dx } = whole;
    let kernel = match function {
        Function::Softmax => "softmax gradient",
        Function::LogSoftmax => "log-softmax gradient",
    };
    check_length(kernel, "dy", dy, shape.count())?;
    check_length(kernel, "y", y, shape.count())?;
    check_length(kernel, "dx", dx, shape.count())?;
    if shape.count() == 0 {
        return Ok(());
    }
    let slab = shape.axis * shape.inner;
    let size = slab * (BLOCK / slab).max(1);
    let parts = dx.chunks_mut(size).zip(dy.chunks(size)).zip(y.chunks(size));
    for_each_part(parallel, parts, |_, ((dx, dy), y)| {
        level.run(Slab { function, shape, dy, y, dx });
    });
    Ok(())
}

impl Work for Slab<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.function {
            Function::Softmax => {
                self.each_slab(|dy, y| dy * y, |sum, dy, y| y * (dy - sum));
            }
            Function::LogSoftmax => {
                self.each_slab(|dy, _| dy, |sum, dy, y| dy - exponential(y) * sum);
            }
        }
    }
}

impl Slab<'_> {
    #[inline(always)]
    fn each_slab(self, term: impl Fn(f32, f32) -> f32, result: impl Fn(f32, f32, f32) -> f32) {
        let size = self.shape.axis * self.shape.inner;
        let slabs = self.dx.chunks_exact_mut(size).zip(self.dy.chunks_exact(size));
        for ((dx, dy), y) in slabs.zip(self.y.chunks_exact(size)) {
            if self.shape.inner == 1 {
                let mut sums = Sums::new();
                sums.add2(dy, y, |dy, y| [term(dy, y)]);
                let [sum] = sums.totals().map(|sum| sum as f32);
                for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx = result(sum, *dy, *y);
                }
            } else {
                columns(self.shape.inner, (dy, y), dx, &term, &result);
            }
        }
    }
}

/// The axis of one slab runs across rows of `inner` elements.
#[inline(always)]
fn columns(
    inner: usize,
    (dy, y): (&[f32], &[f32]),
    dx: &mut [f32],
    term: impl Fn(f32, f32) -> f32,
    result: impl Fn(f32, f32, f32) -> f32,
) {
    for first in (0..inner).step_by(COLUMNS) {
        let some = first..inner.min(first + COLUMNS);
        let mut sums = ColumnSums::<COLUMNS>::new();
        for (dy, y) in dy.chunks_exact(inner).zip(y.chunks_exact(inner)) {
            let (dy, y) = (&dy[some.clone()], &y[some.clone()]);
            sums.add3(dy, y, y, |dy, y, _| term(dy, y));
        }
        let sums = sums.totals().map(|sum| sum as f32);
        let rows = dx.chunks_exact_mut(inner).zip(dy.chunks_exact(inner));
        for ((dx, dy), y) in rows.zip(y.chunks_exact(inner)) {
            let (dy, y) = (&dy[some.clone()], &y[some.clone()]);
            for (((dx, dy), y), sum) in dx[some.clone()].iter_mut().zip(dy).zip(y).zip(&sums) {
                *dx = result(*sum, *dy, *y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, assert_same_bits, values, wide};
    use super::*;
    use crate::kernels::Sequential;

    /// Softmax over the axis in 64 bits, from logits up to `scale`.
    fn softmax(shape: AxisShape, logits: &[f32]) -> Vec<f64> {
        let logits = wide(logits);
        let at = |outer: usize, step: usize, inner: usize| {
            (outer * shape.axis + step) * shape.inner + inner
        };
        let mut result = vec![0.0; logits.len()];
        for outer in 0..shape.outer {
            for inner in 0..shape.inner {
                let line = (0..shape.axis).map(|step| at(outer, step, inner));
                let largest = line.clone().map(|i| logits[i]).fold(f64::MIN, f64::max);
                let sum: f64 = line.clone().map(|i| (logits[i] - largest).exp()).sum();
                line.for_each(|i| result[i] = (logits[i] - largest).exp() / sum);
            }
        }
        result
    }

    fn check(level: Level, shape: AxisShape, scale: f32) {
        let logits: Vec<f32> = values(shape.count(), 3).iter().map(|v| v * scale).collect();
        let dy = values(shape.count(), 4);
        let exact = softmax(shape, &logits);
        let probability: Vec<f32> = exact.iter().map(|p| *p as f32).collect();
        let logarithm: Vec<f32> = exact.iter().map(|p| p.ln().max(-1000.0) as f32).collect();
        let sums = |term: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let size = shape.axis * shape.inner;
            let mut sums = vec![0.0; shape.outer * shape.inner];
            (0..dy.len()).for_each(|i| {
                sums[i / size * shape.inner + i % shape.inner] += term(i);
            });
            (0..dy.len()).map(|i| sums[i / size * shape.inner + i % shape.inner]).collect()
        };
        let products = sums(&|i| f64::from(dy[i]) * exact[i]);
        let plain = sums(&|i| f64::from(dy[i]));
        let expected: Vec<f64> =
            (0..dy.len()).map(|i| exact[i] * (f64::from(dy[i]) - products[i])).collect();
        let mut dx = vec![7.0; dy.len()];
        let slab =
            Slab { function: Function::Softmax, shape, dy: &dy, y: &probability, dx: &mut dx };
        gradient_at(level, slab, &Sequential).unwrap();
        assert_near("softmax", &dx, &expected, 4e-7);
        let expected: Vec<f64> =
            (0..dy.len()).map(|i| f64::from(dy[i]) - exact[i] * plain[i]).collect();
        let slab =
            Slab { function: Function::LogSoftmax, shape, dy: &dy, y: &logarithm, dx: &mut dx };
        gradient_at(level, slab, &Sequential).unwrap();
        assert_near("log-softmax", &dx, &expected, 2e-6);
    }

    #[test]
    fn gradients_agree_with_64_bits_over_any_axis_at_every_level() {
        for level in Level::available() {
            for (outer, axis, inner) in
                [(1, 1, 1), (3, 7, 1), (5, 1003, 1), (2, 5, 3), (3, 40, 131), (1, 9, 64)]
            {
                check(level, AxisShape { outer, axis, inner }, 1.0);
            }
            for (outer, axis, inner) in [(0, 3, 2), (3, 0, 2), (3, 2, 0)] {
                check(level, AxisShape { outer, axis, inner }, 1.0);
            }
        }
    }

    #[test]
    fn large_logits_leave_finite_gradients() {
        for (outer, axis, inner) in [(4, 33, 1), (2, 9, 5)] {
            check(Level::detected(), AxisShape { outer, axis, inner }, 300.0);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        for (outer, axis, inner) in [(400, 101, 1), (70, 33, 17)] {
            let shape = AxisShape { outer, axis, inner };
            let (dy, y) = (values(shape.count(), 1), values(shape.count(), 2));
            assert_same_bits(|parallel| {
                let (mut a, mut b) = (vec![0.0; y.len()], vec![0.0; y.len()]);
                gradient(shape, &dy, &y, &mut a, parallel).unwrap();
                log_gradient(shape, &dy, &y, &mut b, parallel).unwrap();
                vec![a, b]
            });
        }
    }

    #[test]
    fn wrong_lengths_are_refused_with_what_was_expected() {
        let shape = AxisShape { outer: 2, axis: 3, inner: 1 };
        let error = gradient(shape, &[0.0; 6], &[0.0; 5], &mut [0.0; 6], &Sequential);
        assert_eq!(
            error.unwrap_err().to_string(),
            "softmax gradient: y has 5 elements, expected 6"
        );
        let endless = AxisShape { outer: usize::MAX, axis: usize::MAX, inner: 2 };
        assert!(log_gradient(endless, &[], &[], &mut [], &Sequential).is_err());
    }
}
