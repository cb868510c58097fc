//! How throughput grows with the batch, for each way to divide the cores, and what is chosen by
//! it. Pure: the numbers come from `measure`.
//!
//! A serving machine has neighbours, and one window of time says little by itself. So no decision
//! hangs on one number: divisions are compared at equal batch sizes, and a batch size is believed
//! only as far as its neighbours support it.

use super::measure::Throughput;

/// Share of the best throughput that is as good, given how precisely it can be measured.
const GOOD_ENOUGH: f64 = 0.97;
/// Largest common batch sizes at which two divisions are compared: what counts is what they do
/// when many requests wait.
const COMPARED: usize = 3;

/// Instances and threads of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub instances: usize,
    pub threads: usize,
}

/// What was measured of one division.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    pub division: Division,
    /// By rows per batch, ascending.
    pub points: Vec<(usize, Throughput)>,
}

/// The median, of two the lower.
pub(super) fn median(mut measured: Vec<Throughput>) -> Option<Throughput> {
    measured.sort_unstable_by(|one, other| one.rows_per_second.total_cmp(&other.rows_per_second));
    measured.get(measured.len().checked_sub(1)? / 2).copied()
}

/// The division with the highest throughput: a request waits longest when many wait. Of its batch
/// sizes that come within [`GOOD_ENOUGH`] of the best, the smallest: what it gives away in
/// throughput it gains many times in latency. `None` where nothing was measured.
pub(super) fn choose(curves: &[Curve]) -> Option<(Division, usize)> {
    let mut measured = curves.iter().filter(|curve| !curve.points.is_empty());
    let first = measured.next()?;
    let best = measured.fold(first, |best, curve| if curve.beats(best) { curve } else { best });
    Some((best.division, best.batch_size()?))
}

impl Curve {
    fn beats(&self, other: &Curve) -> bool {
        let mut ratios: Vec<f64> = self
            .points
            .iter()
            .filter_map(|(rows, own)| {
                let (_, its) = other.points.iter().find(|(its_rows, _)| its_rows == rows)?;
                Some(own.rows_per_second / its.rows_per_second)
            })
            .collect();
        let mut compared = ratios.split_off(ratios.len().saturating_sub(COMPARED));
        compared.sort_unstable_by(f64::total_cmp);
        compared.get(compared.len().saturating_sub(1) / 2).is_some_and(|&ratio| ratio > 1.0)
    }

    fn batch_size(&self) -> Option<usize> {
        let believed: Vec<f64> = (0..self.points.len()).map(|place| self.believed(place)).collect();
        let best = believed.iter().copied().fold(0.0, f64::max);
        let place = believed.iter().position(|rate| *rate >= best * GOOD_ENOUGH)?;
        Some(self.points[place].0)
    }

    /// The throughput at one batch size, no higher than its neighbours make likely.
    fn believed(&self, place: usize) -> f64 {
        let rate = |place: usize| self.points.get(place).map(|(_, point)| point.rows_per_second);
        let own = rate(place).expect("the place is one of the points'");
        let before = place.checked_sub(1).and_then(rate);
        match (before, rate(place + 1)) {
            (Some(before), Some(after)) => own.clamp(before.min(after), before.max(after)),
            // Smaller batches do not give more, unless nothing is gained by batching at all.
            (None, Some(after)) => own.min(after),
            (_, None) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Curves of 1, 2, 4… rows per batch; the first has two instances, the second one.
    fn check(rates: &[&[f64]], expected: Option<(usize, usize)>) {
        let curves: Vec<Curve> = rates
            .iter()
            .enumerate()
            .map(|(index, rates)| Curve {
                division: Division { instances: 2 - index, threads: 1 + index },
                points: rates
                    .iter()
                    .enumerate()
                    .map(|(power, &rows_per_second)| {
                        (1 << power, Throughput { rows_per_second, run: Duration::ZERO })
                    })
                    .collect(),
            })
            .collect();
        let chosen = choose(&curves).map(|(division, rows)| (division.instances, rows));
        assert_eq!(chosen, expected, "{rates:?}");
    }

    #[test]
    fn the_best_throughput_wins_with_the_smallest_batch_that_reaches_it() {
        // An encoder on two cores.
        let two = [132.0, 149.0, 171.0, 199.0, 200.0];
        let one = [95.0, 101.0, 109.0, 148.0, 157.0];
        check(&[&two, &one], Some((2, 8)));
        check(&[&one, &two], Some((1, 8)));
        check(&[&two], Some((2, 8)));
        // Nothing gained by batching.
        check(&[&[50.0, 50.0, 49.0], &[40.0, 41.0, 40.0]], Some((2, 1)));
        // Lost by batching.
        check(&[&[50.0, 40.0, 30.0], &[45.0, 38.0, 29.0]], Some((2, 1)));
        // What was not measured does not win, nor nothing at all.
        check(&[&[], &[10.0]], Some((1, 1)));
        check(&[], None);
    }

    #[test]
    fn one_disturbed_number_decides_nothing() {
        check(&[&[46.0, 50.0, 41.0], &[38.0, 119.0, 35.0]], Some((2, 1)));
        check(&[&[55.0, 65.0, 74.0, 75.0], &[38.0, 97.0, 55.0, 63.0]], Some((2, 4)));
        check(&[&[250.0, 149.0, 171.0, 199.0, 200.0]], Some((2, 8)));
        check(&[&[132.0, 149.0, 300.0, 199.0, 200.0]], Some((2, 4)));
    }

    #[test]
    fn a_median_is_never_the_better_of_two() {
        let measured = |rates: &[f64]| {
            let measured = rates
                .iter()
                .map(|&rows_per_second| Throughput { rows_per_second, run: Duration::ZERO });
            median(measured.collect()).map(|median| median.rows_per_second)
        };
        assert_eq!(measured(&[]), None);
        assert_eq!(measured(&[3.0]), Some(3.0));
        assert_eq!(measured(&[3.0, 1.0]), Some(1.0));
        assert_eq!(measured(&[3.0, 1.0, 2.0]), Some(2.0));
    }
}
