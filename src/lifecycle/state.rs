//! The states of one version and the ways between them.
//!
//! A version that is loaded again is a new *generation* of its number, with a state of its own:
//! the old generation serves until the new one is ready.

/// State of one generation of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// No loader thread has taken it yet, or its next attempt is not due.
    Waiting,
    /// A loader thread works on it.
    Loading,
    /// It can serve.
    Ready,
    /// No new request reaches it; its memory is not freed yet.
    Unloading,
    /// It could not be loaded and is not tried again.
    Failed,
    /// Gone.
    Unloaded,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    LoadStarted,
    Loaded,
    /// The load failed and is to be tried again.
    LoadDeferred,
    LoadFailed,
    UnloadStarted,
    Freed,
}

impl State {
    /// The state after `event`, or `None` where the event cannot happen in this state.
    pub(super) fn after(self, event: Event) -> Option<State> {
        match (self, event) {
            (State::Waiting, Event::LoadStarted) => Some(State::Loading),
            // Nothing was loaded, so there is nothing to free.
            (State::Waiting, Event::UnloadStarted) => Some(State::Unloaded),
            (State::Loading, Event::Loaded) => Some(State::Ready),
            (State::Loading, Event::LoadDeferred) => Some(State::Waiting),
            (State::Loading, Event::LoadFailed) => Some(State::Failed),
            (State::Ready, Event::UnloadStarted) => Some(State::Unloading),
            (State::Unloading, Event::Freed) => Some(State::Unloaded),
            _ => None,
        }
    }

    /// Whether nothing happens to it any more.
    pub(super) fn is_final(self) -> bool {
        matches!(self, State::Failed | State::Unloaded)
    }

    /// Whether it is on its way to be ready.
    pub(super) fn is_pending(self) -> bool {
        matches!(self, State::Waiting | State::Loading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] = [
        State::Waiting,
        State::Loading,
        State::Ready,
        State::Unloading,
        State::Failed,
        State::Unloaded,
    ];

    const EVENTS: [Event; 6] = [
        Event::LoadStarted,
        Event::Loaded,
        Event::LoadDeferred,
        Event::LoadFailed,
        Event::UnloadStarted,
        Event::Freed,
    ];

    #[test]
    fn only_these_ways_exist() {
        let ways: Vec<(State, Event, State)> = STATES
            .into_iter()
            .flat_map(|state| EVENTS.map(|event| (state, event)))
            .filter_map(|(state, event)| Some((state, event, state.after(event)?)))
            .collect();
        let expected = [
            (State::Waiting, Event::LoadStarted, State::Loading),
            (State::Waiting, Event::UnloadStarted, State::Unloaded),
            (State::Loading, Event::Loaded, State::Ready),
            (State::Loading, Event::LoadDeferred, State::Waiting),
            (State::Loading, Event::LoadFailed, State::Failed),
            (State::Ready, Event::UnloadStarted, State::Unloading),
            (State::Unloading, Event::Freed, State::Unloaded),
        ];
        assert_eq!(ways, expected);
    }

    #[test]
    fn a_final_state_has_no_way_out_and_every_other_has_one() {
        for state in STATES {
            let has_way_out = EVENTS.into_iter().any(|event| state.after(event).is_some());
            assert_eq!(has_way_out, !state.is_final(), "{state:?}");
        }
    }
}
