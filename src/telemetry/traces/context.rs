//! Trace and span identities, and the W3C `traceparent` header that carries them.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// The flag that says somebody upstream records this trace.
const SAMPLED: u8 = 1;

/// Who called: what `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header. `None` where it is not one: the standard wants a new trace
    /// then, not an error.
    pub fn parse(header: &str) -> Option<TraceContext> {
        let mut parts = header.trim_matches([' ', '\t']).splitn(5, '-');
        let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        // Version 0 ends here; later ones may go on, and are read as far as they are known.
        let over = version == 0 && parts.next().is_some();
        if version == 0xff || over || trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(TraceContext { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(formatter, "00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id)
    }
}

/// Lower-case hexadecimal of exactly this many digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// Makes identities: a counter hashed under a random key, so that they neither repeat within a
/// process nor meet those of another.
pub(super) struct IdSource {
    key: RandomState,
    count: AtomicU64,
}

impl IdSource {
    pub(super) fn new() -> IdSource {
        IdSource { key: RandomState::new(), count: AtomicU64::new(0) }
    }

    pub(super) fn span_id(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // Zero means "none" in the standard.
        self.key.hash_one(count).max(1)
    }

    pub(super) fn trace_id(&self) -> u128 {
        (u128::from(self.span_id()) << 64) | u128::from(self.span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_comes_back_as_it_was() {
        let context = TraceContext::parse(HEADER).expect("the standard's own example");
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(context.sampled);
        assert_eq!(context.to_string(), HEADER);
    }

    #[test]
    fn what_is_not_a_traceparent_begins_a_new_trace() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert!(TraceContext::parse(later).is_some_and(|context| !context.sampled));
    }

    #[test]
    fn identities_do_not_repeat() {
        let ids = IdSource::new();
        let seen: std::collections::HashSet<u64> = (0..10_000).map(|_| ids.span_id()).collect();
        assert_eq!(seen.len(), 10_000);
        assert_ne!(IdSource::new().trace_id(), IdSource::new().trace_id());
    }
}
