//! A data thread: a runtime of its own on which connections are read, short models run and
//! responses are written.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;

use super::connection;
use super::network::{Handoff, NetworkThread, Shared, attend};
use super::pulse::ThreadPulse;

/// Runs the thread until everything is finished (true) or the deadline has come (false).
pub fn run(
    runtime: &LocalRuntime,
    shared: Arc<Shared>,
    handoffs: mpsc::Receiver<Handoff>,
    load: Arc<AtomicUsize>,
    pulse: &ThreadPulse,
) -> bool {
    runtime.block_on(async {
        let thread = Rc::new(NetworkThread::new(shared, Vec::new()));
        let closed = Rc::new(Cell::new(false));
        tokio::task::spawn_local(take(thread.clone(), handoffs, load, closed.clone()));
        tokio::select! {
            finished = attend(&thread, || closed.get()) => finished,
            () = pulse.beat() => unreachable!("a heart beats until it is dropped"),
        }
    })
}

/// Takes what comes for as long as the admin thread may send something.
async fn take(
    thread: Rc<NetworkThread>,
    mut handoffs: mpsc::Receiver<Handoff>,
    load: Arc<AtomicUsize>,
    closed: Rc<Cell<bool>>,
) {
    while let Some(handoff) = handoffs.recv().await {
        match handoff {
            Handoff::Connection { stream, opening, admission } => {
                let counted = Counted(load.clone());
                let Ok(stream) = stream.attach() else { continue };
                let connection = connection::serve(thread.clone(), stream, opening);
                tokio::task::spawn_local(async move {
                    connection.await;
                    drop((counted, admission));
                });
            }
            Handoff::Work(work) => {
                tokio::task::spawn_local(work());
            }
        }
    }
    closed.set(true);
}

/// Takes a connection out of the thread's load when it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
