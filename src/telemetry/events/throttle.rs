//! Lets one log line through per interval and counts the rest: a model that fails every request
//! must not fill the disk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One line a second is enough to see that something is wrong and what.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Throttle {
    /// What the times below count from.
    epoch: Instant,
    /// Milliseconds after `epoch` from which the next line may pass.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    pub(super) fn new() -> Throttle {
        Throttle { epoch: Instant::now(), next_ms: AtomicU64::new(0), suppressed: 0.into() }
    }

    /// Whether a line may be written now: if so, how many were held back since the last.
    pub(super) fn admit(&self) -> Option<u64> {
        self.admit_after(self.epoch.elapsed())
    }

    fn admit_after(&self, elapsed: Duration) -> Option<u64> {
        let now_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let next_ms = self.next_ms.load(Relaxed);
        let following = now_ms.saturating_add(INTERVAL.as_millis() as u64);
        // Of several threads that find the interval over, the exchange lets one through.
        let won = now_ms >= next_ms
            && self.next_ms.compare_exchange(next_ms, following, Relaxed, Relaxed).is_ok();
        if won {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_per_interval_and_says_how_many_did_not() {
        let throttle = Throttle::new();
        assert_eq!(throttle.admit_after(Duration::ZERO), Some(0));
        assert_eq!(throttle.admit_after(Duration::from_millis(1)), None);
        assert_eq!(throttle.admit_after(Duration::from_millis(999)), None);
        assert_eq!(throttle.admit_after(Duration::from_secs(1)), Some(2));
        assert_eq!(throttle.admit_after(Duration::from_secs(9)), Some(0));
    }
}
