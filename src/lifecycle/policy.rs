//! What to do next about one model, decided from a snapshot of its versions: pure, so that a
//! table can test it and the manager may ask as often as it likes.
//!
//! The policy preserves availability: a version that serves is taken away only when what
//! replaces it is ready, at the price of memory for both. A replacement that fails leaves the
//! old version where it is.

use std::time::Duration;

use super::VersionPolicy;
use super::state::State;

/// One generation of a version, as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) number: u64,
    /// Later generations of the same number replace earlier ones.
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) desired: bool,
    /// Waiting only: its next attempt's time has come.
    pub(super) due: bool,
}

/// The one next thing to do, with the number and generation that it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Load(u64, u64),
    Unload(u64, u64),
}

/// At most one action. `may_load` says whether a loader thread is free.
///
/// What can be freed is freed before more is loaded; of several versions to load, the highest
/// comes first, because it is the one that answers where a request names none.
pub(super) fn next_action(versions: &[Snapshot], may_load: bool) -> Option<Action> {
    let unload = versions.iter().find(|version| may_unload(version, versions));
    if let Some(version) = unload {
        return Some(Action::Unload(version.number, version.generation));
    }
    let to_load = |version: &&Snapshot| {
        may_load && version.desired && version.state == State::Waiting && version.due
    };
    let load = versions.iter().filter(to_load).max_by_key(|version| version.number);
    load.map(|version| Action::Load(version.number, version.generation))
}

fn may_unload(version: &Snapshot, all: &[Snapshot]) -> bool {
    if version.desired {
        return false;
    }
    match version.state {
        // A version that nobody wants any more and that was not begun is simply dropped.
        State::Waiting => true,
        State::Ready => is_replaced(version, all),
        State::Loading | State::Unloading | State::Failed | State::Unloaded => false,
    }
}

/// Whether a ready version that is not desired can go without anybody missing it.
fn is_replaced(version: &Snapshot, all: &[Snapshot]) -> bool {
    let wanted = || all.iter().filter(|other| other.desired);
    if wanted().next().is_none() {
        return true;
    }
    let newer_serves = all.iter().any(|other| {
        other.number == version.number
            && other.generation > version.generation
            && other.state == State::Ready
    });
    // Where the number itself is wanted, only that number's next generation replaces it.
    let number_wanted = wanted().any(|other| other.number == version.number);
    newer_serves || (!number_wanted && wanted().any(|other| other.state == State::Ready))
}

/// The versions of those on disk (ascending) that are to serve. A version that the policy names
/// and that is not there is left out: the others need not wait for it.
pub fn desired_versions(policy: &VersionPolicy, on_disk: &[u64]) -> Vec<u64> {
    let is_desired = |&number: &u64| match policy {
        VersionPolicy::All => true,
        VersionPolicy::Latest(count) => {
            on_disk.iter().filter(|&&other| other > number).count() < (*count).max(1)
        }
        VersionPolicy::Specific(numbers) => numbers.contains(&number),
    };
    on_disk.iter().copied().filter(is_desired).collect()
}

