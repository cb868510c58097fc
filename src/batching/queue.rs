//! Who waits, in which order, beside whom: a bounded queue of groups.
//!
//! A group holds entries that may share a batch (same priority level, same key), first come,
//! first served. Pure: time is an argument, and what an entry carries is the caller's business.
//! When a batch runs, and of how many rows, is `policy`'s decision.

use std::collections::VecDeque;
use std::time::Instant;

use smallvec::SmallVec;

use super::policy::GroupSnapshot;

/// Rows of an entry that shares a batch with nobody.
pub(super) const ALONE: usize = usize::MAX;

/// Emptied groups leave their memory to the next: a queue that drains with every batch would
/// otherwise allocate with every batch.
const SPARE_GROUPS: usize = 8;

/// One entry.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    ticket: u64,
    /// Rows it brings, or [`ALONE`].
    pub rows: usize,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub item: T,
}

impl<T> Waiting<T> {
    pub fn new(rows: usize, arrived: Instant, deadline: Option<Instant>, item: T) -> Waiting<T> {
        Waiting { ticket: 0, rows, arrived, deadline, item }
    }

    pub fn expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// What the entry takes of a batch's limit: one without rows still costs a place, or a batch
    /// of them would have no end.
    fn cost(&self) -> usize {
        self.rows.max(1)
    }
}

/// What `take` brings out.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// To be run together, in their order.
    pub batch: Vec<Waiting<T>>,
    /// To be told that their deadline passed.
    pub expired: Vec<Waiting<T>>,
}

struct Group<K, T> {
    level: u32,
    key: K,
    /// Never empty between calls; tickets ascend.
    waiting: VecDeque<Waiting<T>>,
}

impl<K, T> Group<K, T> {
    /// Most urgent first, then who waits longest.
    fn rank(&self) -> (u32, u64) {
        (self.level, self.waiting.front().map_or(u64::MAX, |head| head.ticket))
    }
}

/// The queue.
pub(super) struct Queue<K, T> {
    groups: Vec<Group<K, T>>,
    spare: Vec<VecDeque<Waiting<T>>>,
    length: usize,
    limit: usize,
    next_ticket: u64,
}

