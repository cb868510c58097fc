//! onnxd: one daemon that serves ONNX models and trains them.
//!
//! Reading order, from the outside in: `commands` (one file per subcommand, where the parts
//! meet), `config`, `server`, `protocol`, `lifecycle`, `repository`, `batching`, `engine`,
//! `onnx`, `tensor`; beside them `kernels`, `process` and `telemetry`.
//!
//! Without the feature `daemon`, which is on by default, what is left is all but the command line
//! and the engines that run models: what the fuzz targets need, built in a fraction of the time.

pub mod autodiff;
pub mod batching;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod commands;
pub mod config;
#[cfg(feature = "daemon")]
pub mod data;
pub mod engine;
pub mod kernels;
pub mod lifecycle;
pub mod onnx;
pub mod process;
pub mod protocol;
pub mod repository;
pub mod server;
pub mod telemetry;
pub mod tensor;
#[cfg(feature = "daemon")]
pub mod train;
