//! The daemon in this process, as `serve` assembles it, on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::serve::engines::Engines;
use super::super::serve::{golden, models};
use crate::config::Settings;
use crate::engine::{Engine, EngineChoice, EngineError};
use crate::lifecycle::{ActiveModels, ActiveVersion, Manager, ManagerHandle, ManagerSettings};
use crate::server::{ListenAddress, Server, ServerHandle, Services};
use crate::telemetry::export;

/// How often histograms are moved into their buckets: until then each value takes memory.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);
/// What ending may take: nothing is in flight any more.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// A daemon that serves one model. Ends when it is dropped.
pub(super) struct Daemon {
    pub address: SocketAddr,
    engines: Engines,
    active: Arc<ActiveModels>,
    manager: ManagerHandle,
    /// Taken by the end.
    server: Option<ServerHandle>,
    upkeep: Option<Upkeep>,
}

/// The thread that keeps the metrics small, and what ends it when it is dropped.
struct Upkeep {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Daemon {
    /// Starts, and waits until the model serves.
    ///
    /// # Errors
    /// What `serve` would refuse to start for.
    pub fn start(settings: &Settings) -> Result<Daemon> {
        let engines = Engines::new(&settings.engine);
        engines.get(settings.engine.engine)?;
        let (manager, active) = Manager::start(ManagerSettings {
            served: models::served(settings),
            engines: engines.provider(),
            golden: golden::reader(),
            load_threads: settings.loading.threads,
            retry: settings.loading.retry,
        })
        .context("the thread that manages models cannot be started")?;
        let services = Services {
            active: active.clone(),
            manager: manager.clone(),
            readiness: Arc::new(|| true),
            metrics: Arc::new(|| export::render(false)),
            tracer: None,
        };
        let server = Server::start(settings.server.clone(), services, Vec::new())?;
        let tcp = server.addresses().iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        let daemon = Daemon {
            address: tcp.context("the daemon listens on no TCP port")?,
            engines,
            active,
            manager,
            server: Some(server),
            upkeep: Some(start_upkeep()?),
        };
        models::refuse_start(&daemon.manager.wait_initial_loads())?;
        Ok(daemon)
    }

    /// The version that answers.
    ///
    /// # Errors
    /// None does.
    pub fn version(&self) -> Result<Arc<ActiveVersion>> {
        let models = self.active.snapshot();
        let model = models.keys().next().context("no model is loaded")?;
        Ok(self.active.get(model, None)?)
    }

    pub fn engine(&self, choice: EngineChoice) -> Result<Arc<dyn Engine>, EngineError> {
        self.engines.get(choice)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let deadline = Instant::now() + STOP_DEADLINE;
        if let Some(server) = self.server.take() {
            server.finish(deadline);
        }
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() {
            runtime.block_on(self.manager.stop(deadline));
        }
        if let Some(Upkeep { stop, thread }) = self.upkeep.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn start_upkeep() -> Result<Upkeep> {
    // Nothing is ever sent: the end of the sender is the word.
    let (stop, stopped) = sync_channel(0);
    let thread = std::thread::Builder::new().name("upkeep".to_owned());
    let spawned = thread.spawn(move || {
        while stopped.recv_timeout(UPKEEP_PERIOD) == Err(RecvTimeoutError::Timeout) {
            export::run_upkeep();
        }
    });
    Ok(Upkeep { stop, thread: spawned.context("the system has no thread left")? })
}
