//! Mean and spread of many values, without what one pass over them would lose.

use super::sums::Sums;

/// What values amount to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    /// The sum of the squared distances from the mean.
    pub(crate) squares: f64,
}

impl Moments {
    /// Two passes, the second around the mean of the first: squares of a large mean would swallow
    /// a small deviation. `pieces` should fit the nearest cache; what does not is measured in runs
    /// and merged.
    #[inline(always)]
    pub(crate) fn of<'a>(pieces: impl Iterator<Item = &'a [f32]> + Clone) -> Moments {
        let count = pieces.clone().map(<[f32]>::len).sum::<usize>() as f64;
        let mut sum = Sums::new();
        pieces.clone().for_each(|piece| sum.add(piece, |x| [x]));
        let [sum] = sum.totals();
        let near = (sum / count) as f32;
        let mut distances = Sums::new();
        pieces.for_each(|piece| {
            distances.add(piece, |x| [x - near, (x - near) * (x - near)]);
        });
        let [rest, squares] = distances.totals();
        Moments::around(near, count, rest, squares)
    }

    /// From sums around a place near the mean: those of the distances and of their squares.
    #[inline(always)]
    pub(crate) fn around(near: f32, count: f64, rest: f64, squares: f64) -> Moments {
        let shift = rest / count;
        let squares = (squares - rest * shift).max(0.0);
        Moments { count, mean: f64::from(near) + shift, squares }
    }

    /// The moments of both parts' values together.
    #[inline(always)]
    pub(crate) fn merged(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        let part = other.count / count;
        Moments {
            count,
            mean: self.mean + apart * part,
            squares: self.squares + other.squares + apart * apart * self.count * part,
        }
    }

    /// What `mean`, rounded to 32 bits, lost.
    #[inline(always)]
    pub(crate) fn rounded_off(self) -> f64 {
        self.mean - f64::from(self.mean as f32)
    }

    /// One over the standard deviation.
    #[inline(always)]
    pub(crate) fn inv_std(self, epsilon: f32) -> f64 {
        1.0 / (self.squares / self.count + f64::from(epsilon)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::values;
    use super::*;

    #[test]
    fn moments_agree_with_64_bits_in_one_piece_and_merged() {
        for (count, offset) in [(1, 0.0), (7, 100.0), (5000, 3.0), (70_001, -10_000.0)] {
            let values: Vec<f32> = values(count, 3).iter().map(|value| value + offset).collect();
            let exact = |of: &dyn Fn(f64) -> f64| -> f64 {
                values.iter().map(|value| of(f64::from(*value))).sum()
            };
            let mean = exact(&|value| value) / count as f64;
            let squares = exact(&|value| (value - mean).powi(2));
            let whole = Moments::of(std::iter::once(values.as_slice()));
            let merged = values
                .chunks(1000)
                .map(|chunk| Moments::of(chunk.chunks(99)))
                .fold(Moments::default(), Moments::merged);
            for moments in [whole, merged] {
                assert_eq!(moments.count, count as f64);
                assert!((moments.mean - mean).abs() < 1e-6, "{moments:?} {mean}");
                assert!((moments.squares - squares).abs() <= 1e-6 * squares, "{moments:?}");
            }
        }
    }
}
