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
use super::taking::Taking;

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
    /// From a head's first byte to its last, and from being told to finish to the end.
    pub header: Duration,
    /// Without any request, or with a client that takes nothing of its response or too little.
    pub idle: Duration,
}

/// What a connection's bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Bytes between two requests begin the next one.
    Http1,
    /// Bytes may be anything: a PING, a piece of a head that never ends. Only requests and what
    /// is taken of their responses say that the connection is used.
    Http2,
}

/// The state that a connection, its requests and its thread share.
pub struct Progress {
    wire: Wire,
    /// Set by the thread, taken by the connection.
    command: Cell<Option<Command>>,
    /// The connection's, woken with a command.
    waker: RefCell<Option<Waker>>,
    /// Requests that have not been answered.
    running: Cell<usize>,
    /// When the first bytes of a request came whose handler has not started yet; never known of
    /// HTTP/2.
    head_since: Cell<Option<Instant>>,
    /// Whether something moved since the thread last looked: what it notes costs no clock.
    stirred: Cell<bool>,
    /// When the thread last saw that something had moved.
    moved: Cell<Instant>,
    taking: Taking,
    /// When the connection was told to finish for being idle.
    finishing_since: Cell<Option<Instant>>,
    /// Responses that hyper has wholly taken and the socket perhaps not yet.
    leaving: RefCell<SmallVec<[Box<Account>; 1]>>,
    /// A request was answered before its body was read.
    left_unread: Cell<bool>,
}

impl Progress {
    pub fn new(wire: Wire, now: Instant) -> Progress {
        Progress {
            wire,
            command: Cell::new(None),
            waker: RefCell::new(None),
            running: Cell::new(0),
            // The first bytes were seen before the connection came here.
            head_since: Cell::new((wire == Wire::Http1).then_some(now)),
            stirred: Cell::new(false),
            moved: Cell::new(now),
            taking: Taking::default(),
            finishing_since: Cell::new(None),
            leaving: RefCell::new(SmallVec::new()),
            left_unread: Cell::new(false),
        }
    }

    pub fn wire(&self) -> Wire {
        self.wire
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
        self.stirred.set(true);
        self.head_since.take().unwrap_or_else(Instant::now)
    }

    /// Whether a request has begun to come whose handler has not started yet.
    pub fn head_under_way(&self) -> bool {
        self.head_since.get().is_some()
    }

    /// A handler has answered, or was dropped.
    pub fn request_answered(&self) {
        self.running.set(self.running.get() - 1);
    }

