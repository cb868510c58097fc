//! What a service manager is told: ready, reloading, stopping, a status line, and that the daemon
//! is alive.
//!
//! The protocol's words come from `sd-notify`; the socket is ours, because that crate reads the
//! environment at every call and cannot reach an abstract address, which is where a container's
//! manager often listens.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// The service manager that started this process, or nobody. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    ///
    /// # Errors
    /// It is named but cannot be reached.
    pub fn from_environment() -> io::Result<ServiceManager> {
        match env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) {
            None => Ok(ServiceManager::none()),
            Some(address) => ServiceManager::at(&address),
        }
    }

    /// Nobody: what is said is lost, and that is no error.
    pub fn none() -> ServiceManager {
        ServiceManager { socket: None }
    }

    /// The one that listens at a path, or at `@name` in the abstract namespace.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn at(address: &OsStr) -> io::Result<ServiceManager> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(address)?,
        }
        Ok(ServiceManager { socket: Some(Arc::new(socket)) })
    }

    /// Whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    fn tell(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let lines: Vec<String> = states.iter().map(NotifyState::to_string).collect();
        socket.send(lines.join("\n").as_bytes()).map(drop)
    }

    /// Start-up, or a reload, is complete.
    ///
    /// # Errors
    /// The manager cannot be told; so for each of these.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))])
    }

    /// The configuration is read again; [`ServiceManager::ready`] ends it, whatever came of it.
    ///
    /// # Errors
    /// The manager cannot be told.
    pub fn reloading(&self) -> io::Result<()> {
        // The moment pairs this with the signal that asked for it.
        self.tell(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// # Errors
    /// The manager cannot be told.
    pub fn stopping(&self, status: &str) -> io::Result<()> {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))])
    }

    /// What `systemctl status` shows.
    ///
    /// # Errors
    /// The manager cannot be told.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.tell(&[NotifyState::Status(&one_line(status))])
    }

    /// Loading large models takes longer than a manager waits by default: asks for this much
    /// more.
    ///
    /// # Errors
    /// The manager cannot be told.
    pub fn extend_timeout(&self, time: Duration) -> io::Result<()> {
        let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::ExtendTimeoutUsec(microseconds)])
    }

    /// # Errors
    /// The manager cannot be told.
    pub fn alive(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Watchdog])
    }
}

/// A line break would begin another assignment of the protocol.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

/// How often the manager wants to hear from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    timeout: Duration,
}

impl Watchdog {
    /// What `WATCHDOG_USEC` asks of this process; `None` where nothing is asked.
    pub fn from_environment() -> Option<Watchdog> {
        sd_notify::watchdog_enabled().and_then(Watchdog::new)
    }

    /// `None` for no time at all, which no process could keep.
    pub fn new(timeout: Duration) -> Option<Watchdog> {
        (!timeout.is_zero()).then_some(Watchdog { timeout })
    }

    /// After this long without a word, the manager takes the process for dead.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Says that the process is alive, twice per timeout, as long as `healthy` says so: a process
    /// that runs but does not serve is better restarted. Runs until dropped.
    pub async fn run(self, manager: ServiceManager, healthy: impl Fn() -> bool) {
        let mut ticks = interval(self.timeout / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if healthy() {
                // A manager that restarts itself misses one; the next may reach it.
                let _ = manager.alive();
            }
        }
    }
}

/// A sign of life that one thread gives and another looks at: shows that a runtime still gets
/// round to its tasks. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    epoch: Instant,
    /// Milliseconds after the epoch of the last beat. Written by the watched runtime's task, read
    /// by the watchdog's.
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Beats once, now.
    pub fn new() -> Heartbeat {
        Heartbeat { epoch: Instant::now(), last_ms: Arc::new(AtomicU64::new(0)) }
    }

    pub fn beat(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Beats every so often, on the runtime that is to be watched. Runs until dropped.
    pub async fn run(&self, period: Duration) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.beat();
        }
    }

    /// Since the last beat.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A service manager at a path of its own.
    fn manager() -> (tempfile::TempDir, UnixDatagram, ServiceManager) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let manager = ServiceManager::at(path.as_os_str()).unwrap();
        (folder, socket, manager)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a message within the timeout");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_message_is_one_datagram_of_assignments() {
        let (_folder, socket, manager) = manager();
        manager.ready("2 models\nREADY=0").unwrap();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=2 models READY=0");
        manager.stopping("draining").unwrap();
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=draining");
        manager.extend_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(heard(&socket), "EXTEND_TIMEOUT_USEC=30000000");
    }

    #[test]
    fn a_reload_carries_the_monotonic_clock() {
        let (_folder, socket, manager) = manager();
        let clock = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
        };
        let before = clock();
        manager.reloading().unwrap();
        let message = heard(&socket);
        let usec = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both at once");
        let usec: i128 = usec.parse().unwrap();
        assert!((before..=clock()).contains(&usec), "{usec}");
    }

    #[test]
    fn an_abstract_address_is_reached() {
        let name = format!("onnxd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap().alive().unwrap();
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_fails() {
        let nobody = ServiceManager::none();
        assert!(!nobody.is_there());
        nobody.ready("up").unwrap();
        nobody.reloading().unwrap();
        assert!(ServiceManager::at(OsStr::new("/nonexistent/notify")).is_err());
        assert_eq!(Watchdog::new(Duration::ZERO), None);
    }

    #[tokio::test]
    async fn the_watchdog_falls_silent_when_the_daemon_is_not_healthy() {
        let (_folder, socket, manager) = manager();
        let healthy = Arc::new(AtomicBool::new(true));
        let watchdog = Watchdog::new(Duration::from_millis(20)).unwrap();
        let task = tokio::spawn(watchdog.run(manager.clone(), {
            let healthy = healthy.clone();
            move || healthy.load(Ordering::Relaxed)
        }));
        let socket = tokio::net::UnixDatagram::from_std({
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let socket = socket.unwrap();
        let mut buffer = [0; 64];
        for _ in 0..3 {
            let length = socket.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"WATCHDOG=1");
        }
        healthy.store(false, Ordering::Relaxed);
        // On this one thread, the task can only have sent before: what is queued is all.
        while socket.try_recv(&mut buffer).is_ok() {}
        let silent = tokio::time::timeout(watchdog.timeout() * 3, socket.recv(&mut buffer)).await;
        assert!(silent.is_err(), "it spoke though the daemon is not healthy");
        task.abort();
    }

    #[tokio::test]
    async fn a_runtime_that_gets_round_to_its_tasks_beats() {
        let heart = Heartbeat::new();
        let last = || heart.last_ms.load(Ordering::Relaxed);
        let beating = heart.run(Duration::from_millis(1));
        let _ = tokio::time::timeout(Duration::from_millis(20), beating).await;
        let beaten = last();
        assert!(beaten > 0, "it beats while its runtime runs");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(last(), beaten, "it stops with its runtime");
        assert!(heart.age() >= Duration::from_millis(4));
    }
}
