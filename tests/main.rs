//! The one integration binary: each module holds one promise.

/// Who imports whom, where foreign crates and unsafe code live, how long files are.
mod architecture;
/// Routes, statuses, forms and encodings of HTTP.
mod http;
/// Clients that are slow, silent, greedy or gone, and the end of the server.
mod patience;
mod support;
/// What Debian's and Python's package archives give, fetched by name where it is missing.
mod packages;

/// The alert rules and the dashboard use what the daemon exports, and nothing else.
mod monitoring;
/// Spans are what the OpenTelemetry protocol's own definitions say they are.
mod traces;
/// The systemd units are valid, and leave the daemon no more rights than it needs.
mod units;
