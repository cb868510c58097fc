//! The daemon from outside: one binary, a sentence per module.

/// Who imports whom, where foreign crates and unsafe code live, how long files are.
mod architecture;
/// Routes, statuses, forms and encodings of HTTP.
mod http;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
mod support;
