//! The daemon from outside: one binary, a sentence per module.

/// What the server says of itself and its models, in both protocols, and load and unload.
mod documents;
/// Routes, statuses, forms and encodings of HTTP.
mod http;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
mod support;
