//! HTTP: hyper, and only here.
//!
//! An admin thread owns the listeners and answers health, metrics and administration itself;
//! connections that ask for inference go to data threads, each a runtime of its own, on which
//! short models run as well. Every route is answered on every thread, so a kept connection may
//! ask for anything.
//!
//! Reading order: `settings`, `handle` (start, stop, threads), `pulse` (do the threads live),
//! `listener` (sockets), `admin` (permits, who serves what), `data`, `network` (what a thread
//! holds), `stream` and `watched` (the socket), `progress` and `taking` (does it move; limits),
//! `connection`, `service` (what every response has in common), `host` (one to a request), `router`
//! (a match on path segments), `handlers`, `request_body`, `inflight` (what bodies take together),
//! `response_body`, `account` (each request counted once), `request_id`, `trace`, `respond` (error
//! to status, the one place), `compression`, `openapi`.

mod account;
mod admin;
mod compression;
mod connection;
mod data;
mod handle;
mod handlers;
mod host;
mod inflight;
mod listener;
mod network;
mod openapi;
mod progress;
mod pulse;
mod request_body;
mod request_id;
mod respond;
mod response_body;
mod router;
mod service;
mod settings;
mod stream;
mod taking;
mod trace;
mod watched;

pub use handle::{Server, ServerError, ServerHandle, Services};
pub use listener::BoundListener;
pub use pulse::{BEAT_PERIOD, Pulse, Silent};
pub use settings::{
    DEFAULT_BODY_TIMEOUT, DEFAULT_HEADER_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_LISTEN,
    DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_INFLIGHT_BYTES,
    DEFAULT_MAX_JSON_DEPTH, DEFAULT_NETWORK_THREADS, DEFAULT_RETRY_AFTER, ListenAddress,
    ServerSettings,
};
