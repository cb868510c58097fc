//! Tensors as plain data: a type, a shape and bytes.
//!
//! This part knows neither engine nor protocol; both speak to each other in its types. Nothing
//! here computes.

mod data;
mod data_type;
mod shape;
mod spec;

pub use data::{AlignedBuffer, Data, Tensor, TensorError};
pub use data_type::DataType;
pub use shape::{Shape, element_count};
pub use spec::{Dimension, TensorSpec};
