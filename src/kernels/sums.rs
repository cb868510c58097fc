//! Sums of many 32-bit terms, in one fixed order and nearly without rounding.
//!
//! Terms are added in 32-bit lanes, which is fast, but never more than [`RUN`] of them before the
//! lanes go into 64-bit totals: so a sum over a million values is as good as one over a thousand.
//! One accumulator in 32 bits drifts with its length; 64 bits throughout takes twice as long.
//!
//! The order follows from lengths alone, never from threads or the processor.

use super::vector::LANES;

/// Lanes of each of [`Sums`]: enough additions in flight to hide their latency.
const WIDTH: usize = 4 * LANES;

/// Terms between two foldings into 64 bits.
const RUN: usize = 128 * WIDTH;

/// Rows between two foldings of [`ColumnSums`] into 64 bits.
const ROW_RUN: usize = 32;

/// `N` sums over the same values, of one slice or of several that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Sums<const N: usize> {
    lanes: [[f32; WIDTH]; N],
    pending: usize,
    totals: [[f64; LANES]; N],
}

impl<const N: usize> Sums<N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Sums { lanes: [[0.0; WIDTH]; N], pending: 0, totals: [[0.0; LANES]; N] }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, values: &[f32], terms: impl Fn(f32) -> [f32; N]) {
        self.add3(values, values, values, |value, _, _| terms(value));
    }

    #[inline(always)]
    pub(crate) fn add2(&mut self, a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f32; N]) {
        self.add3(a, b, b, |a, b, _| terms(a, b));
    }

    /// Adds the terms of every triple; slices of unlike lengths end with the shortest. The
    /// compiler loads a slice that is given twice only once.
    #[inline(always)]
    pub(crate) fn add3(
        &mut self,
        a: &[f32],
        b: &[f32],
        c: &[f32],
        terms: impl Fn(f32, f32, f32) -> [f32; N],
    ) {
        for ((a, b), c) in a.chunks(RUN).zip(b.chunks(RUN)).zip(c.chunks(RUN)) {
            if self.pending + a.len() > RUN {
                self.fold();
            }
            self.pending += a.len();
            let mut lanes = self.lanes;
            let (a, a_rest) = a.as_chunks::<WIDTH>();
            let (b, b_rest) = b.as_chunks::<WIDTH>();
            let (c, c_rest) = c.as_chunks::<WIDTH>();
            for ((a, b), c) in a.iter().zip(b).zip(c) {
                for lane in 0..WIDTH {
                    add_to(&mut lanes, lane, terms(a[lane], b[lane], c[lane]));
                }
            }
            for (lane, ((a, b), c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
                add_to(&mut lanes, lane, terms(*a, *b, *c));
            }
            self.lanes = lanes;
        }
    }

    #[inline(always)]
    fn fold(&mut self) {
        for (lanes, totals) in self.lanes.iter_mut().zip(&mut self.totals) {
            for (lane, total) in totals.iter_mut().enumerate() {
                let low = lanes[lane] + lanes[LANES + lane];
                let high = lanes[2 * LANES + lane] + lanes[3 * LANES + lane];
                *total += f64::from(low + high);
            }
            *lanes = [0.0; WIDTH];
        }
        self.pending = 0;
    }

    #[inline(always)]
    pub(crate) fn totals(mut self) -> [f64; N] {
        self.fold();
        self.totals.map(|totals| totals.iter().sum())
    }
}

#[inline(always)]
fn add_to<const N: usize>(lanes: &mut [[f32; WIDTH]; N], lane: usize, terms: [f32; N]) {
    lanes.iter_mut().zip(terms).for_each(|(lanes, term)| lanes[lane] += term);
}

/// The sums of up to `N` columns, row by row.
#[derive(Clone, Copy)]
pub(crate) struct ColumnSums<const N: usize> {
    partial: [f32; N],
    pending: usize,
    totals: [f64; N],
}

impl<const N: usize> ColumnSums<N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        ColumnSums { partial: [0.0; N], pending: 0, totals: [0.0; N] }
    }

    /// Adds a row: `term` of each triple to its column.
    #[inline(always)]
    pub(crate) fn add3(
        &mut self,
        a: &[f32],
        b: &[f32],
        c: &[f32],
        term: impl Fn(f32, f32, f32) -> f32,
    ) {
        if self.pending == ROW_RUN {
            self.fold();
        }
        self.pending += 1;
        for (((sum, a), b), c) in self.partial.iter_mut().zip(a).zip(b).zip(c) {
            *sum += term(*a, *b, *c);
        }
    }

    #[inline(always)]
    fn fold(&mut self) {
        for (total, partial) in self.totals.iter_mut().zip(&mut self.partial) {
            *total += f64::from(*partial);
            *partial = 0.0;
        }
        self.pending = 0;
    }

    #[inline(always)]
    pub(crate) fn totals(mut self) -> [f64; N] {
        self.fold();
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::values;
    use super::*;

    #[test]
    fn a_long_sum_is_as_good_as_one_in_64_bits() {
        for length in [0, 1, 7, 31, 32, 33, 1023, 1025, 1_000_003] {
            let values: Vec<f32> = values(length, 7).iter().map(|value| value + 3.0).collect();
            let expected: f64 = values.iter().map(|value| f64::from(*value)).sum();
            let mut sum = Sums::<1>::new();
            sum.add(&values, |value| [value]);
            assert!((sum.totals()[0] - expected).abs() <= 1e-7 * expected, "{length}");
        }
    }

    #[test]
    fn slices_add_up_as_if_they_were_one() {
        let values = values(5000, 3);
        let expected: f64 = values.iter().map(|value| f64::from(*value)).sum();
        let mut sum = Sums::<1>::new();
        for piece in values.chunks(37) {
            sum.add(piece, |value| [value]);
        }
        assert!((sum.totals()[0] - expected).abs() < 1e-4);
    }

    #[test]
    fn columns_add_up_apart() {
        let values = values(1001 * 5, 11);
        let mut sums = ColumnSums::<8>::new();
        for row in values.chunks(5) {
            sums.add3(row, row, row, |a, _, _| a);
        }
        for (column, total) in sums.totals()[..5].iter().enumerate() {
            let expected: f64 = values.iter().skip(column).step_by(5).map(|v| f64::from(*v)).sum();
            assert!((total - expected).abs() < 1e-4, "{column}");
        }
    }
}
