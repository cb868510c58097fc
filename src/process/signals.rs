//! The signals a daemon obeys.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Who asks for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From a service manager.
    Terminate,
    /// From a terminal.
    Interrupt,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            StopSignal::Terminate => "SIGTERM",
            StopSignal::Interrupt => "SIGINT",
        })
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    Stop(StopSignal),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals, from the moment this was made: none that comes later is lost, however late it is
/// looked at.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP for the process. Called within the runtime that will
    /// wait for them.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Dropping the future loses none.
    pub async fn next(&mut self) -> SignalEvent {
        let Signals { terminate, interrupt, hangup } = self;
        tokio::select! {
            // A stop goes before a reload that came with it.
            biased;
            signal = stop(terminate, interrupt) => SignalEvent::Stop(signal),
            Some(()) = hangup.recv() => SignalEvent::Reload,
        }
    }

    /// The next request to stop. A reload that is asked for meanwhile stays for
    /// [`next`](Self::next).
    pub async fn next_stop(&mut self) -> StopSignal {
        stop(&mut self.terminate, &mut self.interrupt).await
    }
}

async fn stop(terminate: &mut Signal, interrupt: &mut Signal) -> StopSignal {
    tokio::select! {
        biased;
        Some(()) = terminate.recv() => StopSignal::Terminate,
        Some(()) = interrupt.recv() => StopSignal::Interrupt,
        else => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn no_signal_is_lost_between_two_looks() {
        let mut signals = Signals::new().expect("handlers are allowed");
        kill_process(getpid(), Number::HUP).unwrap();
        assert_eq!(signals.next().await, SignalEvent::Reload);
        kill_process(getpid(), Number::HUP).unwrap();
        kill_process(getpid(), Number::TERM).unwrap();
        let stop = signals.next_stop().await;
        assert_eq!((stop, stop.to_string().as_str()), (StopSignal::Terminate, "SIGTERM"));
        assert_eq!(signals.next().await, SignalEvent::Reload);
    }
}
