//! Exponential and normal distribution, written so that the compiler makes vectors of them: no
//! branch, no table, no call.
//!
//! The coefficients are least-squares fits of the relative error, reweighted until its peaks were
//! level; the tests hold what accuracy came of it.

/// Adding and subtracting this rounds a float below 2^22 to a whole number, which then stands in
/// the low bits of the sum.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts: the first has few bits, so that its product with a small whole number is
/// exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below this the result is 0: it would not be a normal number.
const EXPONENT_MINIMUM: f32 = -87.336_54;

/// e to the power of `x`; infinite from 88.38 on, 0 below -87.34, within 2e-7 of itself between.
#[inline(always)]
pub(crate) fn exponential(x: f32) -> f32 {
    // Comparisons, not `min` and `max`: those would lose a NaN.
    let bounded = if x > 89.0 { 89.0 } else { x };
    let bounded = if bounded < EXPONENT_MINIMUM { EXPONENT_MINIMUM } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let r = bounded - whole * LN_2_HIGH - whole * LN_2_LOW;
    let q = 8.369_419e-3 + r * 1.381_314_5e-3;
    let q = 0.166_665_15 + r * (4.166_845_6e-2 + r * q);
    let power = 1.0 + (r + r * r * (0.499_999_94 + r * q));
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < EXPONENT_MINIMUM { 0.0 } else { power * scale }
}

/// The normal distribution at a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normal {
    /// The part below the place: (1 + erf(x / √2)) / 2.
    pub(crate) below: f32,
    /// The density, exp(-x² / 2) / √(2π).
    pub(crate) density: f32,
}

/// Beyond this many standard deviations nothing is left in 32 bits.
const NORMAL_LIMIT: f32 = 14.0;

/// Near 0 the part below is a half and an odd polynomial. Further out the tail above |x| is the
/// density's exponential times a slowly falling function, a polynomial in 1 / (1 + 0.4 |x|): so
/// small tails keep their relative accuracy, which 1 + erf(x) loses.
#[inline(always)]
pub(crate) fn normal(x: f32) -> Normal {
    let size = if x.abs() > NORMAL_LIMIT { NORMAL_LIMIT } else { x.abs() };
    let square = size * size;
    let p = 1.134_863_7e-4 - square * 7.654_206e-6;
    let p = 9.973_323e-3 + square * (-1.186_33e-3 + square * p);
    let p = 0.398_942_3 + square * (-6.649_036e-2 + square * p);
    let near = 0.5 + x * p;
    let bell = exponential(-0.5 * square);
    let t = 1.0 / (1.0 + 0.4 * size);
    let p = -0.186_428_46 + t * 6.812_154_5e-2;
    let p = 5.554_03e-2 + t * (0.105_363_704 + t * p);
    let p = 0.159_099_98 + t * (0.139_002_38 + t * p);
    let tail = bell * (t * (0.159_595_79 + t * p));
    let far = if x < 0.0 { tail } else { 1.0 - tail };
    let below = if size < 1.0 { near } else { far };
    Normal { below, density: bell * 0.398_942_3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its series, and erfc by its continued fraction where the series cancels.
    fn reference_below(x: f64) -> f64 {
        let z = x.abs() / std::f64::consts::SQRT_2;
        let root = std::f64::consts::PI.sqrt();
        let tail = if z < 2.0 {
            let (mut term, mut sum) = (z, z);
            for n in 1..80 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            0.5 - sum / root
        } else {
            let fraction = (1..200).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (z + f));
            0.5 * (-z * z).exp() / (root * (z + fraction))
        };
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    fn places(limit: f32) -> impl Iterator<Item = f32> {
        (i16::MIN..=i16::MAX).map(move |step| f32::from(step) / 32_768.0 * limit)
    }

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        for x in places(87.0) {
            let expected = f64::from(x).exp();
            let error = (f64::from(exponential(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "{x}: {error}");
        }
    }

    #[test]
    fn exponential_ends_in_zero_and_infinity_and_keeps_nan() {
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
        assert_eq!(exponential(-100.0), 0.0);
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(89.0), f32::INFINITY);
        assert_eq!(exponential(f32::INFINITY), f32::INFINITY);
        assert!(exponential(f32::NAN).is_nan());
    }

    #[test]
    fn normal_distribution_is_within_a_ten_millionth() {
        for x in places(15.0) {
            let below = (f64::from(normal(x).below) - reference_below(x.into())).abs();
            assert!(below < 1e-7, "{x}: {below}");
            let density = (-0.5 * f64::from(x).powi(2)).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(normal(x).density) - density).abs() < 1e-7, "{x}");
        }
        assert!(normal(f32::NAN).below.is_nan());
        assert_eq!(normal(f32::INFINITY).below, 1.0);
        assert_eq!(normal(f32::NEG_INFINITY).below, 0.0);
    }

    #[test]
    fn far_tails_keep_their_relative_accuracy() {
        for x in [-3.0_f32, -5.0, -8.0, -12.0] {
            let expected = reference_below(x.into());
            let error = (f64::from(normal(x).below) - expected).abs() / expected;
            assert!(error < 5e-6, "{x}: {error}");
        }
    }
}
