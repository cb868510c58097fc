//! Threads as a kernel sees them: somebody else's.
//!
//! An engine hands its own pool to a kernel; a second pool beside it made a training step 1.6 times
//! slower. Nothing here keeps a thread.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs tasks on the threads of whoever calls a kernel.
pub trait Parallel: Sync {
    /// Calls `task` once with every number below `tasks`, on any thread, in any order, and returns
    /// when all have returned.
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));

    /// How many tasks can run at once. A kernel may choose its speed by it, never its result.
    fn threads(&self) -> usize;
}

/// One task after the other, on the thread that calls.
#[derive(Debug, Clone, Copy)]
pub struct Sequential;

impl Parallel for Sequential {
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }

    fn threads(&self) -> usize {
        1
    }
}

/// Threads that are started for every call and end with it: for tests, and for work that is long
/// against starting a thread.
#[derive(Debug, Clone, Copy)]
pub struct ScopedThreads {
    pub count: usize,
}

impl Parallel for ScopedThreads {
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                // Relaxed: it hands out numbers and orders nothing else; the scope's end does.
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= tasks {
                    break;
                }
                task(index);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.count.min(tasks) {
                scope.spawn(work);
            }
            work();
        });
    }

    fn threads(&self) -> usize {
        self.count.max(1)
    }
}

/// Calls `task` once with every part and its number, in parallel. A part is what one task alone may
/// write: a slice, or a tuple of them.
///
/// Each part is taken out of a lock, once: so no implementation of [`Parallel`], however wrong, can
/// give two tasks the same memory. A lock costs some 20 ns, against tasks of microseconds.
pub fn for_each_part<P: Send>(
    parallel: &dyn Parallel,
    parts: impl IntoIterator<Item = P>,
    task: impl Fn(usize, P) + Sync,
) {
    let parts: Vec<Mutex<Option<P>>> =
        parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    parallel.for_each(parts.len(), &|index| {
        let part = parts.get(index).and_then(|part| part.lock().ok()?.take());
        if let Some(part) = part {
            task(index, part);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parallel: &dyn Parallel, tasks: usize) {
        let mut counts = vec![0_usize; tasks];
        for_each_part(parallel, counts.iter_mut(), |index, count| *count += index + 1);
        assert_eq!(counts, (1..=tasks).collect::<Vec<_>>());
    }

    #[test]
    fn every_part_is_given_to_its_task_once() {
        for tasks in [0, 1, 2, 7, 100] {
            check(&Sequential, tasks);
            for count in 0..4 {
                check(&ScopedThreads { count }, tasks);
            }
        }
    }

    #[test]
    fn a_pool_that_calls_tasks_twice_and_too_many_gives_no_part_twice() {
        struct Wrong;
        impl Parallel for Wrong {
            fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
                (0..tasks + 3).chain(0..tasks).for_each(task);
            }
            fn threads(&self) -> usize {
                1
            }
        }
        check(&Wrong, 5);
    }
}
