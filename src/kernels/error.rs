//! What a kernel refuses.

/// Why a kernel computed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A slice does not have the elements that the shape calls for.
    #[error("{kernel}: {operand} has {actual} elements, expected {expected}")]
    Length { kernel: &'static str, operand: &'static str, expected: usize, actual: usize },
    /// A shape or a setting that nothing can be computed for.
    #[error("{kernel}: {setting} is {value}, expected {expected}")]
    Setting { kernel: &'static str, setting: &'static str, value: String, expected: &'static str },
    /// An index that no row of a table has.
    #[error("{kernel}: index {index} at position {position} is outside a table of {rows} rows, {}",
            index_range(*rows))]
    Index { kernel: &'static str, position: usize, index: i64, rows: usize },
    /// What the kernel needs beside its operands.
    #[error("{kernel}: {bytes} bytes of memory for intermediate values cannot be had")]
    Memory { kernel: &'static str, bytes: usize },
}

fn index_range(rows: usize) -> String {
    match rows {
        0 => "which has none".to_owned(),
        rows => format!("expected -{rows} to {}", rows - 1),
    }
}

/// Checks that `operand` has `expected` elements.
pub(crate) fn check_length(
    kernel: &'static str,
    operand: &'static str,
    slice: &[f32],
    expected: usize,
) -> Result<(), KernelError> {
    if slice.len() == expected {
        return Ok(());
    }
    Err(KernelError::Length { kernel, operand, expected, actual: slice.len() })
}
