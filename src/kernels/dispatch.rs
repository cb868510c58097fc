//! Which instructions this processor has, found once, and how a kernel is compiled for each.
//!
//! A kernel is written once, over [`Vector`], as a [`Work`]; [`Level::run`] compiles it for every
//! level. Everything that `run` reaches in the inner loop must be `#[inline(always)]`: what is not
//! inlined is compiled for the oldest processor, and right but slow.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::vector::Avx2;
use super::vector::{Portable, Vector};

/// A set of instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and FMA: eight lanes, and products added in one rounding.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// Arithmetic that is written once and compiled for every level.
pub(crate) trait Work {
    type Output;

    /// Implementations are `#[inline(always)]`.
    fn run<V: Vector>(self) -> Self::Output;
}

impl Level {
    /// The best level that this processor has.
    pub(crate) fn detected() -> Level {
        static DETECTED: OnceLock<Level> = OnceLock::new();
        *DETECTED.get_or_init(|| *Level::available().last().expect("the portable one is there"))
    }

    /// Every level that this processor has, the best last.
    pub(crate) fn available() -> Vec<Level> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Level::Avx2);
        }
        levels
    }

    /// Runs `work` with the instructions of this level.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Level::Portable => work.run::<Portable>(),
            // SAFETY: the value exists only where `available` found both features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(work) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Work>(work: W) -> W::Output {
    work.run::<Avx2>()
}
