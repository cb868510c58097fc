//! The daemon from outside: one binary, a sentence per module.

/// Who imports whom, where foreign crates and unsafe code live, how long files are.
mod architecture;
/// A model is measured by the command that is there for it.
mod bench;
/// Bodies: chunked, large, compressed, over the limit.
mod bodies;
/// What the server says of itself and its models, in both protocols.
mod documents;
/// Answers that are known are asked for before a version serves.
mod golden;
/// Routes, statuses and forms of HTTP.
mod http;
/// HTTP/2 without TLS.
mod http2;
/// Bodies of all connections together stay within one limit.
mod inflight;
/// The alert rules and the dashboard use what the daemon exports, and nothing else.
mod monitoring;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
/// A real Prometheus scrapes the daemon and answers questions about it.
mod prometheus;
/// A server's threads give signs of life, and one that hangs is named.
mod pulse;
/// Real models that others made, on both engines.
mod real_models;
/// The repository over HTTP: index, load, unload, and a reload under load.
mod repository_control;
/// The daemon as a user meets it: start, right answers, clear refusals, a clean stop.
mod serve;
/// The protocols of a service manager, with the real binary.
mod service;
/// Requests, loads and faults in an order that nobody thought of.
mod simulation;
mod support;
/// Requests that are traced, at a collector of the tests' own.
mod traced_requests;
/// Spans are what the OpenTelemetry protocol's own definitions say they are.
mod traces;
/// NVIDIA's own client works unchanged.
mod tritonclient;
/// The systemd units are valid, and leave the daemon no more rights than it needs.
mod units;
