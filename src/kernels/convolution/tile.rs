//! The innermost loops: a tile of sums that stays in registers.

#![expect(clippy::needless_range_loop, reason = "rows and columns are numbered in what is summed")]

use crate::kernels::vector::{LANES, Vector};

/// `R` by `C` vectors of sums.
pub(super) type Sums<V, const R: usize, const C: usize> = [[V; C]; R];

/// Each row begins with the same vectors.
#[inline(always)]
pub(super) fn same_rows<V: Vector, const R: usize, const C: usize>(row: &[f32]) -> Sums<V, R, C> {
    assert!(row.len() == C * LANES);
    let mut sums = [[V::splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            // SAFETY: the row has `C` vectors.
            sums[r][c] = unsafe { V::load(row.as_ptr().add(c * LANES)) };
        }
    }
    sums
}

/// Sums that lie row by row.
#[inline(always)]
pub(super) fn load<V: Vector, const R: usize, const C: usize>(from: &[f32]) -> Sums<V, R, C> {
    assert!(from.len() == R * C * LANES);
    let mut sums = [[V::splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            // SAFETY: there are `R` by `C` vectors.
            sums[r][c] = unsafe { V::load(from.as_ptr().add((r * C + c) * LANES)) };
        }
    }
    sums
}

/// The inverse of [`load`].
#[inline(always)]
pub(super) fn store<V: Vector, const R: usize, const C: usize>(
    sums: Sums<V, R, C>,
    to: &mut [f32],
) {
    assert!(to.len() == R * C * LANES);
    for r in 0..R {
        for c in 0..C {
            // SAFETY: there are `R` by `C` vectors.
            unsafe { sums[r][c].store(to.as_mut_ptr().add((r * C + c) * LANES)) };
        }
    }
}

/// Pointers to the floats of a window at `offsets`. Where there are fewer than `R`, the last one is
/// repeated.
#[inline(always)]
pub(super) fn pointers<const R: usize>(window: &[f32], offsets: &[usize]) -> [*const f32; R] {
    let mut pointers = [window.as_ptr(); R];
    for r in 0..R {
        pointers[r] = window[offsets[r.min(offsets.len() - 1)]..].as_ptr();
    }
    pointers
}

/// Adds to each of `R` by `C` vectors of sums, for each step `s`, the product of a single float,
/// `rows[r][offsets[s]]`, and of a vector of column `c`, in `columns` one step after the other.
///
/// # Safety
/// Each row is valid for reading at each offset, and `columns` for `offsets.len() * C` vectors.
#[inline(always)]
pub(super) unsafe fn accumulate<V: Vector, const R: usize, const C: usize>(
    mut sums: Sums<V, R, C>,
    rows: [*const f32; R],
    offsets: &[usize],
    columns: *const f32,
) -> Sums<V, R, C> {
    let mut columns = columns;
    for &offset in offsets {
        let mut vectors = [V::splat(0.0); C];
        for (c, vector) in vectors.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *vector = unsafe { V::load(columns.add(c * LANES)) };
        }
        // SAFETY: the end of what the caller promised at most.
        columns = unsafe { columns.add(C * LANES) };
        for r in 0..R {
            // SAFETY: the caller's promise.
            let value = V::splat(unsafe { *rows[r].add(offset) });
            for c in 0..C {
                sums[r][c] = value.mul_add(vectors[c], sums[r][c]);
            }
        }
    }
    sums
}

/// The same with single floats in a row, `R` for each step, and with `C` vectors that lie anywhere,
/// `columns[c][offsets[s]..]`.
///
/// # Safety
/// `rows` is valid for reading `offsets.len() * R` floats, and each column a vector at each offset.
#[inline(always)]
pub(super) unsafe fn accumulate_columns<V: Vector, const R: usize, const C: usize>(
    mut sums: Sums<V, R, C>,
    rows: *const f32,
    offsets: &[usize],
    columns: [*const f32; C],
) -> Sums<V, R, C> {
    let mut rows = rows;
    for &offset in offsets {
        let mut values = [V::splat(0.0); R];
        for (r, value) in values.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *value = V::splat(unsafe { *rows.add(r) });
        }
        // SAFETY: the end of what the caller promised at most.
        rows = unsafe { rows.add(R) };
        for c in 0..C {
            // SAFETY: the caller's promise.
            let vector = unsafe { V::load(columns[c].add(offset)) };
            for r in 0..R {
                sums[r][c] = values[r].mul_add(vector, sums[r][c]);
            }
        }
    }
    sums
}

/// Adds to each of `R` by `T` vectors of sums the products, lane by lane, of `rows[r]`, one vector
/// after the other, and `taps[t]` at each of `bases`.
///
/// # Safety
/// Each row is valid for reading `bases.len()` vectors, and each tap a vector at each base.
#[inline(always)]
pub(super) unsafe fn correlate<V: Vector, const R: usize, const T: usize>(
    mut sums: Sums<V, R, T>,
    rows: [*const f32; R],
    bases: &[usize],
    taps: [*const f32; T],
) -> Sums<V, R, T> {
    for (step, &base) in bases.iter().enumerate() {
        let mut vectors = [V::splat(0.0); R];
        for (vector, row) in vectors.iter_mut().zip(rows) {
            // SAFETY: the caller's promise.
            *vector = unsafe { V::load(row.add(step * LANES)) };
        }
        for t in 0..T {
            // SAFETY: the caller's promise.
            let tap = unsafe { V::load(taps[t].add(base)) };
            for r in 0..R {
                sums[r][t] = vectors[r].mul_add(tap, sums[r][t]);
            }
        }
    }
    sums
}
