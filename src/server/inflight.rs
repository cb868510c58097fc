//! Memory that request bodies may take together, over all connections: each body has its limit,
//! connections have theirs, and the product of the two is more than a machine has.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bodies that are being received or in work, and what was made of them where that is larger:
/// decompressed bodies, strings.
#[derive(Debug)]
pub struct Inflight {
    /// Added to and taken from by every network thread; orders nothing else.
    bytes: AtomicUsize,
    limit: usize,
}

/// There is no room for a body now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bodies in flight have {used} bytes, another {more} would be more than the {limit} allowed \
     together (max_inflight in the configuration)"
)]
pub struct InflightFull {
    used: usize,
    more: usize,
    limit: usize,
}

impl Inflight {
    pub fn new(limit: usize) -> Inflight {
        Inflight { bytes: AtomicUsize::new(0), limit }
    }

    /// A hold on nothing yet.
    pub fn hold(&self) -> Hold<'_> {
        Hold { inflight: self, bytes: 0 }
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One body's share, given back when it is dropped.
#[derive(Debug)]
pub struct Hold<'a> {
    inflight: &'a Inflight,
    bytes: usize,
}

impl Hold<'_> {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// They are more than is left.
    pub fn grow(&mut self, more: usize) -> Result<(), InflightFull> {
        let Inflight { bytes, limit } = self.inflight;
        // Added before it is known whether they fit: one instruction, and two who ask at the same
        // time for what only one can have are at worst both refused.
        let used = bytes.fetch_add(more, Ordering::Relaxed);
        if used.saturating_add(more) > *limit {
            bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(InflightFull { used, more, limit: *limit });
        }
        self.bytes += more;
        Ok(())
    }

    /// Takes what is missing to so many bytes.
    ///
    /// # Errors
    /// It is more than is left.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), InflightFull> {
        if bytes > self.bytes { self.grow(bytes - self.bytes) } else { Ok(()) }
    }

    /// Gives back what goes beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.inflight.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_together_stays_within_the_limit() {
        let inflight = Inflight::new(100);
        let (mut one, mut other) = (inflight.hold(), inflight.hold());
        assert_eq!(one.grow(60), Ok(()));
        assert_eq!(other.grow(41), Err(InflightFull { used: 60, more: 41, limit: 100 }));
        assert_eq!(other.grow_to(40), Ok(()));
        assert_eq!(other.grow_to(40), Ok(()));
        assert_eq!(inflight.bytes(), 100);
        one.shrink_to(70);
        one.shrink_to(10);
        assert_eq!(other.grow(50), Ok(()));
        drop(one);
        assert_eq!(inflight.bytes(), 90);
        drop(other);
        assert_eq!(inflight.bytes(), 0);
    }

    #[test]
    fn a_refusal_names_the_limit_and_its_key() {
        let inflight = Inflight::new(10);
        let error = inflight.hold().grow(usize::MAX).expect_err("too much").to_string();
        assert!(error.contains("the 10 allowed") && error.contains("max_inflight"), "{error}");
        assert_eq!(inflight.bytes(), 0);
    }
}
