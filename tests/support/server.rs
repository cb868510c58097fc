//! A server of the tests' own, in this process, on a port that the system chooses.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onnxd::engine::{EngineChoice, EngineError};
use onnxd::lifecycle::{
    ActiveModels, Manager, ManagerHandle, ManagerSettings, RetryPolicy, ServedModels,
};
use onnxd::server::{
    BoundListener, ListenAddress, Server, ServerError, ServerHandle, ServerSettings, Services,
};

use onnxd::telemetry::traces::Tracer;

use super::client::{Client, PATIENCE, Response};
use super::models::Model;

/// A running server and what its tests turn.
pub struct TestServer {
    pub handle: Option<ServerHandle>,
    pub active: Arc<ActiveModels>,
    pub ready: Arc<AtomicBool>,
    pub address: SocketAddr,
}

impl TestServer {
    /// Serves these models with these settings changed.
    pub fn start(models: Vec<Model>, change: impl FnOnce(&mut ServerSettings)) -> TestServer {
        let active = ActiveModels::of(models.into_iter().map(Model::load).collect());
        TestServer::serving(Arc::new(active), idle_manager(), change)
    }

    /// Serves one model and traces its requests.
    pub fn traced(model: Model, tracer: Tracer) -> TestServer {
        let active = Arc::new(ActiveModels::of(vec![model.load()]));
        TestServer::assembled(active, idle_manager(), Some(Arc::new(tracer)), Vec::new(), |_| {})
    }

    /// Serves one model at a listener of the test's own.
    pub fn behind(
        listener: TcpListener,
        model: Model,
        change: impl FnOnce(&mut ServerSettings),
    ) -> TestServer {
        let active = Arc::new(ActiveModels::of(vec![model.load()]));
        let inherited = vec![BoundListener::Tcp(listener)];
        TestServer::assembled(active, idle_manager(), None, inherited, |settings| {
            settings.listen.clear();
            change(settings);
        })
    }

    pub fn serving(
        active: Arc<ActiveModels>,
        manager: ManagerHandle,
        change: impl FnOnce(&mut ServerSettings),
    ) -> TestServer {
        TestServer::assembled(active, manager, None, Vec::new(), change)
    }

    fn assembled(
        active: Arc<ActiveModels>,
        manager: ManagerHandle,
        tracer: Option<Arc<Tracer>>,
        inherited: Vec<BoundListener>,
        change: impl FnOnce(&mut ServerSettings),
    ) -> TestServer {
        let any = "127.0.0.1:0".parse().expect("an address");
        let mut settings = ServerSettings::standard(vec![ListenAddress::Tcp(any)]);
        change(&mut settings);
        let ready = Arc::new(AtomicBool::new(true));
        let services = Services { tracer, ..services(active.clone(), manager, ready.clone()) };
        let handle = Server::start(settings, services, inherited).expect("the server starts");
        let address = handle.addresses().iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        let address = address.unwrap_or(any);
        TestServer { handle: Some(handle), active, ready, address }
    }

    /// Only starts, with nothing to serve.
    pub fn try_start(
        settings: ServerSettings,
        inherited: Vec<BoundListener>,
    ) -> Result<ServerHandle, ServerError> {
        let ready = Arc::new(AtomicBool::new(true));
        let services = services(Arc::default(), idle_manager(), ready);
        Server::start(settings, services, inherited)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    pub fn post(&self, path: &str, body: &str) -> Response {
        self.client().post(path, &[], body.as_bytes())
    }

    /// Waits until that many requests wait in the model's queue.
    pub fn wait_for_queue(&self, model: &str, depth: usize) {
        let version = self.active.get(model, None).expect("the model serves");
        let started = Instant::now();
        while version.batcher.queue_depth() != depth {
            assert!(started.elapsed() < PATIENCE, "the queue does not come to {depth}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn stop_accepting(&self) {
        self.handle.as_ref().expect("the server runs").stop_accepting();
    }

    /// Finishes within that time; says whether nothing was cut off.
    pub fn finish(&mut self, within: Duration) -> bool {
        let handle = self.handle.take().expect("the server runs");
        handle.finish(Instant::now() + within)
    }
}

fn services(active: Arc<ActiveModels>, manager: ManagerHandle, ready: Arc<AtomicBool>) -> Services {
    Services {
        active,
        manager,
        readiness: Arc::new(move || ready.load(Ordering::Relaxed)),
        metrics: Arc::new(|| "onnxd_requests_total 7\n".to_owned()),
        tracer: None,
    }
}

/// A manager without any model.
fn idle_manager() -> ManagerHandle {
    let settings = ManagerSettings {
        served: ServedModels {
            models: Vec::new(),
            repositories: Vec::new(),
            load_repositories: false,
            settings: Arc::new(|_, _| Err("there are no models".to_owned())),
        },
        engines: Arc::new(|_: EngineChoice| {
            Err(EngineError::RunFailed { reason: "there is no engine".to_owned() })
        }),
        golden: Arc::new(|_, _| Err("there are no samples".to_owned())),
        load_threads: 1,
        retry: RetryPolicy { retries: 0, delay: Duration::ZERO, delay_max: Duration::ZERO },
    };
    Manager::start(settings).expect("the manager starts").0
}
