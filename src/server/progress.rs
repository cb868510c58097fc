//! What moves on one connection, and whether it still moves.
//!
//! Each network thread keeps the progress of its connections and looks through it a few times a
//! second: a request then costs a few stores instead of a timer of its own. Everything here is
//! used by one thread.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::account::Account;

/// What the thread tells a connection to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Finish what is under way, then close.
    Finish,
    /// Close now.
    Abort,
}

/// How long a connection may stand still.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a head's first byte to its last; `None` where heads are not told apart (HTTP/2).
    pub header: Option<Duration>,
    /// Without any request, or with a client that does not take its response.
    pub idle: Duration,
}

/// The state that a connection, its requests and its thread share.
pub struct Progress {
    /// Set by the thread, taken by the connection.
    command: Cell<Option<Command>>,
    /// The connection's, woken with a command.
    waker: RefCell<Option<Waker>>,
    /// Requests that have not been answered.
    running: Cell<usize>,
    /// When the first bytes of a request came whose handler has not started yet.
    head_since: Cell<Option<Instant>>,
    /// When bytes last came or went.
    moved: Cell<Instant>,
    /// Since when the client takes no bytes.
    write_blocked_since: Cell<Option<Instant>>,
    /// When the connection was told to finish for being idle.
    finishing_since: Cell<Option<Instant>>,
    /// Responses that hyper has wholly taken and the socket perhaps not yet.
    leaving: RefCell<SmallVec<[Box<Account>; 1]>>,
    /// A request was answered before its body was read.
    left_unread: Cell<bool>,
}

impl Progress {
    pub fn new(now: Instant) -> Progress {
        Progress {
            command: Cell::new(None),
            waker: RefCell::new(None),
            running: Cell::new(0),
            // The first bytes were seen before the connection came here.
            head_since: Cell::new(Some(now)),
            moved: Cell::new(now),
            write_blocked_since: Cell::new(None),
            finishing_since: Cell::new(None),
            leaving: RefCell::new(SmallVec::new()),
            left_unread: Cell::new(false),
        }
    }

    /// Tells the connection something; [`Command::Abort`] wins.
    pub fn tell(&self, command: Command) {
        if self.command.get() != Some(Command::Abort) {
            self.command.set(Some(command));
        }
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// What the connection was told since it last asked; it is woken for what comes later.
    pub fn take_command(&self, waker: &Waker) -> Option<Command> {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
        self.command.take()
    }

    /// A handler starts; says when its request arrived.
    pub fn request_started(&self) -> Instant {
        self.running.set(self.running.get() + 1);
        self.head_since.take().unwrap_or_else(Instant::now)
    }

    /// A handler has answered, or was dropped.
    pub fn request_answered(&self) {
        self.running.set(self.running.get() - 1);
    }

    pub fn bytes_came(&self) {
        let now = Instant::now();
        self.moved.set(now);
        if self.running.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    pub fn bytes_went(&self) {
        self.write_blocked_since.set(None);
    }

    pub fn write_blocked(&self) {
        if self.write_blocked_since.get().is_none() {
            self.write_blocked_since.set(Some(Instant::now()));
        }
    }

    /// hyper has taken a response's last byte.
    pub fn response_leaves(&self, account: Box<Account>) {
        self.leaving.borrow_mut().push(account);
    }

    /// The socket has taken everything that hyper had.
    pub fn flushed(&self) {
        let mut leaving = self.leaving.borrow_mut();
        if leaving.is_empty() {
            return;
        }
        let now = Instant::now();
        self.moved.set(now);
        for mut account in leaving.drain(..) {
            account.written(now);
        }
    }

    pub fn leave_unread(&self) {
        self.left_unread.set(true);
    }

    /// Whether some of what the client sends will never be read.
    pub fn left_unread(&self) -> bool {
        self.left_unread.get()
    }

    /// The connection is being closed from this side; the client may still be sending.
    pub fn closing(&self) {
        if self.finishing_since.get().is_none() {
            self.finishing_since.set(Some(Instant::now()));
        }
    }

    /// What to tell the connection, if anything.
    pub fn judge(&self, now: Instant, patience: Patience) -> Option<Command> {
        let passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) > limit;
        if let Some(since) = self.write_blocked_since.get()
            && passed(since, patience.idle)
        {
            return Some(Command::Abort);
        }
        if self.running.get() > 0 {
            // The handler has its own deadlines.
            return None;
        }
        if let Some(since) = self.finishing_since.get() {
            let limit = patience.header.unwrap_or(patience.idle);
            return passed(since, limit).then_some(Command::Abort);
        }
        if let (Some(since), Some(limit)) = (self.head_since.get(), patience.header)
            && passed(since, limit)
        {
            return Some(Command::Abort);
        }
        if passed(self.moved.get(), patience.idle) {
            self.finishing_since.set(Some(now));
            return Some(Command::Finish);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { header: Some(Duration::from_secs(10)), idle: Duration::from_secs(75) };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_head_that_does_not_end_is_cut_off() {
        let start = Instant::now();
        let progress = Progress::new(start);
        assert_eq!(progress.judge(after(start, 10), PATIENCE), None);
        assert_eq!(progress.judge(after(start, 11), PATIENCE), Some(Command::Abort));
    }

    #[test]
    fn a_running_request_may_take_as_long_as_it_likes() {
        let start = Instant::now();
        let progress = Progress::new(start);
        assert_eq!(progress.request_started(), start);
        assert_eq!(progress.judge(after(start, 10_000), PATIENCE), None);
    }

    #[test]
    fn an_idle_connection_finishes_and_then_ends() {
        let start = Instant::now();
        let progress = Progress::new(start);
        progress.request_started();
        progress.request_answered();
        assert_eq!(progress.judge(after(start, 75), PATIENCE), None);
        assert_eq!(progress.judge(after(start, 76), PATIENCE), Some(Command::Finish));
        assert_eq!(progress.judge(after(start, 80), PATIENCE), None);
        assert_eq!(progress.judge(after(start, 87), PATIENCE), Some(Command::Abort));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_off() {
        let start = Instant::now();
        let progress = Progress::new(start);
        progress.request_started();
        progress.write_blocked();
        assert_eq!(progress.judge(after(start, 200), PATIENCE), Some(Command::Abort));
        progress.bytes_went();
        assert_eq!(progress.judge(after(start, 200), PATIENCE), None);
    }

    #[test]
    fn an_abort_is_not_taken_back() {
        let progress = Progress::new(Instant::now());
        progress.tell(Command::Abort);
        progress.tell(Command::Finish);
        assert_eq!(progress.take_command(Waker::noop()), Some(Command::Abort));
        assert_eq!(progress.take_command(Waker::noop()), None);
    }
}
