//! Lanes as an array: the compiler turns the loops into what the architecture has.

use super::{LANES, Vector};

#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|lane| operation(self.0[lane], other.0[lane])))
    }
}

impl Vector for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }

    // SAFETY: as the trait has it, here and for `store`.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of floats is aligned as a float is.
        Portable(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise; an array of floats is aligned as a float is.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    /// Two roundings: without the instruction, one rounding is a call of some hundred cycles.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul(factor).add(addend)
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let row = |lane: usize| Portable(std::array::from_fn(|row| rows[row].0[lane]));
        std::array::from_fn(row)
    }

    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        let lane = |at: usize| if at < LANES { self.0[at] } else { next.0[at - LANES] };
        let every_second = |first: usize| std::array::from_fn(|at| lane(2 * at + first));
        (Portable(every_second(0)), Portable(every_second(1)))
    }

    #[inline(always)]
    fn to_array(self) -> [f32; LANES] {
        self.0
    }
}
