//! Whether the process should be sent requests: once everything that it waits for is there, and
//! until it drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Ready when the last latch is released, and never again once draining began. Cheap to clone;
/// all clones share it. Reading it is one atomic load, from any thread.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `is_ready` without a lock; written only under the watch's.
    ready: AtomicBool,
    /// Sent to by latches and `drain`, waited for by who announces readiness.
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    latches: usize,
    draining: bool,
}

impl State {
    fn ready(&self) -> bool {
        self.latches == 0 && !self.draining
    }
}

/// Something that must happen before the process is ready. Releasing is dropping: a part that
/// fails on the way up holds nothing back for ever.
#[derive(Debug)]
#[must_use = "a latch that is dropped at once holds nothing back"]
pub struct Latch {
    shared: Arc<Shared>,
}

impl Readiness {
    /// Not ready until the latch that comes with it is released, so that there is no moment at
    /// the start where nothing is waited for yet.
    pub fn new() -> (Readiness, Latch) {
        let state = watch::Sender::new(State { latches: 1, draining: false });
        let shared = Arc::new(Shared { ready: AtomicBool::new(false), state });
        (Readiness { shared: shared.clone() }, Latch { shared })
    }

    /// One more thing to wait for. Taken after the process was ready, it makes it not ready.
    pub fn latch(&self) -> Latch {
        self.shared.change(|state| state.latches += 1);
        Latch { shared: self.shared.clone() }
    }

    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.shared.state.borrow().draining
    }

    /// Not ready from now on, whatever latches do.
    pub fn drain(&self) {
        self.shared.change(|state| state.draining = true);
    }

    /// Waits until the process is ready: true. False where it drains before it ever was.
    pub async fn settled(&self) -> bool {
        let mut receiver = self.shared.state.subscribe();
        let settled = receiver.wait_for(|state| state.latches == 0 || state.draining).await;
        settled.expect("self holds the sender").ready()
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            self.ready.store(state.ready(), Ordering::Release);
        });
    }
}

impl Latch {
    /// What was waited for is there.
    pub fn release(self) {}
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.shared.change(|state| state.latches -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_latch_makes_it_ready() {
        let (readiness, first) = Readiness::new();
        let second = readiness.latch();
        first.release();
        assert!(!readiness.is_ready());
        drop(second);
        assert!(readiness.is_ready());
        let third = readiness.latch();
        assert!(!readiness.is_ready(), "a new latch holds it back again");
        third.release();
        assert!(readiness.is_ready());
    }

    #[tokio::test]
    async fn draining_is_never_ready_again() {
        let (readiness, latch) = Readiness::new();
        let settled = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.settled().await }
        });
        readiness.drain();
        assert!(!settled.await.unwrap());
        latch.release();
        assert!(!readiness.is_ready() && readiness.is_draining());
        readiness.latch().release();
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn who_waits_is_woken_from_another_thread() {
        let (readiness, latch) = Readiness::new();
        std::thread::spawn(move || latch.release());
        assert!(readiness.settled().await);
        assert!(readiness.is_ready());
    }
}