impl<K: PartialEq, T> Queue<K, T> {
    /// An empty queue in which at most `limit` entries wait.
    pub fn new(limit: usize) -> Queue<K, T> {
        Queue { groups: Vec::new(), spare: Vec::new(), length: 0, limit, next_ticket: 0 }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes an entry in and returns the ticket that [`Queue::remove`] knows it by, or gives the
    /// entry back where the queue is full.
    pub fn push(&mut self, level: u32, key: K, mut entry: Waiting<T>) -> Result<u64, Waiting<T>> {
        if self.length >= self.limit {
            return Err(entry);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.length += 1;
        entry.ticket = ticket;
        match self.groups.iter_mut().find(|group| group.level == level && group.key == key) {
            Some(group) => group.waiting.push_back(entry),
            None => {
                let mut waiting = self.spare.pop().unwrap_or_default();
                waiting.push_back(entry);
                self.groups.push(Group { level, key, waiting });
            }
        }
        Ok(ticket)
    }

    /// Takes one entry out before its turn; `None` where it is no longer here.
    pub fn remove(&mut self, ticket: u64) -> Option<Waiting<T>> {
        for index in 0..self.groups.len() {
            let waiting = &mut self.groups[index].waiting;
            if let Ok(place) = waiting.binary_search_by_key(&ticket, |entry| entry.ticket) {
                let entry = waiting.remove(place);
                self.length -= 1;
                self.retire_if_empty(index);
                return entry;
            }
        }
        None
    }

    /// Takes out every entry whose deadline has passed or of which nobody wants the answer: called
    /// before a full queue refuses somebody. The expired ones are to be told.
    pub fn purge(&mut self, now: Instant, abandoned: impl Fn(&T) -> bool) -> Vec<Waiting<T>> {
        let mut expired = Vec::new();
        for index in (0..self.groups.len()).rev() {
            let waiting = &mut self.groups[index].waiting;
            let before = waiting.len();
            for _ in 0..before {
                let entry = waiting.pop_front().expect("the loop counts the entries");
                if abandoned(&entry.item) {
                    continue;
                }
                if entry.expired(now) {
                    expired.push(entry);
                } else {
                    waiting.push_back(entry);
                }
            }
            self.length -= before - waiting.len();
            self.retire_if_empty(index);
        }
        expired
    }

    /// The groups in the order of their turn. Rows are counted up to `count_to` only: the policy
    /// asks whether there is enough, not how much too much.
    pub fn snapshots(&self, count_to: usize) -> SmallVec<[GroupSnapshot; 8]> {
        let mut order: SmallVec<[usize; 8]> = (0..self.groups.len()).collect();
        if order.len() > 1 {
            order.sort_unstable_by_key(|&index| self.groups[index].rank());
        }
        order.into_iter().map(|index| self.snapshot(index, count_to)).collect()
    }

    fn snapshot(&self, index: usize, count_to: usize) -> GroupSnapshot {
        let waiting = &self.groups[index].waiting;
        let head = waiting.front().expect("a group in the queue is not empty");
        let mut snapshot =
            GroupSnapshot { group: index, rows: 0, oldest: head.arrived, first_deadline: None };
        for entry in waiting {
            snapshot.rows = snapshot.rows.saturating_add(entry.cost());
            snapshot.first_deadline = match (snapshot.first_deadline, entry.deadline) {
                (Some(first), Some(own)) => Some(first.min(own)),
                (first, own) => first.or(own),
            };
            if snapshot.rows >= count_to {
                break;
            }
        }
        snapshot
    }

    /// Takes a batch of at most `rows` rows out of `group` (as [`Queue::snapshots`] numbered it),
    /// filled up with less urgent entries of the same key. The first entry comes whole, however
    /// many rows it has. Nothing overtakes: the first that does not fit ends the batch.
    pub fn take(
        &mut self,
        group: usize,
        rows: usize,
        now: Instant,
        abandoned: impl Fn(&T) -> bool,
    ) -> Taken<T> {
        // Entries are large: room for all of them at once, instead of moving them as it grows.
        let room = self.groups[group].waiting.len().min(rows.max(1));
        let mut taken = Taken { batch: Vec::with_capacity(room), expired: Vec::new() };
        let mut filled = 0;
        let mut room = self.drain_group(group, rows, now, &abandoned, &mut filled, &mut taken);
        if room && self.groups.len() > 1 {
            for other in self.less_urgent(group) {
                room = self.drain_group(other, rows, now, &abandoned, &mut filled, &mut taken);
                if !room {
                    break;
                }
            }
        }
        for index in (0..self.groups.len()).rev() {
            self.retire_if_empty(index);
        }
        taken
    }

    /// The groups of the same key and a less urgent level, in the order of their levels.
    fn less_urgent(&self, group: usize) -> SmallVec<[usize; 4]> {
        let Group { level, key, .. } = &self.groups[group];
        let mut others: SmallVec<[usize; 4]> = (0..self.groups.len())
            .filter(|&other| self.groups[other].level > *level && self.groups[other].key == *key)
            .collect();
        others.sort_unstable_by_key(|&other| self.groups[other].level);
        others
    }

    /// Moves what fits from one group's head; returns whether there is room left.
    fn drain_group(
        &mut self,
        group: usize,
        rows: usize,
        now: Instant,
        abandoned: &impl Fn(&T) -> bool,
        filled: &mut usize,
        taken: &mut Taken<T>,
    ) -> bool {
        let waiting = &mut self.groups[group].waiting;
        while let Some(head) = waiting.front() {
            let dropped = abandoned(&head.item);
            let expired = !dropped && head.expired(now);
            let total = filled.saturating_add(head.cost());
            if !dropped && !expired && !taken.batch.is_empty() && total > rows {
                return false;
            }
            let entry = waiting.pop_front().expect("its front was just seen");
            self.length -= 1;
            if expired {
                taken.expired.push(entry);
            } else if !dropped {
                *filled = total;
                taken.batch.push(entry);
            }
            if *filled >= rows {
                return false;
            }
        }
        true
    }

    fn retire_if_empty(&mut self, index: usize) {
        if self.groups[index].waiting.is_empty() {
            let group = self.groups.swap_remove(index);
            if self.spare.len() < SPARE_GROUPS {
                self.spare.push(group.waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOBODY: fn(&&'static str) -> bool = |_| false;

    struct Fixture {
        queue: Queue<u8, &'static str>,
        begin: Instant,
    }

    impl Fixture {
        /// Entries of level, key, rows and name; one whose name begins with `-` has expired.
        fn new(entries: &[(u32, u8, usize, &'static str)]) -> Fixture {
            let begin = Instant::now();
            let mut queue = Queue::new(16);
            for &(level, key, rows, name) in entries {
                let deadline = name.starts_with('-').then_some(begin);
                queue
                    .push(level, key, Waiting::new(rows, begin, deadline, name))
                    .expect("the queue is not full");
            }
            Fixture { queue, begin }
        }

        /// Takes batches in the order of their turn until the queue is empty.
        fn drain(&mut self, rows: usize) -> Vec<Vec<&'static str>> {
            let mut batches = Vec::new();
            while let Some(first) = self.queue.snapshots(1).first() {
                let taken = self.queue.take(first.group, rows, self.begin, NOBODY);
                batches.push(taken.batch.iter().map(|entry| entry.item).collect());
            }
            assert!(self.queue.is_empty());
            batches
        }
    }

    fn check(entries: &[(u32, u8, usize, &'static str)], expected: &[&[&str]]) {
        assert_eq!(Fixture::new(entries).drain(4), expected);
    }

    #[test]
    fn batches_are_taken_in_order_by_group_and_level() {
        check(&[], &[]);
        // First come, first served, as far as rows fit; nothing overtakes.
        check(&[(1, 0, 2, "a"), (1, 0, 3, "b"), (1, 0, 1, "c")], &[&["a"], &["b", "c"]]);
        // The group whose head waits longest comes first, and no group starves.
        check(
            &[(1, 0, 1, "a"), (1, 1, 1, "x"), (1, 0, 1, "b"), (1, 2, 1, "y")],
            &[&["a", "b"], &["x"], &["y"]],
        );
        // The more urgent level first, filled up with less urgent ones of the same key.
        check(
            &[(2, 0, 1, "late"), (2, 1, 1, "other"), (1, 0, 1, "urgent")],
            &[&["urgent", "late"], &["other"]],
        );
        // More rows than fit run alone, whole; so does one that says so.
        check(&[(1, 0, 9, "big"), (1, 0, 1, "a")], &[&["big"], &["a"]]);
        check(&[(1, 0, ALONE, "a"), (1, 0, ALONE, "b")], &[&["a"], &["b"]]);
        // Without rows a place is still taken.
        check(
            &[(1, 0, 0, "a"), (1, 0, 0, "b"), (1, 0, 0, "c"), (1, 0, 0, "d"), (1, 0, 0, "e")],
            &[&["a", "b", "c", "d"], &["e"]],
        );
    }

    #[test]
    fn expired_entries_come_out_apart_and_abandoned_ones_vanish() {
        let mut fixture = Fixture::new(&[
            (1, 0, 4, "-expired"),
            (1, 0, 1, "gone"),
            (1, 0, 1, "a"),
            (1, 0, 3, "b"),
        ]);
        let taken = fixture.queue.take(0, 4, fixture.begin, |item| *item == "gone");
        let names = |entries: &[Waiting<&'static str>]| -> Vec<&str> {
            entries.iter().map(|entry| entry.item).collect()
        };
        assert_eq!(names(&taken.batch), ["a", "b"]);
        assert_eq!(names(&taken.expired), ["-expired"]);
    }

    #[test]
    fn a_full_queue_gives_the_entry_back_and_purging_makes_room() {
        let begin = Instant::now();
        let mut queue = Queue::new(2);
        let entry = |name, deadline| Waiting::new(1, begin, deadline, name);
        queue.push(1, 0, entry("a", Some(begin))).expect("room");
        queue.push(1, 1, entry("b", None)).expect("room");
        let refused = queue.push(1, 0, entry("c", None)).expect_err("two wait already");
        assert_eq!(refused.item, "c");
        let expired = queue.purge(begin + Duration::from_millis(1), |_| false);
        assert_eq!(expired.len(), 1);
        queue.push(1, 0, refused).expect("room was made");
        assert_eq!(queue.purge(begin, |item| *item == "b").len(), 0);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_removed_entry_leaves_the_others_in_order() {
        let mut queue = Queue::new(4);
        let begin = Instant::now();
        let tickets: Vec<u64> = ["a", "b", "c"]
            .into_iter()
            .map(|name| queue.push(1, 0, Waiting::new(1, begin, None, name)).expect("room"))
            .collect();
        assert_eq!(queue.remove(tickets[1]).map(|entry| entry.item), Some("b"));
        assert!(queue.remove(tickets[1]).is_none());
        let taken = queue.take(0, 4, begin, |_| false);
        assert_eq!(taken.batch.iter().map(|entry| entry.item).collect::<Vec<_>>(), ["a", "c"]);
        assert!(queue.snapshots(1).is_empty());
    }
}
