//! Training: a model file and data go in, the same file with better weights comes out.
//!
//! Reading order: `observe` (types and shapes of every value, by running the model once), `open`
//! (from a graph in memory to a session).

mod error;
mod observe;
mod open;

pub use error::TrainError;
pub use observe::{Observed, observe};
pub use open::open;
