//! Eight 32-bit floats at a time, in whatever registers the level has.
//!
//! Eight lanes at every level, so that a kernel splits its work, and orders its sums, in one way.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
pub(crate) use portable::Portable;

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;

/// Eight floats. Only [`Work::run`](super::dispatch::Work::run) may use an implementation: it is
/// there that the instructions are known to exist.
pub(crate) trait Vector: Copy {
    fn splat(value: f32) -> Self;
    /// # Safety
    /// `from` is valid for reading [`LANES`] floats; it need not be aligned.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `to` is valid for writing [`LANES`] floats; it need not be aligned.
    unsafe fn store(self, to: *mut f32);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the level can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Lane `l` of vector `v` becomes lane `v` of vector `l`.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];
    /// Lanes of even and of odd numbers of two vectors, as if they were one of sixteen.
    fn deinterleave(self, next: Self) -> (Self, Self);
    fn to_array(self) -> [f32; LANES];
}
