//! The mask of a dropout: which elements are kept follows from their places and a few numbers. No
//! state goes from one element to the next, so any number of threads gives the same mask.
//!
//! The numbers are those of the function `DropoutMask`, to the bit.

use super::error::KernelError;
use super::parallel::{Parallel, for_each_part};

/// Elements of a task.
const BLOCK: usize = 16_384;

/// The prime that all is counted by.
pub const MODULUS: u64 = (1 << 31) - 1;

/// As in the function's body, which a test holds.
const ROUNDS: [u64; 3] = [0x1b87_3593, 0x4c95_7f2d, 0x2545_f491];

/// What a mask follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mask {
    pub seed: u64,
    /// Which dropout of the model.
    pub node: u64,
    /// How many masks were drawn before it.
    pub draw: u64,
    /// How many of [`MODULUS`] numbers are kept.
    pub threshold: u64,
    /// What an element that is kept is multiplied by.
    pub scale: f32,
}

/// `mask` becomes `scale` where an element is kept, else 0.
///
/// # Errors
/// The threshold is larger than the modulus.
pub fn mask(settings: Mask, mask: &mut [f32], parallel: &dyn Parallel) -> Result<(), KernelError> {
    let Mask { threshold, scale, .. } = settings;
    if threshold > MODULUS {
        let (setting, value) = ("threshold", threshold.to_string());
        let expected = "0 to 2147483647";
        return Err(KernelError::Setting { kernel: "dropout mask", setting, value, expected });
    }
    let [first, second] = keys(settings);
    for_each_part(parallel, mask.chunks_mut(BLOCK), |task, part| {
        let begin = (task * BLOCK) as u64;
        for (place, element) in (begin..).zip(part) {
            let number = permuted(permuted(place, first), second);
            *element = if number < threshold { scale } else { 0.0 };
        }
    });
    Ok(())
}

fn keys(settings: Mask) -> [u64; 2] {
    let key = permuted(settings.seed % MODULUS, ROUNDS[0]);
    let key = permuted(permuted(key, settings.node % MODULUS), settings.draw % MODULUS);
    let first = permuted(key, ROUNDS[1]);
    [first, permuted(first, ROUNDS[2])]
}

/// `-(x + key)⁵`.
fn permuted(x: u64, key: u64) -> u64 {
    let sum = reduced(x + key);
    let square = reduced(sum * (MODULUS - sum));
    reduced(reduced(square * (MODULUS - square)) * sum)
}

/// The rest of a number below 2⁶³: the upper bits count as often as the lower ones.
fn reduced(x: u64) -> u64 {
    let folded = (x & MODULUS) + (x >> 31);
    let folded = (folded & MODULUS) + (folded >> 31);
    if folded >= MODULUS { folded - MODULUS } else { folded }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::Sequential;
    use super::super::testing::assert_same_bits;
    use super::*;

    const COUNT: usize = 400_000;

    fn settings(ratio: f64) -> Mask {
        let threshold = ((1.0 - ratio) * MODULUS as f64).round() as u64;
        Mask { seed: 7, node: 0, draw: 1, threshold, scale: 1.0 }
    }

    fn drawn(settings: Mask) -> Vec<f32> {
        let mut made = vec![f32::NAN; COUNT];
        mask(settings, &mut made, &Sequential).unwrap();
        made
    }

    /// Of two masks that keep half: so many standard deviations from none.
    fn correlation<'m>(
        one: impl IntoIterator<Item = &'m f32>,
        other: impl IntoIterator<Item = &'m f32>,
    ) -> f64 {
        let products = one.into_iter().zip(other);
        let (mut sum, mut count) = (0.0, 0.0);
        for (one, other) in products {
            sum += f64::from((one - 0.5) * (other - 0.5)) * 4.0;
            count += 1.0;
        }
        sum / f64::sqrt(count)
    }

    #[test]
    fn as_many_are_kept_as_should_be() {
        for ratio in [0.0, 0.05, 0.1, 0.5, 0.9, 1.0] {
            for draw in 1..20 {
                let kept: f32 = drawn(Mask { draw, ..settings(ratio) }).iter().sum();
                let count = COUNT as f64;
                let expected = (1.0 - ratio) * count;
                let deviation = f64::sqrt(count * ratio * (1.0 - ratio));
                let off = (f64::from(kept) - expected).abs();
                assert!(off <= 4.5 * deviation + 0.5, "{ratio} draw {draw}: {kept}");
            }
        }
    }

    #[test]
    fn neighbours_rows_steps_nodes_and_seeds_have_nothing_to_do_with_each_other() {
        let half = settings(0.5);
        for draw in 1..6 {
            let one = drawn(Mask { draw, ..half });
            for lag in [1, 2, 3, 5, 16, 64, 100, 128, 384, 768, 1024, 4096] {
                let off = correlation(&one, &one[lag..]);
                assert!(off.abs() < 4.5, "{lag} apart: {off}");
            }
            let others = [
                Mask { draw: draw + 1, ..half },
                Mask { draw, node: 1, ..half },
                Mask { draw, seed: 8, ..half },
                Mask { draw: draw + 1, node: 1, ..half },
            ];
            for other in others {
                let off = correlation(&one, &drawn(other));
                assert!(off.abs() < 4.5, "{other:?}: {off}");
            }
        }
    }

    /// Seven in a row: a power of five alone would tell the last from the six before it.
    #[test]
    fn runs_of_neighbours_are_all_as_frequent() {
        let one = drawn(settings(0.5));
        let mut counts = [0.0f64; 128];
        for run in one.chunks_exact(7) {
            counts[run.iter().fold(0, |bits, kept| 2 * bits + usize::from(*kept > 0.5))] += 1.0;
        }
        let expected = (COUNT / 7) as f64 / 128.0;
        let squares: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // Chi squared of 127 degrees: 127 ± 16.
        assert!((65.0..200.0).contains(&squares), "{squares}");
    }

    #[test]
    fn any_number_of_threads_gives_the_same_mask() {
        assert_same_bits(|parallel| {
            let mut made = vec![f32::NAN; 100_000];
            mask(settings(0.1), &mut made, parallel).unwrap();
            vec![made]
        });
    }

    #[test]
    fn the_rest_is_that_of_a_division() {
        for x in [0, 1, MODULUS - 1, MODULUS, MODULUS + 1, 2 * MODULUS, (MODULUS - 1).pow(2)] {
            assert_eq!(reduced(x), x % MODULUS, "{x}");
        }
    }

    #[test]
    fn a_threshold_beyond_the_modulus_is_refused() {
        let wrong = Mask { threshold: MODULUS + 1, ..settings(0.5) };
        let error = mask(wrong, &mut [0.0], &Sequential).unwrap_err().to_string();
        assert_eq!(error, "dropout mask: threshold is 2147483648, expected 0 to 2147483647");
    }
}
