//! What is known of every value of a graph before it is differentiated.

use std::collections::HashMap;

use crate::tensor::{DataType, Dimension};

/// Element type and shape of one value. A dimension is a number, or the name of an open one: two
/// open dimensions are equal where their names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub data_type: DataType,
    pub shape: Vec<Dimension>,
}

/// By the value's name. Values that are missing here cannot be differentiated.
pub type Facts = HashMap<String, Fact>;

/// The sizes, where none is open.
pub(super) fn sizes(shape: &[Dimension]) -> Option<Vec<i64>> {
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => i64::try_from(*size).ok(),
        Dimension::Named(_) | Dimension::Unknown => None,
    };
    shape.iter().map(size).collect()
}
