//! GELU and its gradient: x times the part of the normal distribution below x.

use super::dispatch::{Level, Work};
use super::error::{KernelError, check_length};
use super::exponential::{exponential, normal};
use super::parallel::{Parallel, for_each_part};
use super::vector::Vector;

/// Elements of a task.
const BLOCK: usize = 16_384;

/// How the distribution is computed: ONNX's attribute `approximate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approximation {
    /// `none`: by the error function.
    Exact,
    /// `tanh`: by a hyperbolic tangent, up to 5e-4 away.
    Tanh,
}

/// `y` becomes the GELU of `x`.
///
/// # Errors
/// The lengths differ.
pub fn forward(
    approximation: Approximation,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    forward_at(Level::detected(), approximation, x, y, parallel)
}

/// `dx` becomes `dy` times the slope of GELU at `x`.
///
/// # Errors
/// The lengths differ.
pub fn gradient(
    approximation: Approximation,
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    gradient_at(Level::detected(), approximation, (dy, x), dx, parallel)
}

fn forward_at(
    level: Level,
    approximation: Approximation,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    check_length("gelu", "y", y, x.len())?;
    for_each_part(parallel, y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)), |_, (y, x)| {
        level.run(Forward { approximation, x, y });
    });
    Ok(())
}

fn gradient_at(
    level: Level,
    approximation: Approximation,
    (dy, x): (&[f32], &[f32]),
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    check_length("gelu gradient", "dy", dy, x.len())?;
    check_length("gelu gradient", "dx", dx, x.len())?;
    let parts = dx.chunks_mut(BLOCK).zip(dy.chunks(BLOCK)).zip(x.chunks(BLOCK));
    for_each_part(parallel, parts, |_, ((dx, dy), x)| {
        level.run(Gradient { approximation, dy, x, dx });
    });
    Ok(())
}

struct Forward<'a> {
    approximation: Approximation,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.y.iter_mut().zip(self.x);
        match self.approximation {
            Approximation::Exact => pairs.for_each(|(y, x)| *y = x * normal(*x).below),
            Approximation::Tanh => pairs.for_each(|(y, x)| *y = Tanh::value(*x)),
        }
    }
}

struct Gradient<'a> {
    approximation: Approximation,
    dy: &'a [f32],
    x: &'a [f32],
    dx: &'a mut [f32],
}

impl Work for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let triples = self.dx.iter_mut().zip(self.dy).zip(self.x);
        match self.approximation {
            Approximation::Exact => triples.for_each(|((dx, dy), x)| {
                let normal = normal(*x);
                *dx = dy * (normal.below + x * normal.density);
            }),
            Approximation::Tanh => {
                triples.for_each(|((dx, dy), x)| *dx = dy * Tanh::at(*x).slope())
            }
        }
    }
}

/// √(2/π) and the cubic's factor, as the approximation is defined.
const SCALE: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// Beyond this the approximation is 0 or 1 in 32 bits, and nothing within overflows.
const TANH_LIMIT: f32 = 10.0;

/// (1 + tanh(u)) / 2 is 1 / (1 + exp(-2u)).
struct Tanh {
    /// x within the limit.
    x: f32,
    /// exp(-2u).
    opposite: f32,
}

impl Tanh {
    #[inline(always)]
    fn at(x: f32) -> Tanh {
        let x = if x > TANH_LIMIT { TANH_LIMIT } else { x };
        let x = if x < -TANH_LIMIT { -TANH_LIMIT } else { x };
        let u = SCALE * (x + CUBIC * x * x * x);
        Tanh { x, opposite: exponential(-2.0 * u) }
    }

    #[inline(always)]
    fn value(x: f32) -> f32 {
        // Far below, the bounded x would leave a trace that a huge x makes visible.
        if x < -TANH_LIMIT { 0.0 } else { x * Tanh::at(x).below() }
    }

    #[inline(always)]
    fn below(&self) -> f32 {
        1.0 / (1.0 + self.opposite)
    }

