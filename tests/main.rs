//! The one integration binary: each module holds one promise.

/// What Debian's and Python's package archives give, fetched by name where it is missing.
mod packages;

/// The alert rules and the dashboard use what the daemon exports, and nothing else.
mod monitoring;
/// Spans are what the OpenTelemetry protocol's own definitions say they are.
mod traces;
/// The systemd units are valid, and leave the daemon no more rights than it needs.
mod units;