    pub fn bytes_came(&self) {
        if self.wire == Wire::Http2 {
            return;
        }
        self.stirred.set(true);
        if self.running.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    pub fn bytes_went(&self, count: usize) {
        self.taking.went(count);
        if self.wire == Wire::Http1 {
            self.stirred.set(true);
        }
    }

    /// hyper has taken a part of a response, for which over HTTP/2 the client has made room.
    pub fn part_taken(&self) {
        self.stirred.set(true);
    }

    pub fn write_blocked(&self) {
        self.taking.blocked(Instant::now);
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
        if self.taking.lags(now, patience.idle) {
            return Some(Command::Abort);
        }
        if self.running.get() > 0 {
            // The handler has its own deadlines. Every wait begins again when it has answered.
            self.moved.set(now);
            self.finishing_since.set(self.finishing_since.get().map(|_| now));
            return None;
        }
        if self.stirred.take() {
            self.moved.set(now);
        }
        if let Some(since) = self.finishing_since.get() {
            return passed(since, patience.header).then_some(Command::Abort);
        }
        if let Some(since) = self.head_since.get()
            && passed(since, patience.header)
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
        Patience { header: Duration::from_secs(10), idle: Duration::from_secs(75) };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// A connection as `wire` says, and a look at it after so many seconds.
    fn connection(wire: Wire) -> (Progress, impl Fn(&Progress, u64) -> Option<Command>) {
        let start = Instant::now();
        let look =
            move |progress: &Progress, seconds| progress.judge(after(start, seconds), PATIENCE);
        (Progress::new(wire, start), look)
    }

    #[test]
    fn a_head_that_does_not_end_is_cut_off() {
        let (progress, look) = connection(Wire::Http1);
        assert_eq!(look(&progress, 10), None);
        progress.bytes_came();
        assert_eq!(look(&progress, 11), Some(Command::Abort));
    }

    #[test]
    fn a_running_request_may_take_as_long_as_it_likes() {
        for wire in [Wire::Http1, Wire::Http2] {
            let (progress, look) = connection(wire);
            progress.request_started();
            assert_eq!(look(&progress, 10_000), None);
            progress.request_answered();
            assert_eq!(look(&progress, 10_075), None, "{wire:?}");
            assert_eq!(look(&progress, 10_151), Some(Command::Finish), "{wire:?}");
        }
    }

    #[test]
    fn a_request_arrives_with_its_first_byte_or_over_http2_when_it_is_whole() {
        let start = Instant::now().checked_sub(Duration::from_secs(5)).expect("a clock past 5 s");
        assert_eq!(Progress::new(Wire::Http1, start).request_started(), start);
        let progress = Progress::new(Wire::Http2, start);
        progress.bytes_came();
        let before = Instant::now();
        assert!(progress.request_started() >= before, "a PING is the beginning of no request");
    }

    #[test]
    fn an_idle_connection_finishes_and_then_ends() {
        for wire in [Wire::Http1, Wire::Http2] {
            let (progress, look) = connection(wire);
            progress.request_started();
            progress.request_answered();
            assert_eq!(look(&progress, 1), None);
            assert_eq!(look(&progress, 76), None);
            assert_eq!(look(&progress, 77), Some(Command::Finish));
            assert_eq!(look(&progress, 80), None);
            assert_eq!(look(&progress, 88), Some(Command::Abort));
        }
    }

    #[test]
    fn over_http2_bytes_alone_keep_no_connection() {
        let (progress, look) = connection(Wire::Http2);
        for second in 0..=75 {
            progress.bytes_came();
            progress.bytes_went(1);
            assert_eq!(look(&progress, second), None);
        }
        assert_eq!(look(&progress, 76), Some(Command::Finish));
        progress.bytes_came();
        assert_eq!(look(&progress, 87), Some(Command::Abort));
    }

    #[test]
    fn a_request_that_comes_while_a_connection_finishes_is_waited_for() {
        let (progress, look) = connection(Wire::Http2);
        assert_eq!(look(&progress, 76), Some(Command::Finish));
        progress.request_started();
        assert_eq!(look(&progress, 200), None);
        progress.request_answered();
        assert_eq!(look(&progress, 201), None);
        assert_eq!(look(&progress, 211), Some(Command::Abort));
    }

    #[test]
    fn a_client_that_is_taking_its_response_is_not_idle() {
        for wire in [Wire::Http1, Wire::Http2] {
            let (progress, look) = connection(wire);
            progress.request_started();
            progress.request_answered();
            for second in (0..1000).step_by(70) {
                progress.bytes_went(1);
                progress.part_taken();
                assert_eq!(look(&progress, second), None, "{wire:?}");
            }
        }
    }

    #[test]
    fn a_client_that_takes_nothing_or_too_little_is_cut_off() {
        let (progress, look) = connection(Wire::Http1);
        progress.request_started();
        progress.write_blocked();
        assert_eq!(look(&progress, 0), None);
        progress.bytes_went(1);
        progress.write_blocked();
        assert_eq!(look(&progress, 77), Some(Command::Abort));
        progress.bytes_went(1);
        assert_eq!(look(&progress, 200), None);
    }

    #[test]
    fn an_abort_is_not_taken_back() {
        let (progress, _) = connection(Wire::Http1);
        progress.tell(Command::Abort);
        progress.tell(Command::Finish);
        assert_eq!(progress.take_command(Waker::noop()), Some(Command::Abort));
        assert_eq!(progress.take_command(Waker::noop()), None);
    }
}
