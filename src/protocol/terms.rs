//! On what terms a request is decoded: for which model, within which limits.

use bytes::Bytes;

use super::{Limits, ProtocolError};
use crate::tensor::TensorSpec;

/// Asked before memory is taken that a body's length does not tell; what it answers instead of
/// giving it is the reason.
///
/// Only strings take such memory: of an empty one three bytes may come, and 32 are kept.
pub type Room<'r> = &'r dyn Fn(usize) -> Result<(), String>;

/// Room for anything: for what comes from this machine's operator.
pub const ANY_ROOM: Room<'static> = &|_| Ok(());

/// What a decoder of requests goes by.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// The model's inputs. Strings that it does not take are refused before they are read; all else
    /// is compared by [`resolve_inputs`](super::resolve_inputs).
    pub inputs: &'t [TensorSpec],
    pub limits: &'t Limits,
    pub room: Room<'t>,
}

/// Takes room for so many strings, without what is in them.
pub fn take_room(
    room: Room<'_>,
    strings: usize,
    field: &dyn Fn() -> String,
) -> Result<(), ProtocolError> {
    take_bytes(room, strings.saturating_mul(size_of::<Bytes>()), field)
}

/// Takes room for so many bytes.
pub fn take_bytes(
    room: Room<'_>,
    bytes: usize,
    field: &dyn Fn() -> String,
) -> Result<(), ProtocolError> {
    room(bytes).map_err(|reason| ProtocolError::NoRoom { field: field(), reason })
}
