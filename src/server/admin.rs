//! The admin thread: it owns the listeners, gives inference away and answers everything else
//! itself, so that health, metrics and administration never wait for a model.
//!
//! HTTP/1 connections that begin with inference are given away whole. One of HTTP/2 stays, for it
//! carries both kinds at once: its inferences are given away one by one, each at the price of two
//! hand-overs between threads.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::LocalRuntime;
use tokio::sync::OwnedSemaphorePermit;

use super::connection;
use super::listener::Listener;
use super::network::{Admission, DataThread, Handoff, NetworkThread, Phase, Shared, attend};
use super::pulse::ThreadPulse;
use super::stream::{Opening, Stream};
use crate::telemetry::events;

/// Accepting is tried again after this where the process is out of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A client that says nothing is waited for this fraction of its usual time once the server is
/// finishing: longer than a request is on its way, shorter than anyone waits for an end.
const FINISHING_SHARE: u32 = 8;

/// The thread and its listeners.
struct Admin {
    thread: Rc<NetworkThread>,
    /// Listeners that still accept.
    accepting: Cell<usize>,
    /// Connections that were accepted and are not yet served anywhere.
    admitting: Cell<usize>,
}

/// Runs the thread until everything is finished (true) or the deadline has come (false).
pub fn run(
    runtime: &LocalRuntime,
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    data: Vec<DataThread>,
    pulse: &ThreadPulse,
) -> bool {
    runtime.block_on(async {
        let admin = Rc::new(Admin {
            thread: Rc::new(NetworkThread::new(shared, data)),
            accepting: Cell::new(listeners.len()),
            admitting: Cell::new(0),
        });
        for listener in listeners {
            let admin = admin.clone();
            tokio::task::spawn_local(async move {
                admin.accept(listener).await;
                admin.accepting.set(admin.accepting.get() - 1);
            });
        }
        tokio::select! {
            finished = attend(&admin.thread, || admin.is_quiet()) => finished,
            () = pulse.beat() => unreachable!("a heart beats until it is dropped"),
        }
    })
}

impl Admin {
    /// No connection can come any more.
    fn is_quiet(&self) -> bool {
        self.accepting.get() == 0 && self.admitting.get() == 0
    }

    /// Accepts until the server closes, and then what already waits in the backlog.
    async fn accept(self: &Rc<Self>, listener: Listener) {
        let shared = &self.thread.shared;
        let mut phase = shared.phase.clone();
        loop {
            let next = async {
                let permit = shared.permits.clone().acquire_owned().await;
                let permit = permit.expect("the semaphore is never closed");
                (listener.accept().await, permit)
            };
            tokio::select! {
                biased;
                (accepted, permit) = next => self.take(accepted, permit).await,
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            }
        }
        // The runtime looks at its sockets now and then: a connection that came since it did would
        // be taken for none. Who yields goes on after the next look.
        tokio::task::yield_now().await;
        while let Ok(permit) = shared.permits.clone().try_acquire_owned() {
            match listener.accept_waiting().await {
                Some(accepted) => self.take(accepted, permit).await,
                None => break,
            }
        }
    }

    async fn take(self: &Rc<Self>, accepted: io::Result<Stream>, permit: OwnedSemaphorePermit) {
        match accepted {
            Ok(stream) => {
                let admin = self.clone();
                let admission = Admission::new(permit);
                self.admitting.set(self.admitting.get() + 1);
                tokio::task::spawn_local(async move {
                    admin.admit(stream, admission).await;
                    admin.admitting.set(admin.admitting.get() - 1);
                });
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                drop(permit);
                events::connection_refused("accept", &error);
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }

    /// Waits until the server has been finishing for so long.
    async fn finishing_for(&self, patience: Duration) {
        let mut phase = self.thread.shared.phase.clone();
        let is_finishing = |phase: &Phase| matches!(phase, Phase::Finishing { .. });
        // An error: the handle has gone, and with it whoever waits for an orderly end.
        let _ = phase.wait_for(is_finishing).await;
        tokio::time::sleep(patience).await;
    }

    /// Looks at what a connection wants and brings it to the thread that serves it.
    async fn admit(&self, stream: Stream, admission: Admission) {
        let patience = self.thread.shared.settings.header_timeout;
        let opening = tokio::select! {
            biased;
            opening = tokio::time::timeout(patience, stream.opening()) => opening,
            // Who was accepted and has not spoken yet may have its request on the way.
            () = self.finishing_for(patience / FINISHING_SHARE) => return,
        };
        let opening = match opening {
            Ok(Ok(Some(opening))) => opening,
            // Closed or broken: there is nobody to answer, and nothing was asked.
            Ok(_) => return,
            Err(_) => {
                let error = format!("no request came within {} seconds", patience.as_secs_f32());
                return events::connection_refused("silent", &error);
            }
        };
        if opening != Opening::Inference {
            connection::serve(self.thread.clone(), stream, opening).await;
            drop(admission);
            return;
        }
        let Ok(stream) = stream.detach() else { return };
        let data = self.thread.idlest_data_thread().expect("a server has at least one data thread");
        data.load.fetch_add(1, Ordering::Relaxed);
        // Data threads end after this one; one that has died takes its connections with it.
        let _ = data.handoffs.send(Handoff::Connection { stream, opening, admission }).await;
    }
}

/// Whether accepting failed because of that one connection.
fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
