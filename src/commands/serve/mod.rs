//! `onnxd serve`: the daemon, assembled.
//!
//! Reading order: this file (start to stop), `engines` (made on first use), `golden`
//! (samples with known answers), `models` (from settings to what the manager serves), `reload`
//! (SIGHUP).

pub(super) mod engines;
pub(super) mod golden;
pub(super) mod models;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use self::engines::Engines;
use self::reload::Reload;
use super::Ending;
use crate::config::{self, Overrides, Settings};
use crate::engine::DeviceChoice;
use crate::lifecycle::{LoadOutcome, Manager, ManagerHandle, ManagerSettings};
use crate::process::shutdown::Stop;
use crate::process::{
    ActivatedListener, Latch, Phase, Phases, Readiness, ServiceManager, SignalEvent, Signals,
    StopOutcome, StopSettings, StopSignal, StopStep, Watchdog, activation, raise_open_files,
};
use crate::server::{BEAT_PERIOD, BoundListener, Pulse, Server, ServerHandle, Services, Silent};
use crate::telemetry::traces::Tracer;
use crate::telemetry::{events, export, logging};

/// How often histograms are moved into their buckets: until then each value takes memory.
const UPKEEP_PERIOD: Duration = Duration::from_secs(1);
/// What a service manager is asked to wait beyond its own limit, again and again, while models
/// load.
const LOADING_EXTENSION: Duration = Duration::from_secs(30);

/// A network thread that beats late by less than this is busy, whatever a watchdog's timeout.
const LEAST_SILENCE: Duration = BEAT_PERIOD.saturating_mul(3);

/// What the traces of the last requests may take to leave.
const TRACES_DEADLINE: Duration = Duration::from_secs(2);

/// What the environment hands over: read before there is a second thread.
struct Inheritance {
    sockets: Vec<ActivatedListener>,
    service_manager: ServiceManager,
    watchdog: Option<Watchdog>,
}

