//! What an operator decides about the HTTP side.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where no address is given: this machine alone, for the API has no password.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8000";
/// Connections at once; more wait in the kernel's backlog.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;
/// Triton's limit of a body, compressed and decompressed alike.
pub const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of bodies at once: sixteen of the largest, or a quarter of a megabyte for each
/// connection; a small machine's memory holds it beside its models.
pub const DEFAULT_MAX_INFLIGHT_BYTES: usize = 1024 * 1024 * 1024;
/// JSON may nest this deep: a tensor of 32 axes is beyond any model.
pub const DEFAULT_MAX_JSON_DEPTH: usize = 64;
/// A client that has not sent its request's head by then is cut off.
pub const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client must deliver its request's body within this.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection on which nothing moves is closed after this: longer than the 60 s after which
/// usual load balancers close theirs, so that they close first and no request meets a closing
/// connection.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// `Retry-After` of 429 and 503: a queue or a load rarely takes longer to ease.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// One network thread serves 60,000 small requests a second; more threads split the batches.
pub const DEFAULT_NETWORK_THREADS: usize = 1;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        let with_host = text.replace("localhost:", "127.0.0.1:");
        with_host.parse().map(ListenAddress::Tcp).map_err(|_| {
            format!("cannot listen on {text:?}: expected ADDRESS:PORT, [IPV6]:PORT or unix:/path")
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(formatter),
            ListenAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Settings of the HTTP side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    pub listen: Vec<ListenAddress>,
    pub network_threads: usize,
    pub max_connections: usize,
    pub max_body_bytes: usize,
    /// Bodies that are received or in work, over all connections, decompressed ones and the
    /// strings made of them as well; what goes beyond is refused with 503.
    pub max_inflight_bytes: usize,
    pub max_json_depth: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    /// Without a request, or without taking what is written to it, a connection lives this long;
    /// it must take 8 KiB a second on average over this time while something waits for it.
    pub idle_timeout: Duration,
    /// `Retry-After` of 429 and 503.
    pub retry_after: Duration,
    /// Whether the server is ready only while every model that should serve does.
    pub strict_readiness: bool,
    /// Whether `load` and `unload` are allowed over HTTP.
    pub allow_repository_control: bool,
    /// Whether `/metrics` carries Triton's `nv_*` names too.
    pub triton_metrics: bool,
}

impl ServerSettings {
    /// What a daemon without any configuration gets, listening at `listen`.
    pub fn standard(listen: Vec<ListenAddress>) -> ServerSettings {
        ServerSettings {
            listen,
            network_threads: DEFAULT_NETWORK_THREADS,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_inflight_bytes: DEFAULT_MAX_INFLIGHT_BYTES,
            max_json_depth: DEFAULT_MAX_JSON_DEPTH,
            header_timeout: DEFAULT_HEADER_TIMEOUT,
            body_timeout: DEFAULT_BODY_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            retry_after: DEFAULT_RETRY_AFTER,
            strict_readiness: true,
            allow_repository_control: false,
            triton_metrics: false,
        }
    }
}
