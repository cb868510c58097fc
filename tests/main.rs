//! The daemon from outside: one binary, a sentence per module.

/// Bodies: chunked, large, compressed, over the limit.
mod bodies;
/// What the server says of itself and its models, in both protocols.
mod documents;
/// Routes, statuses and forms of HTTP.
mod http;
/// HTTP/2 without TLS.
mod http2;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
/// The repository over HTTP: index, load, unload, and a reload under load.
mod repository_control;
mod support;
/// Requests that are traced, at a collector of the tests' own.
mod traces;
