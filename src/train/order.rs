//! Which samples a step takes. Pure: a step number and a seed say all, so that a resumed run goes
//! on exactly where it stopped.
//!
//! Samples come in one endless stream, epoch after epoch, each in an order of its own; a step takes
//! the next ones. No sample is left out because an epoch does not divide into batches.

use crate::data::shuffle;

/// The stream of samples.
#[derive(Clone, Debug)]
pub struct Order {
    rows: Vec<usize>,
    batch_size: usize,
    /// `None` keeps the given order.
    seed: Option<u64>,
    /// The order of one epoch, made when it is first asked for.
    current: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// # Panics
    /// There are no rows, or batches of none.
    pub fn new(rows: Vec<usize>, batch_size: usize, seed: Option<u64>) -> Order {
        assert!(!rows.is_empty() && batch_size > 0, "the caller has refused empty training data");
        Order { rows, batch_size, seed, current: None }
    }

    /// Steps in that many epochs; the last one begins the next epoch where it must.
    pub fn steps(&self, epochs: u64) -> u64 {
        (epochs * self.rows.len() as u64).div_ceil(self.batch_size as u64)
    }

    /// Epochs that are complete after a step; steps count from 1.
    pub fn epochs_after(&self, step: u64) -> u64 {
        step * self.batch_size as u64 / self.rows.len() as u64
    }

    /// The samples of a step.
    pub fn batch(&mut self, step: u64) -> Vec<usize> {
        let first = (step - 1) * self.batch_size as u64;
        (first..first + self.batch_size as u64).map(|place| self.at(place)).collect()
    }

    fn at(&mut self, place: u64) -> usize {
        let count = self.rows.len() as u64;
        let (epoch, index) = (place / count, (place % count) as usize);
        let Some(seed) = self.seed else { return self.rows[index] };
        if self.current.as_ref().is_none_or(|(current, _)| *current != epoch) {
            self.current = Some((epoch, shuffled(&self.rows, seed, epoch)));
        }
        self.current.as_ref().map_or(self.rows[index], |(_, order)| order[index])
    }
}

/// The order of one epoch.
fn shuffled(rows: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, seed ^ epoch.wrapping_mul(0xd134_2543_de82_ef95));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(order: &mut Order, steps: u64) -> Vec<usize> {
        (1..=steps).flat_map(|step| order.batch(step)).collect()
    }

    #[test]
    fn every_epoch_has_every_sample_once_in_an_order_of_its_own() {
        let mut order = Order::new((10..20).collect(), 4, Some(7));
        let rows = stream(&mut order, 5);
        let (first, second) = rows.split_at(10);
        assert_ne!(first, second);
        for epoch in [first, second] {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (10..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_step_does_not_depend_on_those_before_it() {
        let mut order = Order::new((0..7).collect(), 3, Some(1));
        let all = stream(&mut order, 9);
        let mut fresh = Order::new((0..7).collect(), 3, Some(1));
        assert_eq!(fresh.batch(8), all[21..24]);
        let other = stream(&mut Order::new((0..7).collect(), 3, Some(2)), 9);
        assert_ne!(other, all);
    }

    #[test]
    fn epochs_end_where_their_last_sample_was_taken() {
        let order = Order::new((0..10).collect(), 4, None);
        assert_eq!((order.steps(1), order.steps(2)), (3, 5));
        let after: Vec<u64> = (1..=5).map(|step| order.epochs_after(step)).collect();
        assert_eq!(after, [0, 0, 1, 1, 2]);
    }

    #[test]
    fn without_a_seed_samples_come_as_they_are() {
        let mut order = Order::new(vec![3, 1, 2], 2, None);
        assert_eq!(stream(&mut order, 3), [3, 1, 2, 3, 1, 2]);
    }
}
