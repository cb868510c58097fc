//! The real daemon as a process: started on a free port, stopped when the test ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::exposition;

/// Longest that a test waits for anything the daemon should do at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

/// What came back over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Daemon {
    /// Starts `onnxd serve` with these arguments and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Daemon {
        let daemon = Daemon::spawn(arguments);
        daemon.await_ready();
        daemon
    }

    /// Waits until everything that is served at the start was loaded or refused.
    pub fn await_ready(&self) {
        let begin = Instant::now();
        // Not the route: a model that was refused makes that one say no.
        while self.events("ready").is_empty() {
            assert!(begin.elapsed() < PATIENCE, "it does not become ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts `onnxd serve` and waits only until it listens.
    pub fn spawn(arguments: &[&str]) -> Daemon {
        let mut command = Daemon::command(arguments);
        command.stdout(Stdio::null());
        Daemon::launch(command)
    }

    /// `onnxd serve` with these arguments, on a free port.
    pub fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onnxd"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(arguments);
        command
    }

    /// Runs a command that becomes the daemon, and waits only until it listens.
    pub fn launch(mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary was built");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, address) = std::sync::mpsc::sync_channel(1);
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The log first: a test that has the address may ask for the line with it.
                let address = listening_address(&line);
                lines.lock().expect("no thread panics with the log").push(line);
                if let Some(address) = address {
                    let _ = found.try_send(address);
                }
            }
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Daemon { child, address, log },
            Err(_) => {
                let _ = child.kill();
                let log = log.lock().expect("no thread panics with the log").join("\n");
                panic!("the daemon never listened:\n{log}");
            }
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the daemon logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no thread panics with the log").join("\n")
    }

    /// The logged events with this message, as JSON.
    pub fn events(&self, message: &str) -> Vec<serde_json::Value> {
        let log = self.log();
        let events = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        events.filter(|event: &serde_json::Value| event["message"] == message).collect()
    }

    /// The sum of all series of that name that have these labels; 0 where there are none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        exposition::sum(&self.get("/metrics").text(), name, labels)
    }

    /// Waits until the metric has this value.
    pub fn await_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let begin = Instant::now();
        loop {
            let actual = self.metric(name, labels);
            if actual == expected {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{name} {labels:?} stays at {actual}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The log, to be read when the daemon has ended.
    pub fn shared_log(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.log)
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        // The shell's own: the program of that name is not everywhere.
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell is there");
        assert!(status.success());
    }

    /// Waits for the process to end by itself.
    pub fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the daemon did not end:\n{}", self.log());
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post_json(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes)
    }

    /// Bytes as they are, and the answer up to the end of the connection.
    pub fn send_raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        // The daemon may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        parse_answer(&received)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse_answer(received: &[u8]) -> Answer {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(received)));
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut answer = Answer { status, head, body: received[end + 4..].to_vec() };
    if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        answer.body = dechunk(&answer.body);
    }
    answer
}

fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(line) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..line]).expect("a chunk size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[line + 2..line + 2 + size]);
        body = &body[line + 2 + size + 2..];
    }
    whole
}

/// The address in the log line that says where the daemon listens.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    if fields.get("message")?.as_str()? != "listening" {
        return None;
    }
    fields.get("address")?.as_str()?.parse().ok()
}
