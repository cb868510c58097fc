//! Servers under measurement run as processes of their own, so that the operating system's
//! accounts of CPU time and memory are theirs alone.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the daemon to measure, such as one built with `--profile release-lto`.
pub const BINARY_VARIABLE: &str = "ONNXD_BINARY";

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From the start of the process until it was ready.
    pub start_to_ready: Duration,
}

/// The daemon that is measured: the one that cargo built for this benchmark, unless the
/// environment names another build of it.
pub fn binary() -> PathBuf {
    std::env::var_os(BINARY_VARIABLE)
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_onnxd")), PathBuf::from)
}

impl Server {
    /// The bare server: this very executable, asked to be one.
    pub fn bare(answer: &Path, header_length: usize) -> Server {
        let start = Instant::now();
        let this = std::env::current_exe().expect("the benchmark runs from a file");
        let mut child = Command::new(this)
            .arg("--bare-server")
            .arg(answer)
            .arg(header_length.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this executable starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the bare server prints its address");
        let address = line.trim().parse().expect("an address");
        Server { child, address, start_to_ready: start.elapsed() }
    }

    /// The daemon, with these arguments besides the address.
    pub fn daemon(arguments: &[&str]) -> Server {
        let address = free_address();
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let start = Instant::now();
        let child = Command::new(binary())
            .arg("serve")
            .args(["--listen", &address.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the temporary file opens again"))
            .spawn()
            .expect("the daemon starts");
        // Owned from here on, so that it is ended however this goes on.
        let mut server = Server { child, address, start_to_ready: Duration::ZERO };
        // Models that are measured at load take seconds to be ready; a minute is a failure.
        while start.elapsed() < Duration::from_secs(60) {
            if is_ready(address) {
                server.start_to_ready = start.elapsed();
                return server;
            }
            if server.child.try_wait().expect("the child is ours").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = std::fs::read_to_string(log.path()).unwrap_or_default();
        panic!("the daemon did not become ready:\n{log}");
    }

    /// CPU seconds used so far, user and system.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("the child lives");
        // The command's name may hold spaces: fields count from behind its closing bracket.
        let fields: Vec<&str> =
            stat[stat.rfind(')').expect("a name in brackets") + 2..].split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident memory in MB (10^6 bytes).
    pub fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the child lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        let kib: f64 = line.split_whitespace().nth(1).expect("a value").parse().expect("a number");
        kib * 1024.0 / 1e6
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address")
}

fn is_ready(address: SocketAddr) -> bool {
    use std::io::Write;
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let request = b"GET /v2/health/ready HTTP/1.1\r\nHost: onnxd\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
