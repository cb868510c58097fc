//! A real Prometheus scrapes the real daemon, and is asked what it found.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use onnxd::telemetry::names::{self, Kind};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::debian::unpacked_program;
use crate::support::digits_model;
use crate::support::python::root;

/// A Prometheus of the test's own, stopped when it ends.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// With the configuration and the rules that ship, but for the target's address and a pace
    /// that a test can wait for.
    fn scraping(target: SocketAddr) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder of the test's own");
        let shipped = root().join("config/prometheus");
        let read =
            |name: &str| std::fs::read_to_string(shipped.join(name)).expect("the file ships");
        let configuration = read("prometheus.yml")
            .replace("127.0.0.1:8000", &target.to_string())
            .replace("15s", "200ms");
        std::fs::write(folder.path().join("prometheus.yml"), configuration)
            .expect("the folder is writable");
        std::fs::write(folder.path().join("onnxd.rules.yml"), read("onnxd.rules.yml"))
            .expect("the folder is writable");
        // Taken and given back: the command line wants a number.
        let address = TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("it is bound");
        let log = std::fs::File::create(folder.path().join("log")).expect("the folder is writable");
        let child = Command::new(unpacked_program("prometheus", "prometheus"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program was fetched for this");
        Prometheus { child, address, folder }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // HTTP/1.0: the answer ends with the connection, and comes in no chunks.
        let request = format!("GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// The series that an expression has now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String =
            expression.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"));
        answer.and_then(|answer| answer["data"]["result"].as_array().cloned()).unwrap_or_default()
    }

    /// The value of an expression with one series.
    fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).first()?["value"][1].as_str()?.parse().ok()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Prometheus) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            if begin.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!("{what} did not come true:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn infer(daemon: &Daemon, pixels: usize) -> u16 {
    let body = json!({"inputs": [{
        "name": "pixels", "shape": [1, pixels], "datatype": "FP32", "data": vec![0.0; pixels],
    }]});
    daemon.post_json("/v2/models/digits/infer", &body).status
}

#[test]
fn prometheus_scrapes_the_daemon_and_answers_for_it() {
    let daemon = Daemon::start(&["--model", digits_model(), "--engine", "tract"]);
    for _ in 0..5 {
        assert_eq!(infer(&daemon, 64), 200);
    }
    assert_eq!(infer(&daemon, 63), 400);
    let prometheus = Prometheus::scraping(daemon.address);
    prometheus.wait_until("a scrape", |it| it.value("up{job=\"onnxd\"}") == Some(1.0));

    let ok = "onnxd_requests_total{model=\"digits\",version=\"1\",outcome=\"ok\"}";
    prometheus.wait_until("five requests", |it| it.value(ok) == Some(5.0));
    prometheus.wait_until("one more", |it| {
        infer(&daemon, 64);
        it.value(ok).is_some_and(|count| count > 5.0)
    });
    for (expression, expected) in [
        ("onnxd_requests_total{outcome=\"invalid\"}", 1.0),
        ("onnxd_ready", 1.0),
        ("onnxd_model_ready{model=\"digits\"}", 1.0),
        ("onnxd_engine_info{engine=\"tract\",device=\"cpu\"}", 1.0),
    ] {
        assert_eq!(prometheus.value(expression), Some(expected), "{expression}");
    }
    let runs = "onnxd_inference_seconds_count{model=\"digits\"}";
    assert!(prometheus.value(runs).is_some_and(|count| count >= 5.0), "{runs}");
    let quantile = "histogram_quantile(0.99, sum by (le) (onnxd_request_seconds_bucket))";
    assert!(prometheus.value(quantile).is_some_and(|seconds| seconds > 0.0), "{quantile}");

    // What a healthy daemon has from its start, it has in Prometheus too.
    for metric in names::OF_VERSIONS.iter().chain(names::OF_PROCESS) {
        let suffix = match metric.kind {
            Kind::Counter | Kind::Gauge => "",
            Kind::Seconds | Kind::Rows => "_count",
        };
        let found = !prometheus.query(&format!("{}{suffix}", metric.name)).is_empty();
        let rare = [names::ENGINE_NODES, names::MODEL_MEMORY].contains(metric);
        assert!(found || rare, "{} was not scraped", metric.name);
    }
    let rules = prometheus.get("/api/v1/rules").expect("the rules that ship are loaded");
    let groups = rules["data"]["groups"].as_array().expect("groups").clone();
    let of_group = |group: &Value| group["rules"].as_array().expect("rules").clone();
    let all: Vec<Value> = groups.iter().flat_map(of_group).collect();
    assert!(all.len() > 10, "{} rules are loaded", all.len());
    for rule in &all {
        assert_ne!(rule["health"], "err", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    drop(daemon);
    prometheus.wait_until("the daemon's end", |it| it.value("up{job=\"onnxd\"}") == Some(0.0));
}
