//! The daemon from outside: one binary, a sentence per module.

/// What the server says of itself and its models, in both protocols.
mod documents;
/// Routes, statuses, forms and encodings of HTTP.
mod http;
/// HTTP/2 without TLS.
mod http2;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
/// The repository over HTTP: index, load, unload, and a reload under load.
mod repository_control;
mod support;
