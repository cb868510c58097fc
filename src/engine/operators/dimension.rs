//! The shape of an output in terms of those of the inputs: each engine has its own numbers for
//! sizes that are not known yet.

use super::{Operands, OperatorError};

/// One dimension of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Dimension {
    Fixed(usize),
    /// Made of an input's: `(size · times + plus) / over + after`, the quotient rounded down.
    Of {
        input: usize,
        axis: usize,
        times: i64,
        plus: i64,
        over: i64,
        after: i64,
    },
}

impl Dimension {
    /// The same as an input's.
    pub fn same(input: usize, axis: usize) -> Dimension {
        Dimension::Of { input, axis, times: 1, plus: 0, over: 1, after: 0 }
    }

    /// All of an input's dimensions from an axis on.
    pub fn all_from(input: usize, axis: usize, rank: usize) -> Vec<Dimension> {
        (axis..rank).map(|axis| Dimension::same(input, axis)).collect()
    }

    /// A number of a size that is known; `None` where it is negative or beyond counting.
    pub fn size(self, sizes: impl Fn(usize, usize) -> Option<i64>) -> Option<usize> {
        match self {
            Dimension::Fixed(size) => Some(size),
            Dimension::Of { input, axis, times, plus, over, after } => {
                let wide = i128::from(sizes(input, axis)?) * i128::from(times) + i128::from(plus);
                let quotient = wide.checked_div_euclid(i128::from(over))? + i128::from(after);
                usize::try_from(quotient).ok()
            }
        }
    }
}

/// The shapes of a call's outputs.
///
/// # Errors
/// The inputs' shapes leave an output none.
pub(in crate::engine) fn output_sizes(
    operator: &'static str,
    shapes: &[Vec<Dimension>],
    inputs: &Operands<'_>,
) -> Result<Vec<Vec<usize>>, OperatorError> {
    let size = |dimension: &Dimension| {
        let of_input = |input: usize, axis: usize| {
            let shape = inputs.get(input)?.shape;
            shape.get(axis).and_then(|&size| i64::try_from(size).ok())
        };
        dimension.size(of_input).ok_or_else(|| OperatorError::Input {
            operator,
            input: "shapes".to_owned(),
            actual: format!("{:?}", inputs.shapes()),
            expected: "such that every output has a size".to_owned(),
        })
    };
    shapes.iter().map(|shape| shape.iter().map(size).collect()).collect()
}
