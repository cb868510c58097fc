//! What a network thread holds: its connections, and the way to the others.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::inflight::Inflight;
use super::progress::{Command, Patience, Progress};
use super::request_body::BodyLimits;
use super::stream::{DetachedStream, Opening};
use super::{ServerSettings, Services};
use crate::telemetry::events;

/// Where the server is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// No new connections; those that are there get their answers and are then closed.
    Closing,
    /// Idle connections are closed at once; what is left at the deadline is cut off.
    Finishing {
        deadline: Instant,
    },
}

/// What all network threads share.
pub struct Shared {
    pub settings: ServerSettings,
    pub services: Services,
    /// Said by the handle, followed by every thread.
    pub phase: watch::Receiver<Phase>,
    /// The phase is not `Serving`: a copy that costs a request one load.
    pub closing: AtomicBool,
    /// What request bodies take together.
    pub inflight: Inflight,
    /// A permit per connection, taken before it is accepted, given back when it ends.
    pub permits: Arc<Semaphore>,
}

impl Shared {
    pub fn body_limits(&self) -> BodyLimits<'_> {
        let ServerSettings { max_body_bytes, body_timeout, .. } = self.settings;
        BodyLimits { max_bytes: max_body_bytes, timeout: body_timeout, inflight: &self.inflight }
    }
}

/// What the admin thread gives to a data thread.
pub enum Handoff {
    /// A connection, from its first byte on.
    Connection { stream: DetachedStream, opening: Opening, admission: Admission },
    /// A request for a model that came over a connection of the admin thread's own.
    Work(Work),
}

/// One connection's place among those allowed, given back when the connection ends.
pub struct Admission(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    pub fn new(permit: OwnedSemaphorePermit) -> Admission {
        events::connection_opened();
        Admission(permit)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        events::connection_closed();
    }
}

/// Makes, on the thread that it is sent to, a future to be run there.
pub type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// One data thread as the admin thread sees it.
pub struct DataThread {
    /// Held by the admin thread alone: its end tells the data thread that nothing more comes.
    pub handoffs: mpsc::Sender<Handoff>,
    /// Connections that it serves, those on their way included.
    pub load: Arc<AtomicUsize>,
}

/// One network thread, used by everything that runs on it.
pub struct NetworkThread {
    pub shared: Arc<Shared>,
    /// The threads that it gives inference to; a data thread has none.
    data: Vec<DataThread>,
    /// Where among them the search for the idlest begins: each in turn, so that single requests,
    /// which are nobody's connection, are spread as well.
    turn: Cell<usize>,
    connections: RefCell<HashMap<u64, (Rc<Progress>, Patience)>>,
    next: Cell<u64>,
}

impl NetworkThread {
    pub fn new(shared: Arc<Shared>, data: Vec<DataThread>) -> NetworkThread {
        NetworkThread {
            shared,
            data,
            turn: Cell::new(0),
            connections: RefCell::new(HashMap::new()),
            next: Cell::new(0),
        }
    }

    /// The data thread with the fewest connections, of equal ones each in turn; `None` on a data
    /// thread.
    pub fn idlest_data_thread(&self) -> Option<&DataThread> {
        let (before, after) = self.data.split_at(self.turn.get());
        self.turn.set((self.turn.get() + 1) % self.data.len().max(1));
        after.iter().chain(before).min_by_key(|data| data.load.load(Ordering::Relaxed))
    }

    /// Watches a connection until the returned guard is dropped. One that comes after all were told
    /// to finish is told at once.
    pub fn watch(self: &Rc<Self>, progress: Rc<Progress>, patience: Patience) -> Watch {
        if matches!(*self.shared.phase.borrow(), Phase::Finishing { .. }) {
            progress.tell(Command::Finish);
        }
        let key = self.next.get();
        self.next.set(key + 1);
        self.connections.borrow_mut().insert(key, (progress, patience));
        Watch { thread: self.clone(), key }
    }

    pub fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Looks through the connections for those that stand still.
    pub fn sweep(&self) {
        let now = Instant::now();
        for (progress, patience) in self.connections.borrow().values() {
            if let Some(command) = progress.judge(now, *patience) {
                progress.tell(command);
            }
        }
    }

    /// Tells every connection to finish.
    pub fn finish_all(&self) {
        for (progress, _) in self.connections.borrow().values() {
            progress.tell(Command::Finish);
        }
    }

    /// How often to [`sweep`](Self::sweep): often enough to keep the shortest limit to an eighth.
    pub fn sweep_interval(&self) -> Duration {
        let settings = &self.shared.settings;
        let shortest = settings.header_timeout.min(settings.idle_timeout);
        (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    pub fn is_closing(&self) -> bool {
        self.shared.closing.load(Ordering::Relaxed)
    }
}

/// A connection's place among those that its thread watches.
pub struct Watch {
    thread: Rc<NetworkThread>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.thread.connections.borrow_mut().remove(&self.key);
    }
}

/// Follows the phase on one network thread: sweeps while it serves, and ends when everything is
/// finished (true) or the deadline has come (false). `quiet` says whether anything may still
/// come to the thread.
pub async fn attend(thread: &Rc<NetworkThread>, quiet: impl Fn() -> bool) -> bool {
    let mut phase = thread.shared.phase.clone();
    let mut interval = tokio::time::interval(thread.sweep_interval());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let deadline = loop {
        tokio::select! {
            _ = interval.tick() => thread.sweep(),
            changed = phase.changed() => if changed.is_err() {
                // The handle is gone: nobody could ever ask for an orderly end.
                break Instant::now();
            }
        }
        if let Phase::Finishing { deadline } = *phase.borrow_and_update() {
            break deadline;
        }
    };
    thread.finish_all();
    loop {
        if quiet() && thread.connections() == 0 {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread.sweep();
        // Nobody signals the end of a connection: the wait is short, and only at the very end.
        tokio::time::sleep(FINISH_POLL).await;
    }
}

/// How long the end of the last connection may go unnoticed.
const FINISH_POLL: Duration = Duration::from_millis(2);
