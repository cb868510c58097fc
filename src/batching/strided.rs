//! Copying a box of elements from one row-major array into another: the one piece of arithmetic
//! behind joining, padding, splitting and un-padding.

use smallvec::SmallVec;

use crate::tensor::Shape;

/// A place inside an array: the array's shape, and where in it the box begins.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub shape: &'a [usize],
    pub start: &'a [usize],
}

impl Place<'_> {
    fn strides(&self) -> Shape {
        let mut strides: Shape = SmallVec::from_elem(1, self.shape.len());
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        strides
    }
}

/// Calls `copy(from, to, length)` for every contiguous run of a box of `size` that lies at `from`
/// in one array and at `to` in another; positions and lengths count elements. The caller
/// guarantees that the box lies inside both.
pub(super) fn for_each_run(
    size: &[usize],
    from: Place<'_>,
    to: Place<'_>,
    mut copy: impl FnMut(usize, usize, usize),
) {
    if size.contains(&0) {
        return;
    }
    let (from_strides, to_strides) = (from.strides(), to.strides());
    let offset = |strides: &[usize], start: &[usize]| -> usize {
        strides.iter().zip(start).map(|(stride, start)| stride * start).sum()
    };
    let (mut source, mut target) =
        (offset(&from_strides, from.start), offset(&to_strides, to.start));
    // The run covers the innermost axes on which the box spans both arrays whole, and the first
    // one outside of them.
    let mut split = size.len();
    let mut length = 1;
    while split > 0 {
        let axis = split - 1;
        length *= size[axis];
        split = axis;
        if size[axis] != from.shape[axis] || size[axis] != to.shape[axis] {
            break;
        }
    }
    let mut index: Shape = SmallVec::from_elem(0, split);
    loop {
        copy(source, target, length);
        // Odometer over the axes outside the run.
        let mut axis = split;
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            source += from_strides[axis];
            target += to_strides[axis];
            if index[axis] < size[axis] {
                break;
            }
            source -= from_strides[axis] * size[axis];
            target -= to_strides[axis] * size[axis];
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies a box of `size` from an array counting 0, 1, 2… into zeros.
    fn check(
        size: &[usize],
        from: (&[usize], &[usize]),
        to: (&[usize], &[usize]),
        expected: &[usize],
        runs: usize,
    ) {
        let mut target = vec![0; to.0.iter().product()];
        let mut count = 0;
        for_each_run(
            size,
            Place { shape: from.0, start: from.1 },
            Place { shape: to.0, start: to.1 },
            |source, place, length| {
                count += 1;
                for step in 0..length {
                    target[place + step] = source + step + 1;
                }
            },
        );
        assert_eq!((target.as_slice(), count), (expected, runs));
    }

    #[test]
    fn boxes_are_copied_in_the_longest_runs() {
        // Whole rows along the first axis: one run.
        check(&[2, 3], (&[2, 3], &[0, 0]), (&[3, 3], &[1, 0]), &[0, 0, 0, 1, 2, 3, 4, 5, 6], 1);
        // Along the second axis: a run per outer index.
        check(&[2, 1], (&[2, 1], &[0, 0]), (&[2, 3], &[0, 1]), &[0, 1, 0, 0, 2, 0], 2);
        // Out of the middle of a larger array.
        check(&[2, 2], (&[3, 4], &[1, 1]), (&[2, 2], &[0, 0]), &[6, 7, 10, 11], 2);
        // Three axes, the middle one cut.
        check(&[2, 1, 2], (&[2, 2, 2], &[0, 1, 0]), (&[2, 1, 2], &[0, 0, 0]), &[3, 4, 7, 8], 2);
        // A scalar is one run of one element; an empty box is none.
        check(&[], (&[], &[]), (&[], &[]), &[1], 1);
        check(&[0, 2], (&[0, 2], &[0, 0]), (&[1, 2], &[0, 0]), &[0, 0], 0);
    }
}
