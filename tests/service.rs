//! The daemon under a service manager, which the tests play: the notify, watchdog and activation
//! protocols, the reload and the stop, on the real binary.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::debian::installed_program;
use crate::support::digits_model;

/// `onnxd serve` of the model that ships, on the engine that is always there.
fn serve() -> Command {
    let mut command = Daemon::command(&["--model", digits_model(), "--engine", "tract"]);
    // The tests may themselves run under a service manager.
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"] {
        command.env_remove(variable);
    }
    command
}

/// A service manager's end of the notify protocol.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().expect("a folder of the test's own");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a free path");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Manager { socket, folder }
    }

    fn address(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The next message that has this assignment; what comes before it is passed over.
    fn wait_for(&self, assignment: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|line| line == assignment) {
                return message;
            }
        }
    }

    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the daemon speaks in time");
        let text = std::str::from_utf8(&buffer[..length]).expect("assignments are UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

/// Waits for something that no message announces.
fn eventually(what: &str, happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The status of a request that is right.
fn infer(daemon: &Daemon) -> u16 {
    let body = json!({"inputs": [{
        "name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": vec![0.0; 64],
    }]});
    daemon.post_json("/v2/models/digits/infer", &body).status
}

/// A configuration file with these lines.
fn configuration(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("onnxd.toml");
    std::fs::write(&path, text).expect("the folder is writable");
    path
}

#[test]
fn a_service_manager_hears_ready_and_stopping() {
    let manager = Manager::new();
    let mut command = serve();
    command.env("NOTIFY_SOCKET", manager.address());
    let daemon = Daemon::launch(command);
    let ready = manager.wait_for("READY=1");
    assert!(ready.iter().any(|line| line.starts_with("STATUS=")), "{ready:?}");
    assert_eq!(daemon.get("/v2/health/ready").status, 200, "ready is said when it is true");
    daemon.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn the_watchdog_is_fed() {
    let manager = Manager::new();
    let mut command = serve();
    command.env("NOTIFY_SOCKET", manager.address()).env("WATCHDOG_USEC", "1000000");
    let _daemon = Daemon::launch(command);
    manager.wait_for("READY=1");
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_that_is_anothers_is_left_alone() {
    let manager = Manager::new();
    let mut command = serve();
    command.env("NOTIFY_SOCKET", manager.address());
    command.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let daemon = Daemon::launch(command);
    manager.wait_for("READY=1");
    daemon.signal("TERM");
    // Everything it says until its end.
    loop {
        let message = manager.next();
        assert!(!message.iter().any(|line| line == "WATCHDOG=1"), "{message:?}");
        if message.iter().any(|line| line == "STOPPING=1") {
            break;
        }
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_reload_is_begun_and_ended_and_a_bad_one_changes_nothing() {
    let manager = Manager::new();
    let path = configuration(manager.folder.path(), "[logging]\nlevel = \"info\"\n");
    let mut command = serve();
    command.arg("--config").arg(&path).env("NOTIFY_SOCKET", manager.address());
    let daemon = Daemon::launch(command);
    manager.wait_for("READY=1");

    daemon.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1");
    let usec = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok()), "{reloading:?}");
    manager.wait_for("READY=1");
    eventually("the reload in the log", || daemon.log().contains("configuration reloaded"));

    configuration(manager.folder.path(), "[logging]\nlevel = \"loud\"\n");
    daemon.signal("HUP");
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    eventually("the refusal in the log", || daemon.log().contains("nothing was changed"));
    assert!(daemon.log().contains("loud"), "the log says what is wrong:\n{}", daemon.log());
    assert_eq!(infer(&daemon), 200);
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.contains("onnxd_reloads_total{outcome=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("onnxd_reloads_total{outcome=\"ok\"} 1"), "{metrics}");
}

#[test]
fn readiness_turns_false_while_requests_are_still_answered_and_a_second_signal_ends_it() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let text = "[shutdown]\ngrace = \"10min\"\ndeadline = \"20min\"\n";
    let path = configuration(folder.path(), text);
    let mut command = serve();
    command.arg("--config").arg(&path);
    let daemon = Daemon::launch(command);
    eventually("readiness", || daemon.get("/v2/health/ready").status == 200);
    daemon.signal("TERM");
    eventually("readiness turning false", || daemon.get("/v2/health/ready").status != 200);
    let unready = daemon.get("/v2/health/ready");
    assert_eq!((unready.status, unready.header("retry-after")), (503, Some("1")));
    assert_eq!(daemon.metric("onnxd_ready", &[]), 0.0);
    assert_eq!(daemon.get("/v2/health/live").status, 200);
    assert_eq!(infer(&daemon), 200);
    daemon.signal("TERM");
    let log = daemon.shared_log();
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "what is cut off is not a success");
    let stopped = log
        .lock()
        .expect("no thread panics with the log")
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|line| line["message"] == "stopped" && line["deadline_met"] == false);
    assert!(stopped, "the log says that something was cut off");
}

/// Starts the daemon as systemd does: descriptors from 3 on, and the variables that count them
/// and name who they are for. A shell puts them in their places, because only the new process
/// knows its own number.
fn activate(first: impl Into<OwnedFd>, second: impl Into<OwnedFd>, pid: &str) -> Command {
    let serve = serve();
    let script = format!("LISTEN_FDS=2 LISTEN_PID={pid} exec \"$@\" 3<&0 4<&1 0</dev/null 1>&0");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg("sh").arg(serve.get_program()).args(serve.get_args());
    shell.stdin(Stdio::from(first.into())).stdout(Stdio::from(second.into()));
    shell
}

fn over_unix(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream
        .write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n\r\n")
        .expect("the daemon reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn inherited_sockets_take_the_place_of_configured_ones() {
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let path = folder.path().join("onnxd.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("it is bound");
    let unix = UnixListener::bind(&path).expect("a free path");
    let daemon = Daemon::launch(activate(tcp, unix, "$$"));
    assert_eq!(daemon.address, address, "it listens on what it was given, and on nothing else");
    assert_eq!(daemon.get("/v2/health/live").status, 200);
    assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
    // Logged before it is ready, and read here by another thread.
    daemon.await_ready();
    let begin = Instant::now();
    while daemon.log().matches("\"inherited\"").count() < 2 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(daemon.log().matches("\"inherited\"").count(), 2, "{}", daemon.log());
    assert!(!daemon.log().contains("\"bound\""), "{}", daemon.log());
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(path.exists(), "a socket file belongs to who made it");
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("it is bound");
    let second = tcp.as_fd().try_clone_to_owned().expect("a descriptor");
    let daemon = Daemon::launch(activate(tcp, second, "1"));
    assert_ne!(daemon.address, address);
    assert!(daemon.log().contains("\"bound\""), "{}", daemon.log());
}

#[test]
fn systemds_own_activator_starts_it_with_the_first_connection() {
    let program = installed_program("systemd", "systemd-socket-activate");
    let serve = serve();
    // Taken and given back: the activator wants a number.
    let address =
        TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let mut command = Command::new(program);
    command.arg("--listen").arg(address.to_string()).arg(serve.get_program());
    command.args(serve.get_args()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The first connection waits in the backlog until the daemon takes it.
    let visitor = std::thread::spawn(move || {
        let begin = Instant::now();
        let mut stream = loop {
            match std::net::TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) if begin.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("the activator does not listen: {error}"),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let request = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("the daemon reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let daemon = Daemon::launch(command);
    assert_eq!(daemon.address, address);
    let answer = visitor.join().expect("the visitor is answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
