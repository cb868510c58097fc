//! What a measurement came to.

use std::time::Duration;

/// Tenths of a microsecond: fine enough for the shortest run, and four bytes last for minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latency(u32);

impl Latency {
    pub fn of(duration: Duration) -> Latency {
        Latency(u32::try_from(duration.as_nanos() / 100).unwrap_or(u32::MAX))
    }

    fn microseconds(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

/// Middle and tail of latencies, in microseconds; not a number where there were none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median_us: f64,
    pub p99_us: f64,
}

impl Spread {
    pub fn of(mut latencies: Vec<Latency>) -> Spread {
        latencies.sort_unstable();
        let at = |share: f64| match latencies.len() {
            0 => f64::NAN,
            count => latencies[((count - 1) as f64 * share) as usize].microseconds(),
        };
        Spread { median_us: at(0.5), p99_us: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_tail_are_those_of_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(|us| Latency::of(Duration::from_micros(us)));
        let spread = Spread::of(latencies.collect());
        assert_eq!(spread, Spread { median_us: 50.0, p99_us: 99.0 });
        let one = Spread::of(vec![Latency::of(Duration::from_nanos(250))]);
        assert_eq!(one, Spread { median_us: 0.2, p99_us: 0.2 });
        assert!(Spread::of(Vec::new()).median_us.is_nan());
        assert_eq!(Latency::of(Duration::MAX), Latency(u32::MAX));
    }
}
