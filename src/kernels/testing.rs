//! What the kernels' tests share: values from a seed, comparisons, threads.

use super::parallel::{Parallel, ScopedThreads, Sequential};

/// Values between -2 and 2 that follow from `seed`.
pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 * 4.0 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// Holds that every value is within `tolerance` of its reference, in units of 1 + |reference|.
#[track_caller]
pub(crate) fn assert_near(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*actual) - expected).abs() / (1.0 + expected.abs());
        assert!(error <= tolerance, "{what}[{index}]: {actual}, expected {expected} ({error:e})");
    }
}

/// Holds that `compute` gives the same bits on one, two and three threads, and again.
#[track_caller]
pub(crate) fn assert_same_bits(compute: impl Fn(&dyn Parallel) -> Vec<Vec<f32>>) {
    let bits = |parallel: &dyn Parallel| -> Vec<Vec<u32>> {
        let outputs = compute(parallel);
        outputs.iter().map(|output| output.iter().map(|value| value.to_bits()).collect()).collect()
    };
    let first = bits(&Sequential);
    for count in [1, 2, 3, 3] {
        assert_eq!(bits(&ScopedThreads { count }), first, "on {count} threads");
    }
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}
