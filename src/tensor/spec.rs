//! What a model says of one of its inputs or outputs.

use std::fmt;

use super::{DataType, Shape};

/// One axis of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    Fixed(usize),
    /// Open, with the model's name for it; axes of the same name have the same size in one run.
    Named(String),
    /// Open and nameless.
    Unknown,
}

impl Dimension {
    /// The size, or -1 where the axis is open: the protocol's way to write it.
    pub fn protocol_size(&self) -> i64 {
        match self {
            Dimension::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Dimension::Named(_) | Dimension::Unknown => -1,
        }
    }

    /// Whether a tensor may have this size along the axis.
    pub fn admits(&self, size: usize) -> bool {
        match self {
            Dimension::Fixed(fixed) => *fixed == size,
            Dimension::Named(_) | Dimension::Unknown => true,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(formatter, "{size}"),
            Dimension::Named(name) => formatter.write_str(name),
            Dimension::Unknown => formatter.write_str("?"),
        }
    }
}

/// Name, type and declared shape of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub data_type: DataType,
    /// `None` where the model leaves even the rank open.
    pub shape: Option<Vec<Dimension>>,
    /// Inputs: the model has a default, a request may leave it out. Always false for outputs.
    pub optional: bool,
}

impl TensorSpec {
    /// Whether a tensor of this shape may be fed to the input.
    pub fn admits(&self, shape: &[usize]) -> bool {
        self.shape.as_ref().is_none_or(|dimensions| {
            dimensions.len() == shape.len()
                && dimensions.iter().zip(shape).all(|(dimension, &size)| dimension.admits(size))
        })
    }

    /// The declared shape as a person reads it, such as `[batch, 3, 224, 224]`.
    pub fn shape_text(&self) -> String {
        match &self.shape {
            None => "[...]".to_owned(),
            Some(dimensions) => {
                let sizes: Vec<String> = dimensions.iter().map(Dimension::to_string).collect();
                format!("[{}]", sizes.join(", "))
            }
        }
    }

    /// The declared shape with `size` in place of every open axis; a scalar where the rank is
    /// open.
    pub fn shape_with(&self, size: usize) -> Shape {
        self.shape
            .iter()
            .flatten()
            .map(|dimension| match dimension {
                Dimension::Fixed(fixed) => *fixed,
                Dimension::Named(_) | Dimension::Unknown => size,
            })
            .collect()
    }
}
