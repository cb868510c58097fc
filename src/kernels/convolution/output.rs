//! A slice that several tasks write at once, each its own elements.

use std::marker::PhantomData;

/// A destination shared by tasks.
pub(super) struct Output<'a> {
    pointer: *mut f32,
    length: usize,
    _slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: whoever writes promises, at each write, that no other task touches the element.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    pub fn new(slice: &'a mut [f32]) -> Output<'a> {
        Output { pointer: slice.as_mut_ptr(), length: slice.len(), _slice: PhantomData }
    }

    /// `length` elements from `start` on.
    ///
    /// # Safety
    /// No other task reads or writes them while the slice is held.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "disjoint parts of one slice, by the caller's promise")]
    pub unsafe fn part(&self, start: usize, length: usize) -> &mut [f32] {
        assert!(start <= self.length && length <= self.length - start);
        // SAFETY: it lies within the slice, and the caller promises that it is alone there.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }
}
