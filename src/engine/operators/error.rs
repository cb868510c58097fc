//! What a native operator refuses.

use crate::kernels::KernelError;

/// Why a native operator computed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine) enum OperatorError {
    #[error("{operator}: attribute {name:?} is {value}, expected {expected}")]
    Attribute {
        operator: &'static str,
        name: &'static str,
        /// `missing` where there is none.
        value: String,
        expected: &'static str,
    },
    /// An input is not what it must be: its shape, its type, its number of elements.
    #[error("{operator}: input {input} is {actual}, expected {expected}")]
    Input { operator: &'static str, input: String, actual: String, expected: String },
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
