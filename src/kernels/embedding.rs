//! Gradient of looking rows up in a table: each row of `dy` is added to the row of the table that
//! it came from, rows that meet in the order of their indices.

use super::error::{KernelError, check_length};
use super::parallel::{Parallel, for_each_part};

/// About how many elements of the table a task has.
const BLOCK: usize = 65_536;

const KERNEL: &str = "embedding gradient";

/// Rows of a table; negative ones count from its end.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl Indices<'_> {
    pub fn len(self) -> usize {
        match self {
            Indices::I32(indices) => indices.len(),
            Indices::I64(indices) => indices.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The rows, counted from the start of a table that has `rows` of them.
    fn resolved(self, rows: usize) -> Result<Vec<usize>, KernelError> {
        let resolve = |(position, index): (usize, i64)| {
            let row = if index < 0 {
                usize::try_from(index.unsigned_abs()).ok().and_then(|back| rows.checked_sub(back))
            } else {
                usize::try_from(index).ok().filter(|row| *row < rows)
            };
            row.ok_or(KernelError::Index { kernel: KERNEL, position, index, rows })
        };
        match self {
            Indices::I32(indices) => {
                indices.iter().map(|index| i64::from(*index)).enumerate().map(resolve).collect()
            }
            Indices::I64(indices) => indices.iter().copied().enumerate().map(resolve).collect(),
        }
    }
}

/// The table that rows were looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableShape {
    pub rows: usize,
    pub width: usize,
}

/// The rows of a table that a gradient reaches; it is 0 for all others.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGradient {
    /// Ascending, each once.
    pub rows: Vec<usize>,
    /// The gradient of each of them.
    pub values: Vec<f32>,
}

/// The gradient of the whole table: `dy` has a row for every index.
///
/// # Errors
/// A slice has not the length that the shape calls for, or an index is outside the table; `dtable`
/// is untouched then.
pub fn gradient(
    shape: TableShape,
    dy: &[f32],
    indices: Indices<'_>,
    dtable: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let TableShape { rows, width } = shape;
    check_length(KERNEL, "dy", dy, indices.len().saturating_mul(width))?;
    check_length(KERNEL, "dtable", dtable, rows.saturating_mul(width))?;
    let indices = indices.resolved(rows)?;
    if dtable.is_empty() {
        return Ok(());
    }
    let block = rows_of_block(width);
    // The positions of each task's indices, in order.
    let mut positions: Vec<Vec<usize>> = vec![Vec::new(); rows.div_ceil(block)];
    for (position, row) in indices.iter().enumerate() {
        positions[row / block].push(position);
    }
    for_each_part(parallel, dtable.chunks_mut(block * width), |task, part| {
        part.fill(0.0);
        for position in &positions[task] {
            let row = indices[*position] - task * block;
            add_row(&mut part[row * width..][..width], &dy[position * width..][..width]);
        }
    });
    Ok(())
}

