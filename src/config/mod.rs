//! Text to settings.

mod problem;
mod section;
pub mod units;
mod values;
pub use problem::{COMMAND_LINE, ConfigProblems, Problem, ProblemKind};
