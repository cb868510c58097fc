//! How a client takes what is written to it: at once, with pauses, or hardly at all.
//!
//! A response that is not taken keeps memory, and what it came from: perhaps all that is left of a
//! model that was unloaded. One byte now and then is no reason to keep it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A client that cannot take all that is there for it at once must take at least this much of it
/// in a second, as an average over the idle timeout. 64 kbit/s: slower than any link that models
/// are served over, and 64 MiB have left this machine within three hours.
pub const LEAST_TAKEN_PER_SECOND: u64 = 8 * 1024;

/// What the socket of one connection took. Writes only count; the thread's looks measure.
#[derive(Default)]
pub struct Taking {
    /// Since when the client takes no bytes.
    blocked_since: Cell<Option<Instant>>,
    /// Bytes that went, from the connection's beginning.
    gone: Cell<u64>,
    /// Set by looks alone.
    owing: Cell<Option<Owing>>,
}

/// A time in which no look found everything written.
#[derive(Clone, Copy)]
struct Owing {
    since: Instant,
    /// What had gone by then.
    gone: u64,
}

impl Taking {
    pub fn went(&self, count: usize) {
        self.blocked_since.set(None);
        self.gone.set(self.gone.get() + count as u64);
    }

    pub fn blocked(&self, now: impl FnOnce() -> Instant) {
        if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(now()));
        }
    }

    /// Whether nothing was taken for as long as `idle`, or over that time less than must be.
    ///
    /// Measured piece by piece rather than from the beginning: who took much at first has no right
    /// to stop later.
    pub fn lags(&self, now: Instant, idle: Duration) -> bool {
        // Whoever writes goes on until the socket takes no more, so all of it has gone.
        let Some(blocked_since) = self.blocked_since.get() else {
            self.owing.set(None);
            return false;
        };
        let gone = self.gone.get();
        let owing = self.owing.get().unwrap_or(Owing { since: blocked_since, gone });
        if now.saturating_duration_since(owing.since) <= idle {
            self.owing.set(Some(owing));
            return now.saturating_duration_since(blocked_since) > idle;
        }
        self.owing.set(Some(Owing { since: now, gone }));
        gone - owing.gone < least_taken(idle)
    }
}

/// Bytes that must be taken within so long.
fn least_taken(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    LEAST_TAKEN_PER_SECOND.saturating_mul(millis) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    /// What must be taken in that time.
    const LEAST: usize = 600 * 1024;

    /// The second at which a client is found to lag of whose bytes `went` go in each second, for
    /// half an hour; `None` is a second in which there was nothing left to write.
    fn first_lag(went: impl Fn(u64) -> Option<usize>) -> Option<u64> {
        let (taking, start) = (Taking::default(), Instant::now());
        (0..1800).find(|&second| {
            let now = start + Duration::from_secs(second);
            match went(second) {
                None => taking.went(1),
                Some(0) => taking.blocked(|| now),
                Some(count) => {
                    taking.went(count);
                    taking.blocked(|| now);
                }
            }
            taking.lags(now, IDLE)
        })
    }

    fn every_70_seconds(count: usize) -> impl Fn(u64) -> Option<usize> {
        move |second| Some(if second.is_multiple_of(70) { count } else { 0 })
    }

    #[test]
    fn who_takes_nothing_lags_after_the_idle_time() {
        assert_eq!(least_taken(IDLE), LEAST as u64);
        assert_eq!(first_lag(|_| Some(0)), Some(76));
    }

    #[test]
    fn who_takes_a_byte_now_and_then_lags_as_well() {
        assert_eq!(first_lag(every_70_seconds(1)), Some(76));
        assert_eq!(first_lag(every_70_seconds(LEAST - 1)), Some(76));
        assert_eq!(first_lag(every_70_seconds(LEAST)), None);
    }

    #[test]
    fn who_takes_steadily_may_take_as_long_as_it_likes() {
        assert_eq!(first_lag(|_| Some(8 * 1024)), None);
        assert_eq!(first_lag(|_| Some(7 * 1024)), Some(76));
    }

    #[test]
    fn having_taken_much_is_no_right_to_stop() {
        let much_at_first = |second| Some(if second == 1 { 1 << 40 } else { 1 });
        assert_eq!(first_lag(much_at_first), Some(152));
        let all_at_once = |second| Some(if second == 1 { 1 << 40 } else { 0 });
        assert_eq!(first_lag(all_at_once), Some(77));
    }

    #[test]
    fn who_has_taken_everything_begins_anew() {
        assert_eq!(first_lag(|second| (second % 70 != 69).then_some(1)), None);
    }
}