/// The gradient of the rows that were looked up, and which they are: what is left to do where a
/// table is large and a batch touches little of it.
///
/// # Errors
/// `dy` has not a row for every index, or an index is outside the table.
pub fn row_gradient(
    shape: TableShape,
    dy: &[f32],
    indices: Indices<'_>,
    parallel: &dyn Parallel,
) -> Result<RowGradient, KernelError> {
    let width = shape.width;
    check_length(KERNEL, "dy", dy, indices.len().saturating_mul(width))?;
    let indices = indices.resolved(shape.rows)?;
    let mut order: Vec<(usize, usize)> =
        indices.into_iter().enumerate().map(|(position, row)| (row, position)).collect();
    // Rows ascend, and the positions of a row do.
    order.sort_unstable();
    let uses: Vec<&[(usize, usize)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
    let rows: Vec<usize> = uses.iter().map(|uses| uses[0].0).collect();
    let mut values = vec![0.0; rows.len() * width];
    if width > 0 {
        let block = rows_of_block(width);
        let parts = values.chunks_mut(block * width).zip(uses.chunks(block));
        for_each_part(parallel, parts, |_, (part, uses)| {
            for (sum, uses) in part.chunks_exact_mut(width).zip(uses) {
                for (_, position) in *uses {
                    add_row(sum, &dy[position * width..][..width]);
                }
            }
        });
    }
    Ok(RowGradient { rows, values })
}

fn rows_of_block(width: usize) -> usize {
    (BLOCK / width).max(1)
}

/// Memory is what this waits for: it is compiled for the oldest processor, and no slower.
fn add_row(sum: &mut [f32], row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_same_bits, values};
    use super::*;
    use crate::kernels::Sequential;

    fn dense(shape: TableShape, dy: &[f32], indices: Indices) -> Result<Vec<f32>, KernelError> {
        let mut dtable = vec![9.0; shape.rows * shape.width];
        gradient(shape, dy, indices, &mut dtable, &Sequential).map(|()| dtable)
    }

    #[track_caller]
    fn check(rows: usize, width: usize, count: usize) {
        let shape = TableShape { rows, width };
        let dy = values(count * width, 8);
        let wide: Vec<i64> = values(count, 9)
            .iter()
            .map(|value| {
                ((value / 2.0 * rows as f32) as i64).clamp(-(rows as i64), rows as i64 - 1)
            })
            .collect();
        let narrow: Vec<i32> = wide.iter().map(|index| *index as i32).collect();
        let mut expected = vec![0.0; rows * width];
        for (index, dy) in wide.iter().zip(dy.chunks(width.max(1))) {
            let row = index.rem_euclid(rows as i64) as usize;
            for (sum, value) in expected[row * width..][..width].iter_mut().zip(dy) {
                *sum += value;
            }
        }
        let result = dense(shape, &dy, Indices::I64(&wide)).unwrap();
        assert_eq!(result, expected, "{shape:?} {count}");
        assert_eq!(dense(shape, &dy, Indices::I32(&narrow)).unwrap(), expected);
        let sparse = row_gradient(shape, &dy, Indices::I64(&wide), &Sequential).unwrap();
        assert!(sparse.rows.is_sorted_by(|a, b| a < b));
        let mut spread = vec![0.0; rows * width];
        for (row, values) in sparse.rows.iter().zip(sparse.values.chunks(width.max(1))) {
            spread[row * width..][..width].copy_from_slice(values);
        }
        assert_eq!(spread, expected);
    }

    #[test]
    fn rows_add_up_in_the_order_of_their_indices() {
        for (rows, width, count) in
            [(1, 1, 1), (5, 3, 100), (1000, 7, 50), (3, 70_000, 9), (40_000, 5, 3000), (4, 3, 0)]
        {
            check(rows, width, count);
        }
        check(7, 0, 4);
    }

    #[test]
    fn rows_that_were_not_looked_up_are_not_listed() {
        let shape = TableShape { rows: 10, width: 2 };
        let dy = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let sparse = row_gradient(shape, &dy, Indices::I32(&[7, -9, 7]), &Sequential).unwrap();
        assert_eq!(sparse, RowGradient { rows: vec![1, 7], values: vec![3.0, 4.0, 6.0, 8.0] });
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let shape = TableShape { rows: 3000, width: 100 };
        let dy = values(5000 * 100, 1);
        let indices: Vec<i32> = (0..5000).map(|position| position * 7919 % 2500).collect();
        assert_same_bits(|parallel| {
            let mut dtable = vec![1.0; 300_000];
            let indices = Indices::I32(&indices);
            gradient(shape, &dy, indices, &mut dtable, parallel).unwrap();
            let sparse = row_gradient(shape, &dy, indices, parallel).unwrap();
            vec![dtable, sparse.values]
        });
    }

    #[test]
    fn an_index_outside_the_table_is_refused_with_its_position() {
        let shape = TableShape { rows: 4, width: 1 };
        for (indices, position, index) in
            [([0, 4], 1, 4), ([-5, 0], 0, -5), ([0, i64::MIN], 1, i64::MIN)]
        {
            let error = dense(shape, &[0.0; 2], Indices::I64(&indices)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "embedding gradient: index {index} at position {position} is outside a table \
                     of 4 rows, expected -4 to 3"
                )
            );
        }
        let none = TableShape { rows: 0, width: 3 };
        let error = dense(none, &[0.0; 3], Indices::I32(&[0])).unwrap_err();
        assert!(error.to_string().ends_with("is outside a table of 0 rows, which has none"));
    }

    #[test]
    fn wrong_lengths_are_refused_with_what_was_expected() {
        let shape = TableShape { rows: 4, width: 3 };
        let error = dense(shape, &[0.0; 5], Indices::I64(&[0, 1])).unwrap_err();
        assert_eq!(error.to_string(), "embedding gradient: dy has 5 elements, expected 6");
    }
}
