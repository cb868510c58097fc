//! tract: pure Rust, always there.
