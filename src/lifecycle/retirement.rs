//! Where versions go when they are replaced: a thread that waits until no request holds one any
//! more and its last run has ended, then frees it. Never on a request's thread, whoever comes
//! last; and it waits for no version alone, so that a run which never ends holds up no other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::ActiveVersion;
use super::catalog::VersionKey;

/// How often it looks whether the last handle is gone and the last run over. Handles are counted,
/// not watched: telling the thread would cost every request, and nobody waits for the memory but
/// the next load.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Told that a version is freed, on the retirement thread.
pub(super) type Freed = Box<dyn Fn(VersionKey) + Send>;

struct Retired {
    key: VersionKey,
    version: Arc<ActiveVersion>,
    since: Instant,
}

/// What the manager and the thread share.
#[derive(Default)]
struct Shared {
    /// Handed over and not yet looked at. The manager pushes and never waits; bounded by the
    /// versions that exist.
    arrivals: Mutex<Arrivals>,
    /// Notified by the manager after each change of `arrivals`; the thread waits on it.
    changed: Condvar,
}

#[derive(Default)]
struct Arrivals {
    retired: Vec<Retired>,
    /// Requests are cut off: every version takes no more of them, even from those that hold it.
    closing: bool,
    /// Nothing comes any more: the thread ends when all are freed.
    ended: bool,
}

/// The retirement thread, from the manager's side. Dropping it lets the thread finish its work.
pub(super) struct Retirement {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Retirement {
    pub(super) fn start(freed: Freed) -> std::io::Result<Retirement> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("retirement".to_owned()).spawn({
            let shared = shared.clone();
            move || run(&shared, &freed)
        })?;
        Ok(Retirement { shared, thread: Some(thread) })
    }

    /// Takes a version that no new request can reach any more.
    pub(super) fn retire(&self, key: VersionKey, version: Arc<ActiveVersion>) {
        let mut arrivals = self.shared.arrivals.lock();
        arrivals.retired.push(Retired { key, version, since: Instant::now() });
        self.shared.changed.notify_one();
    }

    /// Closes every version that is here or comes: what waits in its queue is still answered.
    pub(super) fn close(&self) {
        self.shared.arrivals.lock().closing = true;
        self.shared.changed.notify_one();
    }

    /// Waits for the thread; call it when all versions are known to be freed.
    pub(super) fn join(mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A panic there was caught where it happened; nothing is left to tell.
            let _ = thread.join();
        }
    }

    fn end(&self) {
        self.shared.arrivals.lock().ended = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(shared: &Shared, freed: &Freed) {
    let mut waiting: Vec<Retired> = Vec::new();
    loop {
        let closing = {
            let mut arrivals = shared.arrivals.lock();
            if arrivals.retired.is_empty() {
                match (waiting.is_empty(), arrivals.ended) {
                    (true, true) => return,
                    (true, false) => shared.changed.wait(&mut arrivals),
                    (false, _) => {
                        shared.changed.wait_for(&mut arrivals, POLL_INTERVAL);
                    }
                }
            }
            waiting.append(&mut arrivals.retired);
            arrivals.closing
        };
        if closing {
            waiting.iter().for_each(|retired| retired.version.batcher.close());
        }
        let (free, held) = waiting.into_iter().map(try_take).partition::<Vec<_>, _>(Result::is_ok);
        waiting = held.into_iter().filter_map(Result::err).collect();
        for (key, version, since) in free.into_iter().flatten() {
            free_version(version, since);
            freed(key);
        }
    }
}

/// The version itself, where no request holds it any more and nothing of it runs: the run of a
/// client who went away goes on. It is no longer in the table, so nobody can take a new handle.
fn try_take(retired: Retired) -> Result<(VersionKey, ActiveVersion, Instant), Retired> {
    let Retired { key, version, since } = retired;
    if Arc::strong_count(&version) > 1 || !ends(&version) {
        return Err(Retired { key, version, since });
    }
    match Arc::try_unwrap(version) {
        Ok(version) => Ok((key, version, since)),
        Err(version) => Err(Retired { key, version, since }),
    }
}

/// Ends the instances of a version that nobody holds; says whether all have ended.
fn ends(version: &ActiveVersion) -> bool {
    version.batcher.close();
    version.batcher.has_ended()
}

/// Joins the instances and frees the memory. An engine that panics while it is freed takes only
/// its own memory with it.
fn free_version(version: ActiveVersion, since: Instant) {
    let events = version.events.clone();
    let _ = catch_unwind(AssertUnwindSafe(move || {
        version.batcher.join();
        drop(version);
    }));
    events.unloaded(since.elapsed());
}
