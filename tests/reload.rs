//! SIGHUP on the real binary: what has changed is taken up while requests are answered; a bad
//! configuration changes nothing and says why.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::graphs;
use crate::support::repository::{ONE_THREAD, Repository};
use crate::support::request::{fp32, infer_json, output};

/// A daemon whose configuration names a repository with one model.
struct Served {
    repository: Repository,
    /// Apart from the models.
    home: Repository,
    daemon: Daemon,
}

impl Served {
    fn start() -> Served {
        let repository = Repository::new();
        repository.model("first", &graphs::affine(), "");
        let home = Repository::new();
        let path = home.write("onnxd.toml", configuration(repository.text(), ""));
        let path = path.to_str().expect("a UTF-8 path");
        let daemon = Daemon::start(&["--config", path, "--engine", "tract"]);
        Served { repository, home, daemon }
    }

    /// Sends SIGHUP and waits until it has been dealt with, well or not.
    fn reload(&self) {
        let outcomes = || {
            let daemon = &self.daemon;
            daemon.metric("onnxd_reloads_total", &[])
        };
        let before = outcomes();
        self.daemon.signal("HUP");
        let begin = Instant::now();
        while outcomes() <= before {
            assert!(begin.elapsed() < PATIENCE, "nothing came of SIGHUP:\n{}", self.daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn refused(&self) -> f64 {
        self.daemon.metric("onnxd_reloads_total", &[("outcome", "refused")])
    }

    /// Lines of the log that say this.
    fn lines(&self, words: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Waits for as many of them: the log is read by a thread of the test's.
    fn await_lines(&self, words: &str, count: usize) {
        let begin = Instant::now();
        while self.lines(words) != count {
            assert!(begin.elapsed() < PATIENCE, "{words:?} {count} times:\n{}", self.daemon.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn status(&self, path: &str) -> u16 {
        self.daemon.get(path).status
    }

    fn assert_first_serves(&self) {
        let answer = infer_json(&self.daemon, "first", &[fp32("x", &[1, 4], &[1.0; 4])]);
        assert_eq!(output(&answer, "y"), json!(vec![3.0; 4]));
    }
}

fn configuration(repository: &str, more: &str) -> String {
    format!("repositories = [{repository:?}]\n{more}")
}

#[test]
fn a_new_model_is_loaded_a_new_version_taken_up_and_a_removed_model_let_go() {
    let served = Served::start();
    assert_eq!(served.status("/v2/models/second/ready"), 404);
    served.repository.model("second", &graphs::twice(17), "");
    // Until somebody says so, nothing happens.
    assert_eq!(served.status("/v2/models/second/ready"), 404);
    served.reload();
    let answer = infer_json(&served.daemon, "second", &[fp32("x", &[1, 3], &[1.0, 2.0, 3.0])]);
    assert_eq!(output(&answer, "y"), json!([2.0, 4.0, 6.0]));

    served.repository.version("second", 2, &graphs::twice(18));
    served.reload();
    let versions =
        |served: &Served| served.daemon.get("/v2/models/second").json()["versions"].clone();
    assert_eq!(versions(&served), json!(["2"]));
    // A version that cannot be loaded does not take the place of one that serves.
    served.repository.write("second/3/model.onnx", "no model");
    served.reload();
    assert_eq!(versions(&served), json!(["2"]));
    served.await_lines("second/3/model.onnx: not a usable ONNX model", 1);

    std::fs::remove_dir_all(served.repository.path().join("second")).expect("it is ours");
    served.reload();
    // It is known until its memory is free.
    let begin = Instant::now();
    while served.status("/v2/models/second/ready") != 404 {
        assert!(begin.elapsed() < PATIENCE, "it stays:\n{}", served.daemon.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    served.assert_first_serves();
    assert_eq!(served.refused(), 0.0);
}

#[test]
fn a_models_changed_settings_are_taken_up() {
    let served = Served::start();
    let batching = || {
        let metadata = served.daemon.get("/v2/models/first").json();
        metadata["parameters"]["batching"]["batched"].clone()
    };
    assert_eq!(batching(), true);
    served.repository.write("first/model.toml", format!("batching = \"off\"\n{ONE_THREAD}"));
    served.reload();
    assert_eq!(batching(), false);
    served.assert_first_serves();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let served = Served::start();
    // It would be taken up by a good one.
    served.repository.model("second", &graphs::twice(17), "");
    let good = configuration(served.repository.text(), "");
    let bad = [
        ("repositories = [\n".to_owned(), "onnxd.toml:"),
        (format!("{good}[server]\nlisten = [\"nowhere\"]\n"), "cannot listen on"),
        (format!("{good}[loging]\nlevel = \"debug\"\n"), "did you mean logging?"),
        (format!("{good}[model_defaults]\nmax_batch_size = 0\n"), "max_batch_size"),
        (configuration("/no/such/folder", ""), "/no/such/folder"),
    ];
    for (count, (text, why)) in bad.iter().enumerate() {
        served.home.write("onnxd.toml", text);
        served.reload();
        assert_eq!(served.refused(), count as f64 + 1.0, "{text}");
        served.await_lines("nothing was changed", count + 1);
        let log = served.daemon.log();
        let last = log.lines().rfind(|line| line.contains("nothing was changed"));
        let last = last.expect("it was waited for");
        assert!(last.contains(why), "{why:?} is not in {last}");
        served.assert_first_serves();
        assert_eq!(served.status("/v2/models/second/ready"), 404);
        assert_eq!(served.status("/v2/health/ready"), 200);
    }
    served.home.write("onnxd.toml", &good);
    served.reload();
    assert_eq!(served.status("/v2/models/second/ready"), 200);
    assert_eq!(served.refused(), bad.len() as f64);
}

#[test]
fn what_needs_a_restart_is_said() {
    let served = Served::start();
    let rows = [
        ("[server]\nmax_connections = 7\n", "[server]"),
        ("[loading]\nthreads = 3\n", "loading.threads"),
        ("[loading]\nretries = 2\n", "loading.retries"),
        ("[loading]\nretry_delay = \"2s\"\n", "loading.retry_delay"),
        ("[loading]\nretry_delay_max = \"2min\"\n", "loading.retry_delay_max"),
        ("[shutdown]\ngrace = \"3s\"\n", "[shutdown]"),
    ];
    for (text, section) in rows {
        // From what is in force without it.
        served.home.write("onnxd.toml", configuration(served.repository.text(), ""));
        served.reload();
        let expected = format!("{section} has changed and needs a restart");
        let before = served.lines(&expected);
        served.home.write("onnxd.toml", configuration(served.repository.text(), text));
        served.reload();
        served.await_lines(&expected, before + 1);
        served.assert_first_serves();
    }
}

/// Warm-up of [`graphs::affine`], a few milliseconds for each run.
fn warm_up(runs: usize) -> String {
    format!("[[warm_up]]\nbatch_size = 65536\ncount = {runs}\n")
}

#[test]
fn a_reload_that_is_asked_for_while_the_first_models_load_happens_after() {
    let repository = Repository::new();
    repository.model("slow", &graphs::affine(), &warm_up(300));
    let home = Repository::new();
    let path = home.write("onnxd.toml", configuration(repository.text(), ""));
    let path = path.to_str().expect("a UTF-8 path");
    let daemon = Daemon::spawn(&["--config", path, "--engine", "tract"]);
    daemon.signal("HUP");
    daemon.await_metric("onnxd_reloads_total", &[("outcome", "ok")], 1.0);
}

#[test]
fn a_stop_does_not_wait_for_what_a_reload_loads() {
    let served = Served::start();
    // Hours of it.
    served.repository.model("slow", &graphs::affine(), &warm_up(10_000).repeat(900));
    served.daemon.signal("HUP");
    let begin = Instant::now();
    while served.status("/v2/models/slow/ready") == 404 {
        assert!(begin.elapsed() < PATIENCE, "it is not known:\n{}", served.daemon.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    served.daemon.signal("TERM");
    assert_eq!(served.daemon.wait().code(), Some(0));
}

#[test]
fn no_request_is_lost_while_versions_change() {
    let served = Served::start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        served.assert_first_serves();
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for version in 2..6 {
            served.repository.version("first", version, &graphs::affine());
            served.reload();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("the client is content") > 0);
        }
    });
    assert_eq!(served.daemon.get("/v2/models/first").json()["versions"], json!(["5"]));
}
