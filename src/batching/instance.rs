//! A thread that owns a session and runs what is due until the version is closed and drained.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::shared::Shared;
use super::slot::Slot;

/// A running instance. Its session comes back through the handle: it is freed by whoever joins,
/// not by whichever thread happens to end.
pub(super) type Instance = JoinHandle<Slot>;

/// Starts an instance on this session.
///
/// # Errors
/// The system has no thread left.
pub(super) fn start(shared: Arc<Shared>, mut slot: Slot) -> std::io::Result<Instance> {
    Builder::new().name("onnxd-instance".to_owned()).spawn(move || {
        while let Some(batch) = shared.wait_next() {
            shared.execute(&mut slot, batch);
        }
        slot
    })
}
