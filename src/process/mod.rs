//! What any unix daemon needs, whatever it serves.
//!
//! Reading order: `phase` (where the process is in its life), `readiness` (whether it should be
//! sent requests), `signals`, `shutdown` (the stop, step by step), `systemd` (what a service
//! manager is told), `activation` (sockets it hands over), `limits`. Nothing here logs: each part
//! says what happened to who called it.

pub mod activation;
pub mod limits;
pub mod phase;
pub mod readiness;
pub mod shutdown;
pub mod signals;
pub mod systemd;

pub use activation::{ActivatedListener, ActivationError};
pub use limits::{RaisedLimit, raise_open_files};
pub use phase::{Phase, Phases};
pub use readiness::{Latch, Readiness};
pub use shutdown::{Stop, StopOutcome, StopSettings, StopStep};
pub use signals::{SignalEvent, Signals, StopSignal};
pub use systemd::{Heartbeat, ServiceManager, Watchdog};
