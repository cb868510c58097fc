//! The attributes of a call, checked as they are read.

use super::OperatorError;

/// Where attributes come from; `None` where the call has none of that name and type.
pub(in crate::engine) trait AttributeSource {
    fn int(&self, name: &str) -> Option<i64>;
    fn ints(&self, name: &str) -> Option<Vec<i64>>;
    fn float(&self, name: &str) -> Option<f32>;
}

/// The attributes of one call.
pub(in crate::engine) struct Attributes<'a> {
    pub operator: &'static str,
    pub source: &'a dyn AttributeSource,
}

/// The largest size in an attribute: sums and products of two are still counted exactly.
const LARGEST_SIZE: i64 = 1 << 31;

impl Attributes<'_> {
    pub fn int(&self, name: &'static str) -> Result<i64, OperatorError> {
        self.source.int(name).ok_or_else(|| self.refusal(name, "missing", "an integer"))
    }

    /// An integer that is 0 or 1.
    pub fn flag(&self, name: &'static str) -> Result<bool, OperatorError> {
        match self.int(name)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.refusal(name, &other.to_string(), "0 or 1")),
        }
    }

    /// An integer that counts something.
    pub fn size(&self, name: &'static str) -> Result<usize, OperatorError> {
        self.as_size(name, self.int(name)?)
    }

    pub fn sizes(&self, name: &'static str) -> Result<Vec<usize>, OperatorError> {
        self.ints(name)?.into_iter().map(|value| self.as_size(name, value)).collect()
    }

    pub fn ints(&self, name: &'static str) -> Result<Vec<i64>, OperatorError> {
        self.source.ints(name).ok_or_else(|| self.refusal(name, "missing", "a list of integers"))
    }

    pub fn float(&self, name: &'static str) -> Result<f32, OperatorError> {
        self.source.float(name).ok_or_else(|| self.refusal(name, "missing", "a float"))
    }

    /// A float as it was written: attributes have 32 bits, and what nobody rounded, such as 0.999,
    /// is its shortest decimal. The bodies of functions have it in 64 bits.
    pub fn decimal(&self, name: &'static str) -> Result<f64, OperatorError> {
        let rounded = self.float(name)?;
        Ok(rounded.to_string().parse().unwrap_or_else(|_| f64::from(rounded)))
    }

    fn as_size(&self, name: &'static str, value: i64) -> Result<usize, OperatorError> {
        match usize::try_from(value) {
            Ok(size) if value <= LARGEST_SIZE => Ok(size),
            _ => Err(self.refusal(name, &value.to_string(), "0 to 2147483648")),
        }
    }

    fn refusal(&self, name: &'static str, value: &str, expected: &'static str) -> OperatorError {
        OperatorError::Attribute {
            operator: self.operator,
            name,
            value: value.to_owned(),
            expected,
        }
    }
}
