//! What a parameter's gradient can be: as large as the parameter, or some rows of it.

use super::blocks::RUN;
use crate::kernels::error::{KernelError, check_length};

/// The gradient of one parameter.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// A number for each of the parameter's.
    Dense(&'a [f32]),
    /// Some rows of a table; it is zero for all others. The update is the same as with the dense
    /// gradient, moments of untouched rows included, but a table of zeros is never written or read.
    Rows {
        width: usize,
        /// Ascending, each once.
        rows: &'a [usize],
        /// One row of `width` numbers for each of `rows`.
        values: &'a [f32],
    },
}

static ZEROS: [f32; RUN] = [0.0; RUN];

impl<'a> Gradient<'a> {
    /// Checks that this is the gradient of a parameter of `count` numbers.
    pub(super) fn check(self, kernel: &'static str, count: usize) -> Result<(), KernelError> {
        match self {
            Gradient::Dense(gradient) => check_length(kernel, "gradient", gradient, count),
            Gradient::Rows { width, rows, values } => {
                let expected = rows.len().saturating_mul(width);
                check_length(kernel, "the rows' gradient", values, expected)?;
                let setting = |setting, value: String, expected| {
                    Err(KernelError::Setting { kernel, setting, value, expected })
                };
                if width == 0 || !count.is_multiple_of(width) {
                    let expected = "a number that divides the parameter's elements";
                    return setting("the width of a row", width.to_string(), expected);
                }
                if !rows.is_sorted_by(|a, b| a < b) {
                    let expected = "ascending, each row once";
                    return setting("the order of rows", "another".to_owned(), expected);
                }
                match rows.last() {
                    Some(last) if *last >= count / width => {
                        setting("the last row", last.to_string(), "a row of the parameter")
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// The gradient from element `start` on, up to `limit` numbers (at most [`RUN`]): as many as
    /// lie together.
    pub(super) fn from(self, start: usize, limit: usize) -> &'a [f32] {
        match self {
            Gradient::Dense(gradient) => &gradient[start..start + limit],
            Gradient::Rows { width, rows, values } => {
                let row = start / width;
                let place = rows.partition_point(|touched| *touched < row);
                match rows.get(place) {
                    Some(touched) if *touched == row => {
                        let column = start % width;
                        &values[place * width + column..][..limit.min(width - column)]
                    }
                    Some(touched) => &ZEROS[..limit.min(touched * width - start)],
                    None => &ZEROS[..limit],
                }
            }
        }
    }
}
