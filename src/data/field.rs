//! Where a tensor's part lies in a sample.

use super::TargetSpec;
use super::value::{KNOWN, is_known};
use crate::tensor::{DataType, element_count};

/// One tensor of every sample.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub data_type: DataType,
    /// In one sample.
    pub shape: Vec<usize>,
    /// Of `shape`.
    pub elements: usize,
    /// In a row of the store.
    pub offset: usize,
    /// In bytes.
    pub size: usize,
}

impl Field {
    /// A field of an input's type and shape behind `offset` bytes of others.
    ///
    /// # Errors
    /// Says why there is none, of `name`.
    pub fn new(
        name: &str,
        (data_type, shape): (DataType, Vec<usize>),
        offset: usize,
    ) -> Result<Field, String> {
        if !is_known(data_type) {
            return Err(format!("{name} is {data_type}: {KNOWN}"));
        }
        let elements = element_count(&shape);
        let size = elements.and_then(|count| count.checked_mul(data_type.size()?));
        // Offsets add up to no more than what memory holds.
        let size = size.filter(|&size| size.checked_add(offset).is_some());
        let (Some(elements), Some(size)) = (elements, size) else {
            return Err(format!("{name} has shape {shape:?}: too many elements to count"));
        };
        Ok(Field { data_type, shape, elements, offset, size })
    }

    /// # Errors
    /// As of [`Field::new`].
    pub fn target(target: &TargetSpec, offset: usize) -> Result<Field, String> {
        Field::new("the target", (target.data_type(), target.shape().to_vec()), offset)
    }

    /// Behind this one.
    pub fn end(&self) -> usize {
        self.offset + self.size
    }

    pub fn of<'r>(&self, row: &'r mut [u8]) -> &'r mut [u8] {
        &mut row[self.offset..self.offset + self.size]
    }
}