/// How often a failed load is tried again, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further attempts after the first; 0 tries once.
    pub retries: u32,
    /// Before the first further attempt; doubled before each one after it.
    pub delay: Duration,
    /// The delay grows no longer than this.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// How long to wait after the attempt of this number (from 1) failed, or `None` where it was
    /// the last.
    pub(super) fn delay_after(&self, attempt: u32) -> Option<Duration> {
        if attempt > self.retries {
            return None;
        }
        let factor = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.delay.saturating_mul(factor).min(self.delay_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: bool = true;
    const UNWANTED: bool = false;

    fn check(versions: &[(u64, u64, State, bool)], expected: Option<Action>) {
        let snapshots: Vec<Snapshot> = versions
            .iter()
            .map(|&(number, generation, state, desired)| {
                let due = state == State::Waiting;
                Snapshot { number, generation, state, desired, due }
            })
            .collect();
        assert_eq!(next_action(&snapshots, true), expected, "{versions:?}");
    }

    #[test]
    fn the_highest_wanted_version_is_loaded_first() {
        check(&[], None);
        check(&[(1, 1, State::Waiting, WANTED)], Some(Action::Load(1, 1)));
        let two = [(1, 1, State::Waiting, WANTED), (2, 1, State::Waiting, WANTED)];
        check(&two, Some(Action::Load(2, 1)));
        // The second is loaded beside the first, not after it.
        let two = [(1, 1, State::Waiting, WANTED), (2, 1, State::Loading, WANTED)];
        check(&two, Some(Action::Load(1, 1)));
    }

    #[test]
    fn a_settled_model_is_left_alone() {
        check(&[(1, 1, State::Ready, WANTED)], None);
        check(&[(1, 1, State::Failed, WANTED)], None);
        check(&[(1, 1, State::Unloaded, UNWANTED), (2, 2, State::Ready, WANTED)], None);
        check(&[(1, 1, State::Unloading, UNWANTED)], None);
        // What is under way cannot be called back; it is unloaded when it arrives.
        check(&[(1, 1, State::Loading, UNWANTED)], None);
    }

    #[test]
    fn the_old_version_goes_only_when_the_new_one_is_ready() {
        let with_new = |state| [(1, 1, State::Ready, UNWANTED), (2, 2, state, WANTED)];
        check(&with_new(State::Waiting), Some(Action::Load(2, 2)));
        check(&with_new(State::Loading), None);
        check(&with_new(State::Failed), None);
        check(&with_new(State::Ready), Some(Action::Unload(1, 1)));
    }

    #[test]
    fn a_reloaded_version_replaces_its_own_number_only() {
        let reload = |first, second| {
            [
                (1, 1, State::Ready, UNWANTED),
                (2, 1, State::Ready, UNWANTED),
                (1, 2, first, WANTED),
                (2, 2, second, WANTED),
            ]
        };
        check(&reload(State::Loading, State::Ready), Some(Action::Unload(2, 1)));
        check(&reload(State::Ready, State::Failed), Some(Action::Unload(1, 1)));
        check(&reload(State::Failed, State::Failed), None);
    }

    #[test]
    fn a_generation_that_arrives_late_replaces_what_it_was_meant_to() {
        let late = [
            (1, 1, State::Ready, UNWANTED),
            (1, 2, State::Ready, UNWANTED),
            (1, 3, State::Loading, WANTED),
        ];
        check(&late, Some(Action::Unload(1, 1)));
    }

    #[test]
    fn a_model_that_nobody_wants_goes_at_once() {
        check(&[(1, 1, State::Ready, UNWANTED)], Some(Action::Unload(1, 1)));
        check(&[(1, 1, State::Waiting, UNWANTED)], Some(Action::Unload(1, 1)));
    }

    #[test]
    fn a_load_waits_for_its_time_and_for_a_thread() {
        let waiting =
            Snapshot { number: 1, generation: 1, state: State::Waiting, desired: true, due: true };
        assert_eq!(next_action(&[waiting], true), Some(Action::Load(1, 1)));
        assert_eq!(next_action(&[waiting], false), None);
        assert_eq!(next_action(&[Snapshot { due: false, ..waiting }], true), None);
    }

    #[test]
    fn the_version_policy_picks_from_the_disk() {
        let on_disk = [1, 3, 4];
        let desired = |policy| desired_versions(&policy, &on_disk);
        assert_eq!(desired(VersionPolicy::Latest(1)), [4]);
        assert_eq!(desired(VersionPolicy::Latest(2)), [3, 4]);
        assert_eq!(desired(VersionPolicy::Latest(9)), [1, 3, 4]);
        assert_eq!(desired(VersionPolicy::All), [1, 3, 4]);
        assert_eq!(desired(VersionPolicy::Specific(vec![3, 2, 3])), [3]);
        assert_eq!(desired(VersionPolicy::Specific(vec![7])), [0; 0]);
    }

    #[test]
    fn retries_come_ever_later_and_end() {
        let seconds = Duration::from_secs;
        let policy = RetryPolicy { retries: 4, delay: seconds(2), delay_max: seconds(10) };
        let delays: Vec<Option<Duration>> =
            (1..=5).map(|attempt| policy.delay_after(attempt)).collect();
        let expected = [Some(2), Some(4), Some(8), Some(10), None].map(|it| it.map(seconds));
        assert_eq!(delays, expected);
        let endless = RetryPolicy { retries: u32::MAX, ..policy };
        assert_eq!(endless.delay_after(40), Some(seconds(10)));
    }
}