impl Inheritance {
    fn take() -> anyhow::Result<Inheritance> {
        Ok(Inheritance {
            sockets: activation::from_environment()?,
            service_manager: ServiceManager::from_environment()
                .context("the service manager that NOTIFY_SOCKET names cannot be reached")?,
            watchdog: Watchdog::from_environment(),
        })
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// The configuration is wrong ([`config::ConfigProblems`]), an address cannot be listened on, or
/// what was asked for by name (engine, device, the only model) cannot be had.
pub(super) fn serve(overrides: Overrides) -> anyhow::Result<Ending> {
    let inheritance = Inheritance::take()?;
    let settings = config::load(&overrides)?;
    models::require_places(&settings)?;
    let log = logging::install(settings.logging.format, &settings.logging.level)?;
    events::started();
    if let Err(error) = raise_open_files() {
        events::warning(&format_args!("the limit of open files stays as it is: {error}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the main thread")?;
    let ending = runtime.block_on(run(overrides, settings, inheritance, log));
    // What joins the network threads may still wait for one that a run holds up, beyond deadline
    // and second signal: dropping the runtime would wait with it.
    runtime.shutdown_background();
    ending
}

async fn run(
    overrides: Overrides,
    settings: Settings,
    inheritance: Inheritance,
    log: logging::LoggingHandle,
) -> anyhow::Result<Ending> {
    let mut signals = Signals::new().context("signals cannot be handled")?;
    let engines = Engines::new(&settings.engine);
    // A named engine that is not there is a refusal to start, whatever the models say later.
    engines.get(settings.engine.engine)?;
    let (manager, active) = Manager::start(ManagerSettings {
        served: models::served(&settings),
        engines: engines.provider(),
        golden: golden::reader(),
        load_threads: settings.loading.threads,
        retry: settings.loading.retry,
    })
    .context("the thread that manages models cannot be started")?;
    let (readiness, starting) = Readiness::new();
    let phases = Phases::default();
    let tracer = settings.traces.as_ref().map(Tracer::start).transpose()?.map(Arc::new);
    let server = {
        let readiness = readiness.clone();
        let triton_names = settings.server.triton_metrics;
        let services = Services {
            active,
            manager: manager.clone(),
            readiness: Arc::new(move || readiness.is_ready()),
            metrics: Arc::new(move || export::render(triton_names)),
            tracer: tracer.clone(),
        };
        listen(&settings, services, inheritance.sockets)?
    };
    phases.enter(Phase::Serving);
    let service_manager = inheritance.service_manager;
    let background = tokio::task::LocalSet::new();
    background.spawn_local(upkeep());
    if let Some(watchdog) = inheritance.watchdog {
        let healthy = watched(server.pulse(), watchdog.timeout());
        background.spawn_local(watchdog.run(service_manager.clone(), healthy));
    }
    let mut life = Life {
        manager,
        server: Some(server),
        readiness,
        phases,
        service_manager,
        stop: settings.shutdown,
        device: settings.model_defaults.session.device,
        reload: Reload::new(overrides, settings, log),
    };
    let code = background
        .run_until(async {
            let stop = match life.load(starting, &mut signals).await? {
                Some(signal) => signal,
                None => life.serve(&mut signals).await,
            };
            Ok::<Ending, anyhow::Error>(life.stop(stop, &mut signals).await)
        })
        .await?;
    if let Some(tracer) = tracer.and_then(Arc::into_inner) {
        tracer.shutdown(TRACES_DEADLINE);
    }
    Ok(code)
}

/// Sockets that a service manager hands over take the place of the configured addresses: it owns
/// them, and two owners of one port would be one too many.
fn listen(
    settings: &Settings,
    services: Services,
    sockets: Vec<ActivatedListener>,
) -> anyhow::Result<ServerHandle> {
    let mut server_settings = settings.server.clone();
    if !sockets.is_empty() {
        server_settings.listen.clear();
    }
    let inherited = sockets.into_iter().map(|socket| match socket {
        ActivatedListener::Tcp(listener) => BoundListener::Tcp(listener),
        ActivatedListener::Unix(listener) => BoundListener::Unix(listener),
    });
    Ok(Server::start(server_settings, services, inherited.collect())?)
}

/// Whether the daemon serves, as far as its threads show: that this thread runs shows nothing of
/// those that answer requests. The watchdog's own timeout is the bound, so that a long batch on a
/// network thread is no reason for a restart.
fn watched(pulse: Pulse, timeout: Duration) -> impl Fn() -> bool {
    let limit = timeout.max(LEAST_SILENCE);
    move || match pulse.silent(limit) {
        None => true,
        Some(Silent { thread, since }) => {
            let seconds = since.as_secs_f32();
            events::warning(&format_args!(
                "thread {thread} has done nothing for {seconds:.1} s, the watchdog is not fed"
            ));
            false
        }
    }
}

async fn upkeep() {
    let mut ticks = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        ticks.tick().await;
        export::run_upkeep();
    }
}

/// The daemon from listening to its end.
struct Life {
    manager: ManagerHandle,
    /// Taken by the stop.
    server: Option<ServerHandle>,
    readiness: Readiness,
    phases: Phases,
    service_manager: ServiceManager,
    stop: StopSettings,
    /// The device that models run on where they name none.
    device: DeviceChoice,
    reload: Reload,
}

impl Life {
    /// Waits for the models of the start, then releases the latch; a signal that comes first is
    /// returned.
    async fn load(
        &self,
        starting: Latch,
        signals: &mut Signals,
    ) -> anyhow::Result<Option<StopSignal>> {
        let mut extend = tokio::time::interval(LOADING_EXTENSION / 3);
        let loads = self.manager.initial_loads();
        tokio::pin!(loads);
        loop {
            tokio::select! {
                biased;
                signal = signals.next_stop() => return Ok(Some(signal)),
                outcomes = &mut loads => {
                    models::refuse_start(&outcomes, self.device)?;
                    self.warn_of_nothing(&outcomes);
                    // Ready first: who is told looks at once.
                    starting.release();
                    events::ready_changed(true);
                    self.tell(self.service_manager.ready(&status(&outcomes)));
                    return Ok(None);
                }
                _ = extend.tick() => {
                    self.tell(self.service_manager.extend_timeout(LOADING_EXTENSION));
                }
            }
        }
    }

    /// A daemon without models is ready, and may be given some; mostly it is a mistake.
    fn warn_of_nothing(&self, outcomes: &[LoadOutcome]) {
        if outcomes.is_empty() {
            events::warning(&"no model is loaded: the repositories hold none, or none at start");
        }
    }

    /// Serves, reloading when asked, until a signal to stop.
    async fn serve(&mut self, signals: &mut Signals) -> StopSignal {
        loop {
            match signals.next().await {
                SignalEvent::Stop(signal) => return signal,
                SignalEvent::Reload => {
                    self.tell(self.service_manager.reloading());
                    tokio::select! {
                        biased;
                        // The models of a reload may load for minutes: a stop does not wait.
                        signal = signals.next_stop() => return signal,
                        status = self.reload.run(&self.manager) => {
                            self.tell(self.service_manager.ready(&status));
                        }
                    }
                }
            }
        }
    }

    async fn stop(&mut self, signal: StopSignal, signals: &mut Signals) -> Ending {
        self.tell(self.service_manager.stopping("draining"));
        let server = self.server.take().expect("the stop happens once");
        let manager = self.manager.clone();
        let close = |deadline| {
            server.stop_accepting();
            async move {
                // Its threads are joined: that blocks, so it happens beside this runtime.
                let finished = tokio::task::spawn_blocking(move || server.finish(deadline)).await;
                let report = manager.stop(deadline).await;
                finished.unwrap_or(false) && report.drained
            }
        };
        let grace = self.stop.grace;
        let observe = |step| match step {
            StopStep::Draining => {
                events::ready_changed(false);
                events::draining(&signal, grace);
            }
            StopStep::ListenersClosed => events::listening_stopped(),
        };
        let stop = Stop { settings: self.stop, readiness: &self.readiness, phases: &self.phases };
        let outcome = stop.run(close, signals.next_stop(), observe).await;
        match outcome {
            StopOutcome::Finished(took) => events::stopped(took, None),
            StopOutcome::DeadlinePassed(took) => {
                events::stopped(took, Some(&"the deadline passed"));
            }
            StopOutcome::Interrupted(signal, took) => {
                events::stopped(took, Some(&format_args!("a second signal, {signal}")));
            }
        }
        if outcome.finished() { Ending::Done } else { Ending::Failed }
    }

    /// A service manager that cannot be told is worth a line, and no reason to fail.
    fn tell(&self, told: std::io::Result<()>) {
        if let Err(error) = told {
            events::warning(&format_args!("the service manager cannot be told: {error}"));
        }
    }
}

/// What `systemctl status` shows.
fn status(outcomes: &[LoadOutcome]) -> String {
    let ready = outcomes.iter().filter(|outcome| !outcome.ready.is_empty()).count();
    let failed = outcomes.len() - ready;
    match failed {
        0 => format!("{ready} models serve"),
        _ => format!("{ready} models serve, {failed} failed to load"),
    }
}
