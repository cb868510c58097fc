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
