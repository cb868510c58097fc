//! When a batch runs, and which: a pure function of what waits and of the time.
//!
//! It never holds an idle instance back unless a queue delay was configured; then a batch waits
//! for company until it is full, reaches a preferred size, or its oldest request has waited long
//! enough.

use std::time::{Duration, Instant};

/// What the policy knows of one group of entries that may share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupSnapshot {
    /// The queue's number for the group.
    pub group: usize,
    /// Rows that wait, counted at least as far as a batch can hold.
    pub rows: usize,
    /// When the group's head arrived.
    pub oldest: Instant,
    /// The first deadline among the entries counted.
    pub first_deadline: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Take up to `rows` rows of `group` and run them.
    Run { group: usize, rows: usize },
    /// Nothing is due before then.
    WaitUntil(Instant),
    /// Nothing waits.
    Idle,
}

/// The settings that decisions follow.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// Rows per batch at most; 1 where requests are not batched.
    pub max_rows: usize,
    pub max_delay: Duration,
    /// Ascending.
    pub preferred: Vec<usize>,
}

impl Policy {
    /// How far rows must be counted for a decision.
    pub fn count_to(&self) -> usize {
        if self.max_delay.is_zero() { 1 } else { self.max_rows }
    }

    /// Decides over the groups, given in the order of their turn. `draining` ends all waiting for
    /// company: nobody will come.
    pub fn decide(&self, groups: &[GroupSnapshot], now: Instant, draining: bool) -> Decision {
        let mut next_due: Option<Instant> = None;
        for snapshot in groups {
            match self.due(snapshot, draining) {
                Due::Now { rows } => return Decision::Run { group: snapshot.group, rows },
                Due::At(due) if due <= now => {
                    return Decision::Run { group: snapshot.group, rows: self.max_rows };
                }
                Due::At(due) => next_due = Some(next_due.map_or(due, |next| next.min(due))),
            }
        }
        next_due.map_or(Decision::Idle, Decision::WaitUntil)
    }

    fn due(&self, snapshot: &GroupSnapshot, draining: bool) -> Due {
        if draining || self.max_delay.is_zero() || snapshot.rows >= self.max_rows {
            return Due::Now { rows: self.max_rows };
        }
        if let Some(&size) = self.preferred.iter().rev().find(|&&size| size <= snapshot.rows) {
            return Due::Now { rows: size };
        }
        let patience = snapshot.oldest + self.max_delay;
        match snapshot.first_deadline {
            // Waiting for company must not cost a request its deadline.
            Some(deadline) if deadline <= patience => Due::Now { rows: self.max_rows },
            _ => Due::At(patience),
        }
    }
}

enum Due {
    Now { rows: usize },
    At(Instant),
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(10);

    /// Groups of rows, age in ms, and ms until the first deadline.
    fn check(
        policy: (usize, Duration, &[usize]),
        groups: &[(usize, u64, Option<u64>)],
        draining: bool,
        expected: impl Fn(Instant) -> Decision,
    ) {
        let now = Instant::now() + Duration::from_secs(60);
        let ms = Duration::from_millis;
        let snapshots: Vec<GroupSnapshot> = groups
            .iter()
            .enumerate()
            .map(|(group, &(rows, age, left))| GroupSnapshot {
                group,
                rows,
                oldest: now - ms(age),
                first_deadline: left.map(|left| now + ms(left)),
            })
            .collect();
        let (max_rows, max_delay, preferred) = policy;
        let policy = Policy { max_rows, max_delay, preferred: preferred.to_vec() };
        assert_eq!(policy.decide(&snapshots, now, draining), expected(now), "{groups:?}");
    }

    #[test]
    fn an_idle_instance_never_waits_without_a_configured_delay() {
        let eager = (8, Duration::ZERO, &[4][..]);
        check(eager, &[], false, |_| Decision::Idle);
        check(eager, &[(1, 0, None)], false, |_| Decision::Run { group: 0, rows: 8 });
        check(eager, &[(3, 5, None), (9, 9, None)], false, |_| Decision::Run { group: 0, rows: 8 });
    }

    #[test]
    fn a_delayed_batch_runs_when_full_preferred_old_or_pressed() {
        let patient = (8, DELAY, &[][..]);
        let in_ms = |ms| move |now: Instant| Decision::WaitUntil(now + Duration::from_millis(ms));
        let run = |group| move |_| Decision::Run { group, rows: 8 };
        check(patient, &[(1, 4, None)], false, in_ms(6));
        check(patient, &[(8, 4, None)], false, run(0));
        check(patient, &[(1, 10, None)], false, run(0));
        check(patient, &[(usize::MAX, 0, None)], false, run(0));
        // A deadline that waiting would cost.
        check(patient, &[(1, 4, Some(6))], false, run(0));
        check(patient, &[(1, 4, Some(7))], false, in_ms(6));
        // Nobody else will come.
        check(patient, &[(1, 4, None)], true, run(0));
        // A group that is due does not wait for one that is not; the next to be due sets the time.
        check(patient, &[(1, 4, None), (8, 1, None)], false, run(1));
        check(patient, &[(1, 4, None), (1, 7, None)], false, in_ms(3));
    }

    #[test]
    fn a_delayed_batch_does_not_wait_beyond_a_preferred_size() {
        let preferring = (8, DELAY, &[2, 4][..]);
        check(preferring, &[(1, 0, None)], false, |now| Decision::WaitUntil(now + DELAY));
        check(preferring, &[(3, 0, None)], false, |_| Decision::Run { group: 0, rows: 2 });
        check(preferring, &[(5, 0, None)], false, |_| Decision::Run { group: 0, rows: 4 });
        check(preferring, &[(8, 0, None)], false, |_| Decision::Run { group: 0, rows: 8 });
    }
}
