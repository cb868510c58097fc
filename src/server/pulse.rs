//! Whether every network thread still gets round to its work: what the watchdog asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::Heartbeat;

/// How often each network thread gives a sign of life; a limit on its age should be several of
/// these.
pub const BEAT_PERIOD: Duration = Duration::from_secs(1);

/// The signs of life of all network threads. Cheap to clone; outlives its server.
#[derive(Clone)]
pub struct Pulse {
    threads: Arc<[ThreadPulse]>,
}

/// One thread's sign of life.
#[derive(Clone)]
pub struct ThreadPulse {
    name: Arc<str>,
    heart: Heartbeat,
    /// The thread has come to its proper end, after which it owes no beat; one that panicked has
    /// not. Set by the thread, read by the watchdog.
    ended: Arc<AtomicBool>,
}

/// A thread that has not beaten for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    pub thread: String,
    pub since: Duration,
}

impl Pulse {
    pub fn new(threads: Vec<ThreadPulse>) -> Pulse {
        Pulse { threads: threads.into() }
    }

    /// Whether every thread has beaten within `limit`, or has ended.
    pub fn beats_within(&self, limit: Duration) -> bool {
        self.silent(limit).is_none()
    }

    /// The first thread that has not beaten within `limit` though it has not ended. A thread that
    /// runs a long batch beats when it is done: `limit` should be longer than the longest.
    pub fn silent(&self, limit: Duration) -> Option<Silent> {
        self.threads.iter().filter(|thread| !thread.ended.load(Ordering::Relaxed)).find_map(
            |thread| {
                let since = thread.heart.age();
                let silent = || Silent { thread: thread.name.to_string(), since };
                (since > limit).then(silent)
            },
        )
    }
}

impl ThreadPulse {
    pub fn new(name: &str) -> ThreadPulse {
        ThreadPulse { name: name.into(), heart: Heartbeat::new(), ended: Arc::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Beats for as long as it is polled.
    pub async fn beat(&self) {
        self.heart.run(BEAT_PERIOD).await;
    }

    /// The thread has come to its proper end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_beat_is_named_until_it_ends() {
        let (live, hung) = (ThreadPulse::new("admin"), ThreadPulse::new("network-0"));
        let pulse = Pulse::new(vec![live.clone(), hung.clone()]);
        std::thread::sleep(Duration::from_millis(5));
        live.heart.beat();
        assert!(pulse.beats_within(Duration::from_secs(60)));
        let silent = pulse.silent(Duration::from_millis(4)).expect("it has not beaten");
        assert_eq!(silent.thread, "network-0");
        assert!(silent.since >= Duration::from_millis(5));
        hung.end();
        live.end();
        assert!(pulse.beats_within(Duration::ZERO));
    }
}
