//! The repository over HTTP: index, load, unload, and a reload under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use onnxd::engine::{Engine, EngineError, ModelSource, Session, SessionSettings};
use onnxd::lifecycle::{Manager, ManagerSettings, RetryPolicy, ServedModels};
use serde_json::json;

use crate::support::models::{Behaviour, session, settings};
use crate::support::server::TestServer;

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;

/// An engine whose every model doubles.
struct Doubler;

impl Engine for Doubler {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn open(
        &self,
        source: &ModelSource,
        _: &SessionSettings,
    ) -> Result<Box<dyn Session>, EngineError> {
        if std::fs::read(&source.path).is_ok_and(|bytes| bytes == b"broken") {
            let reason = "it is broken".to_owned();
            return Err(EngineError::ModelInvalid { path: source.path.clone(), reason });
        }
        Ok(session(Behaviour::Double))
    }
}

fn write_model(repository: &Path, model: &str, version: u32, content: &[u8]) {
    let folder = repository.join(model).join(version.to_string());
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), content).expect("a file");
}

/// Serves a repository whose models are loaded only when asked for.
fn controlled(repository: &Path, allowed: bool) -> TestServer {
    let manager = ManagerSettings {
        served: ServedModels {
            models: Vec::new(),
            repositories: vec![repository.to_owned()],
            load_repositories: false,
            settings: Arc::new(|_, _| Ok(settings())),
        },
        engines: Arc::new(|_| Ok(Arc::new(Doubler))),
        golden: Arc::new(|_, _| Err("there are no samples".to_owned())),
        load_threads: 1,
        retry: RetryPolicy { retries: 0, delay: Duration::ZERO, delay_max: Duration::ZERO },
    };
    let (manager, active) = Manager::start(manager).expect("the manager starts");
    manager.wait_initial_loads();
    TestServer::serving(active, manager, |settings| settings.allow_repository_control = allowed)
}

#[test]
fn models_are_loaded_and_unloaded_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), "found", 3, b"whole");
    write_model(folder.path(), "broken", 1, b"broken");
    let server = controlled(folder.path(), true);
    let infer = || server.post("/v2/models/found/infer", BODY);
    let state = |model: &str| {
        let index = server.post("/v2/repository/index", "").json();
        let entries = index.as_array().expect("a list").clone();
        entries.into_iter().find(|entry| entry["name"] == model).expect("it is listed")
    };
    assert_eq!(state("found")["state"], "UNAVAILABLE");
    assert!(matches!(infer().status, 404 | 503));

    let loaded = server.post("/v2/repository/models/found/load", "");
    assert_eq!((loaded.status, loaded.body.len()), (200, 0), "{loaded:?}");
    assert_eq!(infer().json()["model_version"], "3");
    assert_eq!(state("found"), json!({ "name": "found", "version": "3", "state": "READY" }));
    let ready = server.post("/v2/repository/index", r#"{"ready":true}"#).json();
    assert_eq!(ready.as_array().map(Vec::len), Some(1));

    let failed = server.post("/v2/repository/models/broken/load", "");
    assert_eq!(failed.status, 400);
    assert!(failed.error().contains("it is broken"), "{}", failed.error());
    let unready = server.post("/v2/models/broken/infer", BODY);
    assert_eq!(unready.status, 503);
    assert_eq!(unready.header("retry-after"), Some("1"));
    assert_eq!(server.post("/v2/repository/models/none/load", "").status, 404);
    assert_eq!(server.post("/v2/repository/models/found/load", "[").status, 400);

    let unloaded = server.post("/v2/repository/models/found/unload", "{}");
    assert_eq!((unloaded.status, unloaded.body.len()), (200, 0), "{unloaded:?}");
    assert_ne!(infer().status, 200);
}

#[test]
fn control_that_is_not_allowed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), "found", 3, b"whole");
    let server = controlled(folder.path(), false);
    for action in ["load", "unload"] {
        let response = server.post(&format!("/v2/repository/models/found/{action}"), "{}");
        assert_eq!(response.status, 403, "{action}");
        assert!(response.error().contains("allow_repository_control"));
    }
    assert_eq!(server.post("/v2/repository/index", "").status, 200);
}

#[test]
fn a_reload_drops_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), "found", 1, b"whole");
    let server = controlled(folder.path(), true);
    assert_eq!(server.post("/v2/repository/models/found/load", "").status, 200);
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = server.client();
                while !stop.load(Ordering::Relaxed) {
                    let response = client.post("/v2/models/found/infer", &[], BODY.as_bytes());
                    assert_eq!(response.status, 200, "{}", response.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for version in 2..8 {
            let before = answered.load(Ordering::Relaxed);
            write_model(folder.path(), "found", version, b"whole");
            let loaded = server.post("/v2/repository/models/found/load", "");
            assert_eq!(loaded.status, 200, "{}", loaded.text());
            while answered.load(Ordering::Relaxed) < before + 30 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let last = server.post("/v2/models/found/infer", BODY).json();
    assert_eq!(last["model_version"], "7");
}
