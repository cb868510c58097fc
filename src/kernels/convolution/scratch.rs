//! Memory that a call needs beside its operands: allocated before the first task, bounded by the
//! shape and the threads, given back at the end.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::kernels::KernelError;

/// Floats of a cache line. A vector that lies across two lines takes two loads.
pub(super) const LINE: usize = 16;

/// A size that is tuned for caches. Tests take a small one, so that small shapes exceed it.
pub(super) const fn test_small(size: usize, in_tests: usize) -> usize {
    if cfg!(test) { in_tests } else { size }
}

/// Floats that begin at a cache line.
pub(super) struct Buffer {
    allocation: NonNull<f32>,
    layout: Layout,
    /// Where the first line begins in the allocation.
    start: usize,
    length: usize,
}

impl Buffer {
    /// `length` zeros, or none where a product that led to the length overflowed. The allocator
    /// gives the zeros: what it has fresh from the system it need not write.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn zeros(kernel: &'static str, length: Option<usize>) -> Result<Buffer, KernelError> {
        let length = length.unwrap_or(usize::MAX);
        let refused =
            || KernelError::Memory { kernel, bytes: length.saturating_mul(size_of::<f32>()) };
        // A line more than asked for, to begin at one: so the layout is never empty.
        let layout = Layout::array::<f32>(length.saturating_add(LINE)).map_err(|_| refused())?;
        // SAFETY: the layout has at least a line.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        let allocation = allocation.cast::<f32>();
        let start = allocation.align_offset(LINE * size_of::<f32>()).min(LINE);
        Ok(Buffer { allocation, layout, start, length })
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the allocation holds `LINE` more floats than `length`, `start` is at most
        // `LINE`, and all were zeros before anything else was written.
        unsafe { slice::from_raw_parts(self.allocation.as_ptr().add(self.start), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the buffer is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.allocation.as_ptr().add(self.start), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.allocation.as_ptr().cast(), self.layout) };
    }
}

// SAFETY: a buffer owns its memory, as a vector does.
unsafe impl Send for Buffer {}
// SAFETY: through a shared buffer its memory is only read.
unsafe impl Sync for Buffer {}

/// Equal buffers, one for each task that runs at the same time.
pub(super) struct Scratch {
    free: Mutex<Vec<Buffer>>,
    /// Told by each task that gives a buffer back; a task waits where a pool runs more tasks at
    /// once than it said.
    returned: Condvar,
}

impl Scratch {
    /// # Errors
    /// The memory cannot be had.
    pub fn new(
        kernel: &'static str,
        length: Option<usize>,
        count: usize,
    ) -> Result<Self, KernelError> {
        let buffers = (0..count.max(1)).map(|_| Buffer::zeros(kernel, length));
        let free = Mutex::new(buffers.collect::<Result<_, _>>()?);
        Ok(Scratch { free, returned: Condvar::new() })
    }

    /// A buffer for as long as `task` runs, with whatever the task before left in it.
    pub fn with<T>(&self, task: impl FnOnce(&mut [f32]) -> T) -> T {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = loop {
            match free.pop() {
                Some(buffer) => break buffer,
                None => free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(free);
        let result = task(&mut buffer);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        self.returned.notify_one();
        result
    }
}
