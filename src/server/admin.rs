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

/// The thread and its listeners.
struct Admin {
    thread: Rc<NetworkThread>,
    /// Listeners that still accept.
    accepting: Cell<usize>,
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
        });
        for listener in listeners {
            let admin = admin.clone();
            tokio::task::spawn_local(async move {
                admin.accept(listener).await;
                admin.accepting.set(admin.accepting.get() - 1);
            });
        }
        tokio::select! {
            finished = attend(&admin.thread, || admin.accepting.get() == 0) => finished,
            () = pulse.beat() => unreachable!("a heart beats until it is dropped"),
        }
    })
}

impl Admin {
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
                tokio::task::spawn_local(async move { admin.admit(stream, admission).await });
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                drop(permit);
                events::connection_refused("accept", &error);
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }

    /// Looks at what a connection wants and brings it to the thread that serves it.
    async fn admit(&self, stream: Stream, admission: Admission) {
        let patience = self.thread.shared.settings.header_timeout;
        let opening = match tokio::time::timeout(patience, stream.opening()).await {
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
