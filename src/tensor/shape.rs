//! Shapes: how many elements along each axis.

use smallvec::SmallVec;

/// Sizes along each axis, outermost first; a scalar's is empty. Four axes fit without a heap
/// allocation, which covers nearly every request.
pub type Shape = SmallVec<[usize; 4]>;

/// Elements in a tensor of this shape (1 for a scalar), or `None` where the count does not fit
/// in `usize`: shapes come from outside and must not wrap.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the tensor empty, however large the other axes are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_scalars_empties_and_refuses_overflow() {
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[2, 3]), Some(6));
        assert_eq!(element_count(&[usize::MAX, 2, 0]), Some(0));
        assert_eq!(element_count(&[usize::MAX, 2]), None);
    }
}
