//! Where the process is in its life. Tests and parts wait for a phase instead of sleeping.

use tokio::sync::watch;

/// In the order in which they are passed; none is ever gone back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing is served yet.
    Starting,
    /// Sockets take connections.
    Serving,
    /// A stop was asked for; what is in flight finishes.
    Draining,
    /// Nothing is served any more.
    Stopped,
}

/// The phase, for all to see. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Sent to by who assembles the process, waited for by anybody.
    current: watch::Sender<Phase>,
}

impl Default for Phases {
    fn default() -> Phases {
        Phases { current: watch::Sender::new(Phase::Starting) }
    }
}

impl Phases {
    /// Moves on to `phase`. Going back is not possible: it changes nothing and returns false.
    pub fn enter(&self, phase: Phase) -> bool {
        self.current.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        })
    }

    pub fn current(&self) -> Phase {
        *self.current.borrow()
    }

    /// Waits until `phase` is reached or passed; returns the phase then.
    pub async fn reached(&self, phase: Phase) -> Phase {
        let mut receiver = self.current.subscribe();
        let reached = receiver.wait_for(|current| *current >= phase).await;
        *reached.expect("self holds the sender")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let phases = Phases::default();
        assert!(phases.enter(Phase::Draining));
        assert!(!phases.enter(Phase::Serving));
        assert!(!phases.enter(Phase::Draining));
        assert_eq!(phases.current(), Phase::Draining);
    }

    #[tokio::test]
    async fn who_waits_for_a_phase_is_woken_when_it_is_reached_or_passed() {
        let phases = Phases::default();
        let waiter = tokio::spawn({
            let phases = phases.clone();
            async move { phases.reached(Phase::Serving).await }
        });
        phases.enter(Phase::Stopped);
        assert_eq!(waiter.await.unwrap(), Phase::Stopped);
        assert_eq!(phases.reached(Phase::Starting).await, Phase::Stopped);
    }
}
