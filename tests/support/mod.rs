//! What the tests share.

pub mod client;
pub mod models;
pub mod server;
