//! Starting the server and stopping it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{Semaphore, mpsc, watch};

use super::inflight::Inflight;
use super::listener::{BoundListener, Listener};
use super::network::{DataThread, Phase, Shared};
use super::pulse::{Pulse, ThreadPulse};
use super::{ListenAddress, ServerSettings, admin, data};
use crate::lifecycle::{ActiveModels, ManagerHandle};
use crate::telemetry::events;
use crate::telemetry::traces::Tracer;

/// Connections and requests that may be on their way to one data thread; the admin thread waits
/// with more.
const HANDOFFS: usize = 256;

/// Tasks that a thread polls at most before it looks for what became readable: so many that a
/// round over its connections is not cut in two, and the batch that the round fills with it.
const TASKS_BETWEEN_EVENTS: u32 = 512;

/// What the server answers with.
pub struct Services {
    pub active: Arc<ActiveModels>,
    pub manager: ManagerHandle,
    /// Whether the daemon wants requests: started, everything loaded, not draining.
    pub readiness: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The metrics as Prometheus' text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Where inference requests are traced; `None` where no endpoint is configured.
    pub tracer: Option<Arc<Tracer>>,
}

/// Why the server could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: ListenAddress, reason: String },
    #[error("there is no address to listen on")]
    NoAddress,
    #[error("a network thread could not be started: {reason}")]
    Thread { reason: String },
}

/// The HTTP server.
pub struct Server;

/// A running server. Dropped, it cuts everything off; see [`ServerHandle::finish`].
pub struct ServerHandle {
    addresses: Vec<ListenAddress>,
    shared: Arc<Shared>,
    /// Followed by every network thread.
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<bool>>,
    pulse: Pulse,
}

impl Server {
    /// Listens and serves, on the addresses of the settings and on sockets that were `inherited`
    /// from the service manager.
    ///
    /// # Errors
    /// An address cannot be listened on, or the system gives no thread.
    pub fn start(
        settings: ServerSettings,
        services: Services,
        inherited: Vec<BoundListener>,
    ) -> Result<ServerHandle, ServerError> {
        let mut bound: Vec<(BoundListener, bool)> =
            inherited.into_iter().map(|listener| (listener, false)).collect();
        for address in &settings.listen {
            bound.push((BoundListener::bind(address)?, true));
        }
        if bound.is_empty() {
            return Err(ServerError::NoAddress);
        }
        let failed = |error: io::Error| ServerError::Thread { reason: error.to_string() };
        let addresses = bound
            .iter()
            .map(|(listener, _)| listener.address())
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        let (phase, followed) = watch::channel(Phase::Serving);
        let shared = Arc::new(Shared {
            permits: Arc::new(Semaphore::new(settings.max_connections.max(1))),
            inflight: Inflight::new(settings.max_inflight_bytes),
            settings,
            services,
            phase: followed,
            closing: AtomicBool::new(false),
        });
        let origins: Vec<bool> = bound.iter().map(|(_, made_here)| *made_here).collect();
        let (threads, pulse) = start_threads(&shared, bound).map_err(failed)?;
        for (address, made_here) in addresses.iter().zip(origins) {
            events::listening(address, if made_here { "bound" } else { "inherited" });
        }
        Ok(ServerHandle { addresses, shared, phase, threads, pulse })
    }
}

/// Starts the data threads, then the admin thread that feeds them.
fn start_threads(
    shared: &Arc<Shared>,
    bound: Vec<(BoundListener, bool)>,
) -> io::Result<(Vec<JoinHandle<bool>>, Pulse)> {
    let mut threads = Vec::new();
    let mut pulses = Vec::new();
    let mut data_threads = Vec::new();
    for number in 0..shared.settings.network_threads.max(1) {
        let (handoffs, received) = mpsc::channel(HANDOFFS);
        let load = Arc::new(AtomicUsize::new(0));
        data_threads.push(DataThread { handoffs, load: load.clone() });
        let shared = shared.clone();
        let pulse = ThreadPulse::new(&format!("network-{number}"));
        pulses.push(pulse.clone());
        threads.push(spawn(
            pulse,
            || Ok(()),
            move |runtime, (), pulse| data::run(runtime, shared, received, load, pulse),
        )?);
    }
    let shared = shared.clone();
    let pulse = ThreadPulse::new("admin");
    pulses.push(pulse.clone());
    let attach = move || {
        let attach = |(listener, made_here)| Listener::attach(listener, made_here);
        bound.into_iter().map(attach).collect::<io::Result<Vec<_>>>()
    };
    threads.push(spawn(pulse, attach, move |runtime, listeners, pulse| {
        admin::run(runtime, shared, listeners, data_threads, pulse)
    })?);
    Ok((threads, Pulse::new(pulses)))
}

/// Starts a thread that is called as its pulse, with a runtime of its own: `prepare` says, inside
/// the runtime, whether it can run at all, and `run` does.
///
/// # Errors
/// The system gives no thread or no runtime, or `prepare` failed.
fn spawn<T>(
    pulse: ThreadPulse,
    prepare: impl FnOnce() -> io::Result<T> + Send + 'static,
    run: impl FnOnce(&LocalRuntime, T, &ThreadPulse) -> bool + Send + 'static,
) -> io::Result<JoinHandle<bool>> {
    // A runtime for futures that stay on their thread stays there itself.
    let name = pulse.name().to_owned();
    let (report, reported) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        let prepared = runtime().and_then(|runtime| {
            let prepared = {
                let _inside = runtime.enter();
                prepare()?
            };
            Ok((runtime, prepared))
        });
        let (ready, outcome) = match prepared {
            Ok(ready) => (Some(ready), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // The starter waits for it.
        let _ = report.send(outcome);
        let finished = ready.is_some_and(|(runtime, prepared)| run(&runtime, prepared, &pulse));
        pulse.end();
        finished
    };
    let thread = std::thread::Builder::new().name(name).spawn(body)?;
    reported.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
    Ok(thread)
}

fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(TASKS_BETWEEN_EVENTS)
        .build_local(LocalOptions::default())
}

impl ServerHandle {
    /// Where it listens, with the port that the system chose where 0 was asked for.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The threads' signs of life, for whoever is to notice that they hang.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Closes the listeners, after taking what waits in their backlogs. Connections stay, but
    /// every response from now on says that its connection closes.
    pub fn stop_accepting(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Closing;
            }
            serving
        });
    }

    /// Closes idle connections at once and the others after their request, cuts off what is left
    /// at the deadline, and ends the threads. Blocks until then; says whether nothing had to be
    /// cut off.
    pub fn finish(self, deadline: Instant) -> bool {
        self.stop_accepting();
        self.phase.send_replace(Phase::Finishing { deadline });
        let mut all = true;
        for thread in self.threads {
            all &= thread.join().unwrap_or(false);
        }
        all
    }
}
