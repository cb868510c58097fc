//! The session's own threads, lent to a kernel: a pool of another kind beside them would fight for
//! the same processors.

use std::sync::atomic::{AtomicBool, Ordering};

use ort::operator::ComputeContext;

use crate::kernels::Parallel;

pub(super) struct SessionThreads<'a> {
    context: &'a ComputeContext,
    count: usize,
    failed: AtomicBool,
}

// SAFETY: the context is only read, by ONNX Runtime's own function for starting work on the
// session's pool, which may be called from any thread; it outlives this borrow of it.
unsafe impl Sync for SessionThreads<'_> {}

impl<'a> SessionThreads<'a> {
    pub fn new(context: &'a ComputeContext, count: usize) -> SessionThreads<'a> {
        SessionThreads { context, count, failed: AtomicBool::new(false) }
    }

    /// Whether some work was not done.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Parallel for SessionThreads<'_> {
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // As many batches as tasks: tasks are not all alike, and whoever is free takes the next.
        if self.context.par_for(tasks, tasks, task).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn threads(&self) -> usize {
        self.count
    }
}