    #[inline(always)]
    fn slope(&self) -> f32 {
        let below = self.below();
        let inner = 2.0 * SCALE * (1.0 + 3.0 * CUBIC * self.x * self.x);
        below + self.x * inner * (below * (self.opposite * below))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, assert_same_bits, values, wide};
    use super::*;
    use crate::kernels::{ScopedThreads, Sequential};

    const BOTH: [Approximation; 2] = [Approximation::Exact, Approximation::Tanh];

    /// The distribution by summing its density with Simpson's rule: slow, and nothing in common
    /// with the kernel.
    fn exact(x: f64) -> f64 {
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (steps, width) = (2000, x / 2000.0);
        let inner: f64 = (1..steps)
            .map(|step| f64::from(2 + 2 * (step % 2)) * density(f64::from(step) * width))
            .sum();
        x * (0.5 + (density(0.0) + inner + density(x)) * width / 3.0)
    }

    fn reference(approximation: Approximation, x: f64) -> f64 {
        let scale = (2.0 / std::f64::consts::PI).sqrt();
        match approximation {
            Approximation::Exact => exact(x),
            Approximation::Tanh => 0.5 * x * (1.0 + (scale * (x + 0.044715 * x.powi(3))).tanh()),
        }
    }

    #[test]
    fn values_and_slopes_agree_with_64_bits_at_every_level() {
        for length in [0, 1, 7, 100, 4099] {
            let x: Vec<f32> = values(length, 5).iter().map(|value| value * 4.0).collect();
            let dy = values(length, 6);
            for (level, approximation) in
                Level::available().into_iter().flat_map(|level| BOTH.map(|both| (level, both)))
            {
                let (mut y, mut dx) = (vec![9.0; length], vec![9.0; length]);
                forward_at(level, approximation, &x, &mut y, &Sequential).unwrap();
                gradient_at(level, approximation, (&dy, &x), &mut dx, &Sequential).unwrap();
                let expected: Vec<f64> =
                    wide(&x).iter().map(|x| reference(approximation, *x)).collect();
                assert_near("y", &y, &expected, 3e-7);
                let slope = |x: f64| {
                    let step = 1e-5;
                    let above = reference(approximation, x + step);
                    (above - reference(approximation, x - step)) / (2.0 * step)
                };
                let expected: Vec<f64> =
                    wide(&x).iter().zip(wide(&dy)).map(|(x, dy)| dy * slope(*x)).collect();
                assert_near("dx", &dx, &expected, 5e-7);
            }
        }
    }

    #[test]
    fn large_values_are_kept_and_large_negative_ones_vanish() {
        let x = [1e30, 50.0, -50.0, -1e30];
        for approximation in BOTH {
            let (mut y, mut dx) = ([0.0; 4], [0.0; 4]);
            forward(approximation, &x, &mut y, &Sequential).unwrap();
            gradient(approximation, &[1.0; 4], &x, &mut dx, &Sequential).unwrap();
            assert_eq!((y[0], y[1]), (1e30, 50.0));
            assert!(y[2].abs() < 1e-30, "{y:?}");
            assert_near("dx", &dx, &[1.0, 1.0, 0.0, 0.0], 1e-30);
        }
        let mut y = [0.0];
        forward(Approximation::Exact, &[f32::NAN], &mut y, &Sequential).unwrap();
        assert!(y[0].is_nan());
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, dy) = (values(50_001, 1), values(50_001, 2));
        for approximation in BOTH {
            assert_same_bits(|parallel| {
                let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward(approximation, &x, &mut y, parallel).unwrap();
                gradient(approximation, &dy, &x, &mut dx, parallel).unwrap();
                vec![y, dx]
            });
        }
    }

    #[test]
    fn unlike_lengths_are_refused_with_what_was_expected() {
        let threads = ScopedThreads { count: 2 };
        let error = forward(Approximation::Exact, &[0.0; 3], &mut [0.0; 2], &threads).unwrap_err();
        assert_eq!(error.to_string(), "gelu: y has 2 elements, expected 3");
        let error = gradient(Approximation::Exact, &[0.0; 4], &[0.0; 3], &mut [0.0; 3], &threads)
            .unwrap_err();
        assert_eq!(error.to_string(), "gelu gradient: dy has 4 elements, expected 3");
    }
}
